"""``dicom-node import``, ``verify``, ``rebuild``: files taken in, the archive checked, the index made anew."""

import sys
from pathlib import Path

import click

from dicom_node.alerts.phrases import counted
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import login_name, now, opened
from dicom_node.cli.output import json_option, printable, write_json
from dicom_node.cli.phrases import size_words
from dicom_node.cli.progress import has_terminal, progress
from dicom_node.services import audit
from dicom_node.services.audit import ImportAudit
from dicom_node.services.derived_by import note_registry
from dicom_node.services.import_files import files_under, import_files
from dicom_node.services.rebuild import rebuild as rebuild_index
from dicom_node.services.verify import verify as verify_archive

SAMPLE = 200
"""Objects that are read again unless told otherwise: a matter of seconds."""


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Read everything and say what is bad; take nothing.")
@json_option
@pass_app
def import_(app: App, *, paths: tuple[Path, ...], dry_run: bool, as_json: bool) -> int:
    """Take existing DICOM files in, from files and folders, as if they had been sent; they stay where they are.

    May run beside a node. Exit code 1 when a file was bad.
    """
    with opened(app) as stores:
        if not dry_run:
            note_registry(stores.index, stores.site.registry)
        total = sum(1 for _ in files_under(paths)) if has_terminal() else 0
        with progress(total, "importing") as step:
            done = import_files(
                files_under(paths),
                archive=stores.archive,
                indexer=stores.indexer,
                now=now,
                audit=ImportAudit(stores.archive.audit, by=login_name()),
                dry_run=dry_run,
                progress=lambda _path: step(),
            )
    if as_json:
        bad = [{"path": path, "reason": reason} for path, reason in done.bad]
        write_json({"files": done.outcomes, "bad": bad, "media_directories": done.skipped, "bytes": done.size})
        return FAILED if done.bad else 0
    for path, reason in done.bad:
        click.echo(printable(f"bad: {path}: {reason}"))
    words = [f"{number} {outcome}" for outcome, number in sorted(done.outcomes.items())]
    words += [f"{len(done.bad)} bad"] if done.bad else []
    words += [f"{counted(done.skipped, 'media directory', 'media directories')} passed over"] if done.skipped else []
    click.echo(f"{', '.join(words) or 'no files'}; {size_words(done.size)}{'; nothing was taken' if dry_run else ''}")
    return FAILED if done.bad else 0


@click.command("verify")
@click.option("--sample", type=click.IntRange(min=1), default=SAMPLE, show_default=True, help="Objects to read again.")
@click.option("--all", "everything", is_flag=True, help="Read every object again.")
@json_option
@pass_app
def verify(app: App, *, sample: int, everything: bool, as_json: bool) -> int:
    """Read stored objects again and compare them with their digests, and the archive with the index.

    May run beside a node. Exit code 1 when something is damaged or missing.
    """
    with opened(app) as stores, progress(0, "verifying") as step:
        found = verify_archive(
            stores.archive, stores.index, sample=None if everything else sample, progress=lambda _n, of: step(of)
        )
        audit.archive_verified(
            stores.archive.audit,
            by=login_name(),
            checked=found.checked,
            damaged=len(found.damaged),
            missing=len(found.missing),
        )
    code = 0 if found.is_good else FAILED
    if as_json:
        damaged = [{"digest": digest, "reason": reason} for digest, reason in found.damaged]
        write_json(
            {
                "objects": found.objects,
                "checked": found.checked,
                "damaged": damaged,
                "missing": found.missing,
                "without_row": found.without_row,
            }
        )
        return code
    for _, reason in found.damaged:
        click.echo(f"damaged: {reason}")
    for digest in found.missing:
        click.echo(f"missing: object {digest} is in the index and not in the archive")
    for digest in found.without_row:
        click.echo(f"not indexed: object {digest}; the next start of the node indexes it")
    click.echo(
        f"{found.checked} of {counted(found.objects, 'object')} read again; {len(found.damaged)} damaged, "
        f"{len(found.missing)} missing, {len(found.without_row)} not indexed"
    )
    return code


@click.command("rebuild")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def rebuild(app: App, *, yes: bool) -> int:
    """Make the index anew from the stored files and the journal; also when its SQLite file is missing or damaged.

    The node must not run. Decisions and testing packages come back from the journal. Exit code 1 when a stored file
    could not be read.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("without a terminal to ask at, add --yes")
        click.confirm("Forget the index and make it anew from the stored files?", abort=True)
    with opened(app, renew=True) as stores, progress(0, "indexing") as step:
        done = rebuild_index(stores.archive, stores.index, stores.indexer, progress=lambda _n, of: step(of))
        audit.index_rebuilt(stores.archive.audit, by=login_name(), indexed=done.indexed, damaged=len(done.damaged))
    for digest in done.damaged:
        click.echo(f"damaged: object {digest} could not be read")
    click.echo(f"{counted(done.indexed, 'object')} indexed, {len(done.damaged)} damaged")
    return FAILED if done.damaged else 0
