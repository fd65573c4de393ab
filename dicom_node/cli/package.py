"""``dicom-node package``: the images and lists that a submission to the programme is made of, and their check."""

import shlex
from dataclasses import asdict
from pathlib import Path

import click

from dicom_node import __version__
from dicom_node.accreditation.checklist import Mark
from dicom_node.alerts.phrases import counted
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import by_option, now, opened, today
from dicom_node.cli.output import json_option, printable, write_json
from dicom_node.cli.phrases import size_words, write_sentence
from dicom_node.cli.progress import progress
from dicom_node.errors import NodeError
from dicom_node.services.package import Built, build_package, leftovers
from dicom_node.services.package_choice import choose, releases_of
from dicom_node.services.package_pages import Made
from dicom_node.services.package_verify import Checked, verify_package
from dicom_node.site import Stores


@click.group("package")
def package() -> None:
    """Put together what is submitted: untouched originals with checksums, checklists and statements."""


@package.command("build")
@click.option("--release", "release_id", metavar="ID", required=True, help="Of this testing package, or cycle.")
@click.option("--unit", "unit_id", metavar="UNIT", help="Of a cycle, this unit alone.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A folder to be made.")
@click.option("--exam", "exam_ids", metavar="ID", multiple=True, help="Submit this exam; else the best. Repeatable.")
@click.option("--dicomdir", is_flag=True, help="Also a file set with a DICOMDIR, of copies of its own.")
@by_option
@json_option
@pass_app
def build(
    app: App,
    *,
    release_id: str,
    unit_id: str | None,
    out: Path,
    exam_ids: tuple[str, ...],
    dicomdir: bool,
    by: str,
    as_json: bool,
) -> int:
    """Copy the originals of each unit and portion into folders, with manifest, sums, checklist and statement.

    The package holds patient data, as it must: no original is altered. Exit code 1 when a unit was stopped
    because an original is missing or damaged.
    """
    out = out.absolute()
    left = leftovers(out)
    with opened(app) as stores, progress(0, "copying") as step:
        site = stores.site
        wanted = releases_of(stores.index, site.registry.units, release_id, unit_id)
        built = build_package(
            choose(stores.archive, stores.index, site.rules, wanted, exam_ids=exam_ids, today=today(stores)),
            out,
            archive=stores.archive,
            archive_path=site.settings.storage.path,
            made=_made(stores, by),
            file_set=dicomdir,
            progress=step,
        )
    if as_json:
        write_json(
            {
                "path": built.path,
                "seal": built.seal,
                "files": [asdict(each) for each in built.files],
                "bytes": built.size,
                "units": [each.as_json() for each in built.units],
                "left_over": left,
            }
        )
    else:
        _tell(built, left)
    return FAILED if built.stopped else 0


@package.command("verify")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@pass_app
def verify(app: App, *, folder: Path, as_json: bool) -> int:
    """Read every file of a package again: is it as it was made, and does the node still have the same?

    Where there is no node, the package is held against itself. Exit code 1 when something is changed, missing or extra.
    """
    not_compared = ""
    with progress(0, "verifying") as step:
        try:
            with opened(app) as stores:
                checked = verify_package(folder, index=stores.index, trail=stores.archive.audit, progress=step)
        except NodeError as error:
            checked, not_compared = verify_package(folder), str(error)
    if as_json:
        problems = [{"path": path, "reason": reason} for path, reason in checked.problems]
        write_json(
            {
                "files": checked.files,
                "problems": problems,
                "seal": checked.seal,
                "compared_with_index": not not_compared,
            }
        )
    else:
        _tell_checked(checked, not_compared)
    return 0 if checked.is_good else FAILED


def _made(stores: Stores, by: str) -> Made:
    site = stores.site
    return Made(
        by=by,
        at=now(),
        zone=site.zone,
        facility=site.settings.facility.name,
        ae_title=site.settings.node.ae_title[0],
        version=__version__,
        policy=site.rules.policy,
    )


def _tell(built: Built, left: list[Path]) -> None:
    for unit in built.units:
        click.echo(printable(f"{unit.unit.label} ({unit.unit.id}), testing package {unit.release.id}:"))
        if unit.problem:
            click.echo(printable(f"  stopped: {unit.problem}"))
        for portion in unit.portions:
            if unit.problem:
                break
            where = f"{portion.folder}, {counted(len(portion.images), 'file')}" if portion.images else "no folder"
            click.echo(printable(f"  {portion.portion.label}: {where}"))
            for item in portion.items:
                if item.mark in (Mark.MISSING, Mark.LOOK):
                    words = f": {item.words}" if item.words else ""
                    write_sentence(f"{item.mark}: {item.what}{words}", first="    ", rest="      ")
    click.echo(
        printable(
            f"{built.path}: {counted(len(built.files), 'original')}, {size_words(built.size)}; it holds patient data"
        )
    )
    for each in left:
        click.echo(printable(f"An interrupted build left {each}; remove it when none runs."))
    click.echo(printable(f"Check it at any time: dicom-node package verify {shlex.quote(str(built.path))}"))


def _tell_checked(checked: Checked, not_compared: str) -> None:
    for path, reason in checked.problems:
        click.echo(printable(f"{path}: {reason}"))
    good = "all is as it was made" if checked.is_good else counted(len(checked.problems), "problem")
    click.echo(f"{counted(checked.files, 'file')} read; {good}")
    if not_compared:
        click.echo(printable(f"Not compared with the node: {not_compared}"))
