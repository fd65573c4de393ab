"""The node as it is measured: started as its users start it, with its default, durable settings."""

import sys
from pathlib import Path

from benchmarks.wire import CALLED_AE, CALLING_AE
from benchmarks.workloads import UNITS

_HEAD = f"""\
config_version = 1

[facility]
name = "Synthetic Center"
time_zone = "America/Chicago"

[node]
ae_title = "{CALLED_AE}"
port = {{port}}

[storage]
path = "store"
min_free = "1 GiB"

[peers.bench]
ae_title = "{CALLING_AE}"
host = "127.0.0.1"

[senders.bench]
role = "router"
ae_title = "{CALLING_AE}"
host = "127.0.0.1"
"""

_UNIT = """
[units.u{number:04d}]
label = "Unit {number}"
kind = "prone"
[[units.u{number:04d}.identity]]
device_serial = "SN{number:04d}"
"""


def write_config(port: int, folder: Path, units: int = UNITS) -> Path:
    """Write a configuration with so many units into ``folder``; the node keeps its data in ``folder/store``."""
    path = folder / "dicom-node.toml"
    path.write_text(
        _HEAD.format(port=port) + "".join(_UNIT.format(number=number) for number in range(units)), encoding="utf-8"
    )
    return path


def node_command(port: int, folder: Path, units: int = UNITS) -> list[str]:
    """Return the command line of a node that keeps its data in ``folder/store``, made if it is missing."""
    config = write_config(port, folder, units)
    return [sys.executable, "-m", "dicom_node", "--config", str(config), "serve", "--create"]
