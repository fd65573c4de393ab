"""Tables of figures, and on which machine they were measured."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.contenders import program

_TEXTS = frozenset({"contender", "at Success", "measured", "note"})
"""The columns that hold text, besides the first one."""


def progress(words: str) -> None:
    """Tell on standard error what is going on."""
    print(words, file=sys.stderr, flush=True)


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the first column and those of some names are text, the others numbers."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    print(f"\n{title}\n")
    for number, line in enumerate(lines):
        cells = [
            cell.ljust(width) if at == 0 or head[at] in _TEXTS else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def figure(value: float) -> str:
    """Write a number with three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """Write the median of some ratios with the least and the greatest."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.2f}"
    return f"{middle} ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else middle


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def show_machine(folder: Path) -> None:
    """Print what the figures were measured on."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    print(f"machine: {os.cpu_count()} x {processor}, {memory:.0f} GiB, Linux {platform.release()}; {_volume(folder)}")
    parts = [f"{name} {version(name)}" for name in ("dicom-node", "pynetdicom", "pydicom", "SQLAlchemy")]
    for name in ("storescp", "Orthanc"):
        path = program(name)
        if path is None:
            parts.append(f"no {name}")
        else:
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            parts.append(told.strip("$ \n").partition("\n")[0].strip("$ "))
    print(f"with: Python {platform.python_version()}, " + ", ".join(parts))
    print("load before the start: " + " ".join(f"{each:.1f}" for each in os.getloadavg()))


def _volume(folder: Path) -> str:
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == number:
            kind = source.split()[0]
            return f"{folder} on {kind}" + (", which is memory: flushes cost nothing there" if kind == "tmpfs" else "")
    return str(folder)
