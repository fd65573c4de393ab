"""Structured logs: one event, one line, no patient data."""

from typing import Any

import structlog


def get_logger(name: str) -> Any:
    """Return the logger of a module; events are named like ``instance.stored``."""
    return structlog.get_logger(name)
