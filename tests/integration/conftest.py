"""Fixtures of the integration tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine

from tests.commands import Commands
from tests.sites import START, opened_site, write_site

PLANTED = ("SYNTH^", "SYNTH-", "ACC-0001", "19700101", "1970-01-01")
"""What the factories write as a patient's name, id, accession number and birth date."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The configuration of a facility whose archive and index are there and empty."""
    config = write_site(tmp_path)
    with opened_site(config):
        return config


@pytest.fixture
def commands(site: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None) -> Iterator[Commands]:
    """The commands of the facility, on Monday 2026-11-23 at nine in the morning."""
    with time_machine.travel(START, tick=True):
        yield Commands(site, capsys, planted=PLANTED)
