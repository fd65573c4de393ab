"""``dicom-node send``: files, or a made-up exam of a unit, to a peer."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.alerts.phrases import counted
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import DAY, now
from dicom_node.cli.output import json_option, printable, write_json
from dicom_node.cli.peers import Peer, Ways, association, peer_options, status_words, take_peer
from dicom_node.cli.progress import progress
from dicom_node.demo.devices import Device, Kind, encode, make_exam
from dicom_node.dicom.part10 import read_meta
from dicom_node.dimse.calling import Calling, Proposed
from dicom_node.dimse.proposing import MOST_CONTEXTS
from dicom_node.errors import OperatorError, PeerError, PeerRefusedError, UnreadableInstanceError
from dicom_node.services.import_files import MEDIA_DIRECTORY, files_under
from dicom_node.settings import Settings

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An instance to send, as it stands in a file; ``open`` opens that."""

    name: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int
    """Bytes before the data set."""
    open: Callable[[], BinaryIO]

    @property
    def kind(self) -> tuple[str, str]:
        """What a presentation context is for: SOP class and transfer syntax."""
        return self.sop_class_uid, self.transfer_syntax_uid


@dataclass(slots=True, kw_only=True)
class Sent:
    """What became of the instances."""

    stored: int = 0
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """Stored with a warning of the peer's (Bxxx): name, and what it said."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Not sent or not stored: name, and why."""


@click.command("send")
@click.argument("words", nargs=-1, required=True, metavar="PEER [FILE|FOLDER]...")
@click.option("--exam", "unit_id", metavar="UNIT", help="Send a made-up exam of a unit, under its AE title.")
@click.option("--phantom", is_flag=True, help="With --exam: of the phantom, not a biopsy.")
@click.option("--on", "day", type=DAY, help="With --exam: the day it was done; else today.")
@peer_options
@json_option
@pass_app
def send(
    app: App,
    *,
    words: tuple[str, ...],
    unit_id: str | None,
    phantom: bool,
    day: date | None,
    ways: Ways,
    as_json: bool,
) -> int:
    """Send DICOM files and those in folders to PEER (C-STORE), their data sets untouched.

    PEER is a name of the configuration with a port (node is the node itself), HOST PORT, or TITLE@HOST:PORT.

    With --exam no file is needed: the images are made up and hold no patient's data. The same unit, kind and day make
    the same images, which the node takes once.

    Exit code 1 when an instance was not stored.
    """
    peer, paths = take_peer(app, words, ways)
    done = Sent()
    if unit_id is None:
        if phantom or day:
            raise click.UsageError("--phantom and --on go with --exam UNIT")
        if not paths:
            raise click.UsageError("name what to send: files, folders, or --exam UNIT")
        instances = [*_from_files(map(Path, paths), done)]
        if not instances and not done.failed:
            raise OperatorError(f"there is nothing to send in {', '.join(paths)}")
    else:
        if paths:
            raise click.UsageError("send files or --exam, not both")
        kind = Kind.PHANTOM if phantom else Kind.BIOPSY
        ways, instances = _made_up(app.settings, unit_id, kind, day, ways)
    try:
        with progress(len(instances), "sending") as step:
            for group in _groups(instances):
                kinds = dict.fromkeys(each.kind for each in group)
                contexts = [Proposed(sop_class, (syntax,)) for sop_class, syntax in kinds]
                with association(app, peer, ways, "store", contexts) as calling:
                    for instance in group:
                        _send_one(calling, instance, done)
                        step()
    finally:
        _tell(peer, done, as_json=as_json)
    return FAILED if done.failed else 0


def _tell(peer: Peer, done: Sent, *, as_json: bool) -> None:
    if as_json:
        told = {
            name: [{"name": each, "reason": reason} for each, reason in listed]
            for name, listed in (("warnings", done.warnings), ("failed", done.failed))
        }
        write_json({"peer": str(peer), "stored": done.stored, **told})
        return
    for word, listed in (("warning", done.warnings), ("failed", done.failed)):
        for name, reason in listed:
            click.echo(printable(f"{word}: {name}: {reason}"))
    click.echo(f"{peer}: {counted(done.stored, 'instance')} stored, {len(done.failed)} failed")


def _from_files(paths: Iterable[Path], done: Sent) -> Iterator[Outgoing]:
    """Yield what can be sent of files and folders; note the rest as failed, but for media directories."""
    for path in files_under(paths):
        try:
            instance = _read(path)
        except UnreadableInstanceError as error:
            done.failed.append((str(path), str(error)))
        except OSError as error:
            done.failed.append((str(path), f"cannot be read: {error.strerror or error}"))
        else:
            if instance.sop_class_uid != MEDIA_DIRECTORY:
                yield instance


def _read(path: Path) -> Outgoing:
    if not path.is_file():  # opening a pipe would wait for ever
        path.stat()
        raise UnreadableInstanceError("it is no regular file")
    with path.open("rb") as file:
        meta = read_meta(file)
    if not meta.sop_class_uid or not meta.sop_instance_uid:
        raise UnreadableInstanceError("its file meta names no SOP class and instance")
    return Outgoing(
        name=str(path),
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        offset=meta.data_set_offset,
        open=lambda: path.open("rb"),
    )


def _made_up(settings: Settings, unit_id: str, kind: Kind, day: date | None, ways: Ways) -> tuple[Ways, list[Outgoing]]:
    """Return the images of an exam, and the ways with the AE title of the unit."""
    unit = settings.units.get(unit_id)
    if unit is None:
        raise OperatorError(f"there is no unit {unit_id!a}; the units are {', '.join(sorted(settings.units))}")
    told = {
        name: next((value for each in unit.identity if (value := getattr(each, name))), "")
        for name in ("ae_title", "device_serial", "station_name")
    }
    title = ways.aet or told["ae_title"]
    if not title:
        raise OperatorError(f"{unit_id} has no AE title of its own; name who sends for it with -aet")
    device = Device(calling_ae=title, serial=told["device_serial"], station=told["station_name"])
    done_on = day or now().astimezone(settings.facility.time_zone).date()
    images = make_exam(device, kind, done_on)
    return replace(ways, aet=title), [
        Outgoing(
            name=f"image {number} of {len(images)}",
            sop_class_uid=image.SOPClassUID,
            sop_instance_uid=image.SOPInstanceUID,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            offset=0,
            open=partial(io.BytesIO, encode(image)),
        )
        for number, image in enumerate(images, start=1)
    ]


def _groups(instances: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Yield what can go over one association: it has a limited number of presentation contexts."""
    kinds = list(dict.fromkeys(each.kind for each in instances))
    for start in range(0, len(kinds), MOST_CONTEXTS):
        these = set(kinds[start : start + MOST_CONTEXTS])
        yield [each for each in instances if each.kind in these]


def _send_one(calling: Calling, instance: Outgoing, done: Sent) -> None:
    try:
        context_id = calling.context(*instance.kind)
        file = instance.open()
    except PeerRefusedError as error:
        done.failed.append((instance.name, str(error)))
        return
    except OSError as error:
        done.failed.append((instance.name, f"cannot be read: {error.strerror or error}"))
        return
    with closing(file):
        file.seek(instance.offset)
        try:
            status, comment = calling.store(
                context_id,
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
                data=iter(lambda: file.read(_CHUNK), b""),
            )
        except PeerError as error:
            done.failed.append((instance.name, str(error)))
            raise
    if status == 0:
        done.stored += 1
    elif status >> 12 == 0xB:
        done.stored += 1
        done.warnings.append((instance.name, status_words(status, comment)))
    else:
        done.failed.append((instance.name, status_words(status, comment)))
