"""Changing one key of the configuration file and nothing else: a person's comments and order stay as they are."""

import errno
import os
import re
import shutil
import tempfile
import tomllib
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from dicom_node.errors import OperatorError
from dicom_node.settings.lines import KeyPath, header_lines, key_lines, written_path

_DAY = r"""(?:\d{4}-\d{2}-\d{2}|"\d{4}-\d{2}-\d{2}"|'\d{4}-\d{2}-\d{2}')"""


def with_day(text: str, table: KeyPath, key: str, day: date) -> str:
    """Return a configuration text with a key of a table set to a day.

    Where the table has the key its value is replaced, else a line is put below the header; every other byte stays.
    Raises OperatorError where the table has no header of its own, or its value cannot be told apart on its line.
    """
    path = (*table, key)
    place, header = key_lines(text).get(path), header_lines(text).get(table)
    lines = re.split(r"(?<=\n)", text)
    if place is not None:
        found = re.fullmatch(rf"(.*?\b{re.escape(key)}[\"']?\s*=\s*){_DAY}(.*)", lines[place - 1], re.DOTALL)
        new = found and f"{found[1]}{day}{found[2]}"
    elif header is not None:
        line = lines[header - 1]
        ending = "\r\n" if line.endswith("\r\n") else "\n"
        place, new = header, f"{line}{'' if line.endswith(ending) else ending}{key} = {day}{ending}"
    else:
        raise OperatorError(f"the file has no table [{written_path(table)}] of its own to write it in")
    changed = "".join([*lines[: place - 1], new or "", *lines[place:]])
    if not new or not _differs_there_alone(text, changed, path, day):
        raise OperatorError(f"the value of {written_path(path)} cannot be told apart on line {place}")
    return changed


def _differs_there_alone(text: str, changed: str, path: KeyPath, day: date) -> bool:
    """Tell whether the second text says what the first says, but for the day at ``path``."""
    try:
        before, after = tomllib.loads(text), tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        return False
    here: Any = before
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = day
    return before == after


def replace_text(path: Path, before: str, after: str) -> None:
    """Replace the text of a file as a whole, its mode and owner kept; a crash leaves the old one or the new one.

    Raises OperatorError when the file holds something else than ``before``, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.read_bytes() != before.encode():
            raise OperatorError(f"{path} was changed by somebody else meanwhile; nothing was written")
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        file, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            _write(file, after.encode(), target, name)
            Path(name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _flush_folder(target.parent)
    except OSError as error:
        raise OperatorError(f"{path} cannot be written ({error.strerror}); nothing was changed") from None


def _write(file: int, data: bytes, like: Path, name: str) -> None:
    with os.fdopen(file, "wb") as new:
        new.write(data)
        kept = like.stat()
        os.fchown(new.fileno(), kept.st_uid, kept.st_gid)
        shutil.copystat(like, name)  # mode and extended attributes; the times are those of now
        os.utime(name)
        new.flush()
        os.fsync(new.fileno())


def _flush_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
