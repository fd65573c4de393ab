"""Configuration files for tests."""

from pathlib import Path

SMALL = """\
config_version = 1
[facility]
name = "Synthetic Center"
time_zone = "Europe/Berlin"
[storage]
path = "data"
"""
"""The least that is a configuration; it has no units."""

UNIT = """\
[units.prone1]
label = "Prone table"
kind = "prone"
[[units.prone1.identity]]
ae_title = "PRONE"
host = "10.20.30.11"
device_serial = "PT-1"
"""


def write_config(folder: Path, text: str, name: str = "dicom-node.toml") -> Path:
    """Write a configuration file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
