"""Make an evidence package: the chosen originals copied and checked, with lists, manifest and sums, all or nothing.

Everything is written into a hidden folder beside the target, flushed, and renamed at the end: a folder of the target's
name is whole. What a killed build leaves stays hidden, is named to whoever builds next, and is never taken for one.
"""

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from dicom_node.archive.copies import COPY_MODE, copy_object
from dicom_node.archive.files import refusals
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.media_directory import Filed, build_directory
from dicom_node.errors import ObjectDamagedError, OperatorError, StorageUnavailableError
from dicom_node.services import audit
from dicom_node.services.package_files import (
    MANIFEST,
    MANIFEST_TABLE,
    SUMS,
    Document,
    Packed,
    manifest_table,
    manifest_text,
    sums_text,
)
from dicom_node.services.package_pages import Made, checklist_text, statement_page
from dicom_node.services.package_parts import Chosen, UnitPackage

FILE_SET = "file-set"
"""Folder of the DICOMDIR and the copies it names."""
_IMAGES = "IMAGES"
_FOLDER_MODE = 0o700
_ROOM = 16 * 1024 * 1024
"""Bytes left beside the copies for what is written about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A package that is there."""

    path: Path
    units: tuple[UnitPackage, ...]
    files: tuple[Packed, ...]
    size: int
    """Bytes of the originals."""
    seal: str
    """SHA-256 of the list of sums: of the package as a whole."""

    @property
    def stopped(self) -> tuple[UnitPackage, ...]:
        """The units whose folders are not there, because an original is missing or damaged."""
        return tuple(each for each in self.units if each.problem)


@dataclass(slots=True)
class _Folder:
    """A package in the making."""

    root: Path
    made: Made
    files: list[Packed] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)

    def write(self, path: str, data: bytes) -> Document:
        """Write a file that is no original, and flush it."""
        file = os.open(self.root / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, COPY_MODE)
        with os.fdopen(file, "wb") as target:
            os.fchmod(file, COPY_MODE)
            target.write(data)
            target.flush()
            os.fsync(file)
        return Document(path=path, size=len(data), sha256=sha256(data).hexdigest())

    def make(self, name: str) -> None:
        """Make a folder."""
        (self.root / name).mkdir(_FOLDER_MODE)
        (self.root / name).chmod(_FOLDER_MODE)


def build_package(
    units: Sequence[UnitPackage],
    out: Path,
    *,
    archive: LocalArchive,
    archive_path: Path,
    made: Made,
    file_set: bool,
    progress: Callable[[int], None] = lambda _total: None,
) -> Built:
    """Write the package of ``units`` to the folder ``out``, which must not be there.

    ``archive_path`` is where the archive lies: no package is made inside. With ``file_set`` a DICOMDIR with copies of
    its own comes along. ``progress`` is called after each copy with the number there will be. A unit of which an
    original is missing or damaged gets no folder; its lists say why. Raises OperatorError, also when that is so of
    every unit, and StorageUnavailableError; nothing is left then.
    """
    _refuse(units, out, archive_path, copies=2 if file_set else 1)
    folder = _Folder(root=out.parent / f".{out.name}.{secrets.token_hex(4)}.part", made=made)
    with refusals("write the package"):
        folder.root.mkdir(_FOLDER_MODE)
        folder.root.chmod(_FOLDER_MODE)
        try:
            done = _fill(folder, units, archive, file_set=file_set, progress=progress)
            seal = _seal(folder, done)
            _flush_folders(folder.root)
            _note(archive, folder, done, seal)
            _take_name(folder.root, out)
        except BaseException:
            shutil.rmtree(folder.root, ignore_errors=True)
            raise
        _flush(out.parent)
    return Built(
        path=out,
        units=tuple(done),
        files=tuple(folder.files),
        size=sum(each.size for each in folder.files),
        seal=seal,
    )


def leftovers(out: Path) -> list[Path]:
    """Return what interrupted builds of a package at ``out`` left beside it; a build that runs now is among them."""
    if not out.parent.is_dir():
        return []
    return sorted(
        each for each in out.parent.iterdir() if each.name.startswith(f".{out.name}.") and each.name.endswith(".part")
    )


def _refuse(units: Sequence[UnitPackage], out: Path, archive_path: Path, *, copies: int) -> None:
    """Raise when there is no place for the package, or nothing to put in it."""
    if os.path.lexists(out):
        raise OperatorError(f"{out} is there already: a package is made in a new folder")
    if not out.parent.is_dir():
        raise OperatorError(f"there is no folder {out.parent} to make the package in")
    if out.resolve().is_relative_to(archive_path.resolve()):
        raise OperatorError("a package is made outside of the archive's folder")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OperatorError(f"the folder {out.parent} cannot be written to")
    if units and all(each.problem for each in units):
        raise OperatorError(f"nothing was made: {units[0].problem}; see: dicom-node verify --all")
    wanted = copies * sum(each.stored.size for unit in units for each in unit.images) + _ROOM
    free = shutil.disk_usage(out.parent).free
    if free < wanted:
        raise StorageUnavailableError(f"the package needs {wanted} bytes and the volume of {out.parent} has {free}")


def _fill(
    folder: _Folder,
    units: Sequence[UnitPackage],
    archive: LocalArchive,
    *,
    file_set: bool,
    progress: Callable[[int], None],
) -> list[UnitPackage]:
    total = sum(len(unit.images) for unit in units if not unit.problem) * (2 if file_set else 1)
    done = []
    for unit in units:
        try:
            if not unit.problem:
                folder.files += _copied(folder, unit, archive, lambda: progress(total))
            done.append(unit)
        except ObjectDamagedError as error:
            for portion in unit.portions:
                shutil.rmtree(folder.root / portion.folder, ignore_errors=True)
            done.append(replace(unit, problem=str(error)))
    if done and all(each.problem for each in done):
        raise OperatorError(f"nothing was made: {done[0].problem}; see: dicom-node verify --all")
    if file_set:
        _write_file_set(folder, done, archive, lambda: progress(total))
    for unit in done:
        text, page = checklist_text(unit, folder.made), statement_page(unit, folder.made)
        folder.documents.append(folder.write(f"{unit.name}-checklist.txt", text.encode()))
        folder.documents.append(folder.write(f"{unit.name}-statement.html", page.encode()))
    return done


def _copied(folder: _Folder, unit: UnitPackage, archive: LocalArchive, step: Callable[[], None]) -> list[Packed]:
    """Copy the originals of a unit. Raises ObjectDamagedError."""
    packed = []
    for portion in unit.portions:
        if not portion.images:
            continue
        folder.make(portion.folder)
        for each in portion.images:
            path = f"{portion.folder}/{each.name}"
            copied = copy_object(archive, each.stored.digest, folder.root / path)
            packed.append(
                Packed(
                    path=path,
                    size=copied.size,
                    sha256=copied.sha256,
                    data_set_sha256=each.stored.digest,
                    sop_class_uid=each.stored.sop_class_uid,
                    sop_instance_uid=each.stored.sop_instance_uid,
                    study_uid=each.stored.study_uid,
                    series_uid=each.stored.series_uid,
                    transfer_syntax_uid=each.stored.transfer_syntax_uid,
                    unit=unit.unit.id,
                    portion=portion.portion.value,
                    subject=portion.subject,
                    linked_as="" if each.linked_as is None else each.linked_as.value,
                    stage="" if each.told.stage is None else each.told.stage.value,
                    laterality=each.told.laterality.value,
                    view=each.view,
                    day=each.stored.acquisition_day,
                    day_source=each.stored.day_source,
                    rule=each.stored.rule,
                    confirmed_by=portion.confirmed_by,
                    confirmed_at=portion.confirmed_at,
                )
            )
            step()
    return packed


def _write_file_set(
    folder: _Folder, units: Sequence[UnitPackage], archive: LocalArchive, step: Callable[[], None]
) -> None:
    """Write the DICOMDIR and the files it names, whose names its standard limits (PS3.10 8.5): copies once more."""
    folder.make(FILE_SET)
    folder.make(f"{FILE_SET}/{_IMAGES}")
    filed: list[Filed] = []
    chosen: dict[str, Chosen] = {}
    for unit in units:
        if not unit.problem:
            chosen |= {each.stored.sop_instance_uid: each for each in unit.images}
    for number, each in enumerate(chosen.values(), start=1):
        file_id = (_IMAGES, f"IM{number:06}")
        path = "/".join((FILE_SET, *file_id))
        copied = copy_object(archive, each.stored.digest, folder.root / path)
        folder.documents.append(Document(path=path, size=copied.size, sha256=copied.sha256))
        filed.append(Filed(file_id, each.facts))
        step()
    directory = build_directory(filed, f"2.25.{secrets.randbits(128)}", "SBBPACKAGE")
    folder.documents.append(folder.write(f"{FILE_SET}/DICOMDIR", directory))


def _seal(folder: _Folder, units: Sequence[UnitPackage]) -> str:
    """Write the manifest, as a table too, and the sums of everything; return the digest of those."""
    folder.documents.append(folder.write(MANIFEST_TABLE, manifest_table(folder.files).encode()))
    facts = {**folder.made.as_json(), "units": [each.as_json() for each in units]}
    manifest = folder.write(MANIFEST, manifest_text(facts, folder.files, folder.documents).encode())
    sums = {each.path: each.sha256 for each in folder.files}
    sums |= {each.path: each.sha256 for each in (*folder.documents, manifest)}
    return folder.write(SUMS, sums_text(sums).encode()).sha256


def _note(archive: LocalArchive, folder: _Folder, units: Sequence[UnitPackage], seal: str) -> None:
    """Have the audit trail tell of the export before anyone can take it away."""
    studies: dict[str, Counter[str]] = {}
    for each in folder.files:
        studies.setdefault(each.study_uid, Counter())[each.sop_class_uid] += 1
    audit.package_built(
        archive.audit,
        by=folder.made.by,
        release_ids=sorted({each.release.id for each in units}),
        unit_ids=[each.unit.id for each in units],
        studies=studies,
        seal=seal,
    )


def _take_name(root: Path, out: Path) -> None:
    """Give the package its name, over nothing. Raises OperatorError, OSError."""
    if os.path.lexists(out):
        raise OperatorError(f"{out} came to be meanwhile; nothing was made")
    root.rename(out)


def _flush_folders(root: Path) -> None:
    for path, _, _ in os.walk(root):
        _flush(Path(path))


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
