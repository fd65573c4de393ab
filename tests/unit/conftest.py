"""Fixtures of the unit tests."""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    """Put back what configuring the logs changes for the whole process; pytest's own hooks are among it."""
    hooks = threading.excepthook, sys.unraisablehook, warnings.showwarning
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    config = structlog.get_config()
    yield
    threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()
