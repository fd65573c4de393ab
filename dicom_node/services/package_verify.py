"""Look whether an evidence package is as it was made, and whether the node still has the same."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from dicom_node.archive.audit import AuditTrail
from dicom_node.dicom.part10 import read_meta
from dicom_node.errors import OperatorError, UnreadableInstanceError
from dicom_node.index import images
from dicom_node.index.engine import Index
from dicom_node.services.package_files import FORMAT, MANIFEST, SUMS, read_sums

_CHUNK = 1024 * 1024
_LARGEST_TEXT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of a package found."""

    files: int
    """Files that were read to their end."""
    problems: tuple[tuple[str, str], ...]
    """Path, and what is wrong with it in words; by path."""
    seal: str
    """SHA-256 of the list of sums, as the audit trail has it of the package when it was made."""

    @property
    def is_good(self) -> bool:
        """Tell whether everything is as it was made."""
        return not self.problems


def verify_package(
    root: Path,
    *,
    index: Index | None = None,
    trail: AuditTrail | None = None,
    progress: Callable[[int], None] = lambda _total: None,
) -> Checked:
    """Read every file of the package in the folder ``root`` again and hold it against sums, manifest and ``index``.

    The sums are held against the audit trail of the node that made them: who changes a file with its sum changes the
    list of sums. ``progress`` is called after each file with the number there are. Raises OperatorError when the folder
    is no package, DatabaseError, StorageUnavailableError.
    """
    try:
        text = (root / SUMS).read_bytes()
    except OSError:
        raise OperatorError(f"{root} is no package: it has no {SUMS} that can be read") from None
    sums, bad = read_sums(text.decode("utf-8", "replace"))
    found: _Found = {SUMS: [f"line {number} is none that the node writes" for number in bad]} if bad else {}
    present = dict(_walk(root, found))
    digests: dict[str, str] = {}
    for path in sorted(set(sums) | set(present)):
        if path == SUMS:
            continue
        if path not in present:
            found.setdefault(path, []).append("it is missing")
            continue
        if path not in sums:
            found.setdefault(path, []).append("it does not belong to the package")
            continue
        digests[path], problem = _digest(present[path])
        if problem:
            found.setdefault(path, []).append(problem)
        progress(len(sums))
    told = _manifest(root, found)
    witnesses = {each["path"]: each for name in ("files", "documents") for each in told.get(name, ())}
    for path, digest in digests.items():
        _hold(path, digest, sums[path], witnesses.get(path), found)
    for path in set(witnesses) - set(sums):
        found.setdefault(SUMS, []).append(f"it does not list {path}, which the manifest has")
    _data_sets(told.get("files", ()), present, digests, index, found)
    seal = sha256(text).hexdigest()
    if trail is not None and not any(
        record.event == "package.built" and record.details.get("seal") == seal for record in trail.read_back()
    ):
        found.setdefault(SUMS, []).append("the audit trail tells of no package with these sums")
    return Checked(
        files=len(digests) + 1,
        problems=tuple((path, "; ".join(dict.fromkeys(words))) for path, words in sorted(found.items())),
        seal=seal,
    )


_Found = dict[str, list[str]]


def _walk(root: Path, found: _Found) -> Iterator[tuple[str, Path]]:
    """Yield every regular file by its path in the package; what is neither file nor folder is a problem."""
    for folder, folders, names in os.walk(root):
        for name in (*names, *folders):
            path = Path(folder, name)
            shown = path.relative_to(root).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                yield shown, path
            elif not stat.S_ISDIR(mode):
                found.setdefault(shown, []).append("it is no file of its own")
            elif not any(path.iterdir()):
                found.setdefault(shown, []).append("the folder is empty and does not belong to the package")


def _digest(path: Path) -> tuple[str, str]:
    """Return the digest of a file, and why it cannot be read or ""."""
    of_file = sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                of_file.update(chunk)
    except OSError as error:
        return "", f"it cannot be read: {os.strerror(error.errno or 0)}"
    return of_file.hexdigest(), ""


def _hold(path: str, digest: str, listed: str, witness: Mapping[str, Any] | None, found: _Found) -> None:
    """Hold a file against the two that tell its digest."""
    if not digest or digest == listed == (witness or {}).get("sha256", listed):
        return
    if witness is not None and digest == witness["sha256"]:
        found.setdefault(SUMS, []).append(f"it tells another sum of {path} than the manifest, which is right")
    elif witness is not None and digest == listed:
        found.setdefault(MANIFEST, []).append(f"it tells another sum of {path} than {SUMS}, which is right")
    else:
        either = "" if witness is not None else f"; one of the two was changed, it or {SUMS}"
        found.setdefault(path, []).append(f"its bytes are not those that {SUMS} tells{either}")


def _manifest(root: Path, found: _Found) -> dict[str, Any]:
    """Return the manifest; of one that cannot be read nothing, and that is a problem."""
    told: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if (root / MANIFEST).stat().st_size <= _LARGEST_TEXT:
            told = json.loads((root / MANIFEST).read_bytes())
    if not isinstance(told, dict) or told.get("format") != FORMAT or not all(map(_is_list, _lists(told))):
        found.setdefault(MANIFEST, []).append("it cannot be read as a manifest")
        return {}
    return told


def _lists(told: Mapping[str, Any]) -> tuple[Any, Any]:
    return told.get("files"), told.get("documents")


def _is_list(value: Any) -> bool:
    """Tell whether a value is a list of files with their digests."""
    return isinstance(value, list) and all(
        isinstance(each, dict) and all(isinstance(each.get(key), str) for key in ("path", "sha256")) for each in value
    )


def _data_sets(
    files: Any, present: Mapping[str, Path], digests: Mapping[str, str], index: Index | None, found: _Found
) -> None:
    """Hold the data set of each original against the manifest, and against what the index has under its UID."""
    several = [each for each in files if each["path"] in present and each["path"] in digests]
    for each in several:
        if _data_set_digest(present[each["path"]]) != each.get("data_set_sha256"):
            found.setdefault(each["path"], []).append("its data set is not the one that the manifest tells")
    if index is None:
        return
    uids = [str(each.get("sop_instance_uid")) for each in several]
    with index.read() as conn:
        known = images.contents_of(conn, uids)
    for each, uid in zip(several, uids, strict=True):
        if uid not in known:
            found.setdefault(each["path"], []).append("the index does not know it")
        elif str(each.get("data_set_sha256")) not in known[uid]:
            found.setdefault(each["path"], []).append("the index has another content of it")


def _data_set_digest(path: Path) -> str:
    """Return the digest of a Part 10 file's data set, "" when it cannot be told."""
    of_data_set = sha256()
    try:
        with path.open("rb") as file:
            file.seek(read_meta(file).data_set_offset)
            while chunk := file.read(_CHUNK):
                of_data_set.update(chunk)
    except (OSError, UnreadableInstanceError):
        return ""
    return of_data_set.hexdigest()
