"""``dicom-node find``, ``get`` and ``move``: what a peer has, and having it here or elsewhere."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.fetched import FetchedFiles, contexts_to_fetch
from dicom_node.cli.output import json_option, write_json, write_table
from dicom_node.cli.peers import (
    MESSAGE_SYNTAXES,
    Peer,
    Ways,
    association,
    peer_options,
    status_words,
    take_peer,
    title_for,
)
from dicom_node.cli.progress import progress
from dicom_node.dicom.asking import (
    CHARACTER_SET,
    LEVEL,
    AskedKey,
    answer_as_names,
    encode_request,
    level_of,
    parse_key,
    read_answer,
)
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.keys import Level
from dicom_node.dimse.calling import Calling, Proposed, Response
from dicom_node.errors import InvalidQueryError, OperatorError, PeerUnavailableError

_MODELS = {
    "study": ("1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"),
    "patient": ("1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.1.3"),
}
"""The FIND, MOVE and GET of the Study Root and the Patient Root models (PS3.4 C.6)."""

_USUAL = {
    Level.PATIENT: ("PatientID", "NumberOfPatientRelatedStudies"),
    Level.STUDY: ("StudyDate", "ModalitiesInStudy", "NumberOfStudyRelatedInstances", "StudyInstanceUID"),
    Level.SERIES: ("Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID"),
    Level.IMAGE: ("InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
}
"""What is asked for at a level when nothing is."""


class _Question:
    """The model, the level and the keys of a request."""

    def __init__(self, model: str, level: str | None, keys: Sequence[str]) -> None:
        self.find, self.move, self.get = _MODELS[model]
        asked = [parse_key(key) for key in keys]
        named = level or next((key.value for key in asked if key.tag == LEVEL), None)
        self.keys: list[AskedKey] = [key for key in asked if key.tag != LEVEL]
        self.level = _level(named) if named else level_of(self.keys)

    def encode(self, calling: Calling, context_id: int) -> bytes:
        """Return the identifier, in the transfer syntax of the context."""
        return encode_request(self.keys, self.level, encoding_of(calling.accepted[context_id].transfer_syntax_uid))


def _level(name: str) -> Level:
    try:
        return Level["IMAGE" if name.upper() == "INSTANCE" else name.upper()]
    except KeyError:
        raise click.UsageError(f"{name!a} is no level; write PATIENT, STUDY, SERIES or IMAGE") from None


def _question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what is asked, passed as ``question``."""
    options = (
        click.option("-S", "model", flag_value="study", default="study", help="Study Root model (the default)."),
        click.option("-P", "model", flag_value="patient", help="Patient Root model."),
        click.option("-L", "level", metavar="LEVEL", help="PATIENT, STUDY, SERIES or IMAGE; else by the keys."),
        click.option("-k", "keys", multiple=True, metavar="KEY[=VALUE]",
                     help="A key, by keyword or as gggg,eeee: matched when it has a value, returned in any case."),
    )  # fmt: skip

    @wraps(command)
    def with_question(*arguments: Any, model: str, level: str | None, keys: Sequence[str], **rest: Any) -> Any:
        return command(*arguments, question=_Question(model, level, keys), **rest)

    wrapped: Callable[..., Any] = with_question
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@click.command("find")
@click.argument("words", nargs=-1, required=True, metavar="PEER")
@_question_options
@peer_options
@json_option
@pass_app
def find(app: App, *, words: tuple[str, ...], question: _Question, ways: Ways, as_json: bool) -> int:
    """Ask PEER what it has (C-FIND) and show its answers.

    PEER is a name of the configuration with a port (node is the node itself), HOST PORT, or TITLE@HOST:PORT.
    Without -k the usual attributes of the level are asked for.
    """
    peer = _only_peer(app, words, ways)
    if not question.keys:
        question.keys = [parse_key(name) for name in _USUAL[question.level]]
    answers: list[dict[int, str]] = []
    with association(app, peer, ways, "find", [Proposed(question.find, MESSAGE_SYNTAXES)]) as calling:
        context_id = calling.context(question.find)
        encoding = encoding_of(calling.accepted[context_id].transfer_syntax_uid)
        final = None
        for final in calling.find(context_id, question.encode(calling, context_id)):
            if final.is_last:
                break
            try:
                answers.append(read_answer(final.data_set, encoding))
            except InvalidQueryError as error:
                raise PeerUnavailableError(f"an answer cannot be read: {error}") from None
    assert final is not None
    columns = list(dict.fromkeys(key.tag for key in question.keys if key.tag != CHARACTER_SET))
    if as_json:
        write_json({"peer": str(peer), "answers": [answer_as_names(each) for each in answers], **_end(final)})
    else:
        headers = [next(key.name for key in question.keys if key.tag == tag) for tag in columns]
        write_table(headers, [[answer.get(tag, "") for tag in columns] for answer in answers])
        click.echo(f"{len(answers)} found" + _how_it_ended(final))
    return FAILED if final.status else 0


@click.command("get")
@click.argument("words", nargs=-1, required=True, metavar="PEER")
@click.option("-od", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="DIR",
              help="Folder for the files, which are named by SOP Instance UID; else the current one.")  # fmt: skip
@_question_options
@peer_options
@json_option
@pass_app
def get(app: App, *, words: tuple[str, ...], folder: Path, question: _Question, ways: Ways, as_json: bool) -> int:
    """Fetch what matches from PEER (C-GET) into DICOM files.

    PEER is a name of the configuration with a port (node is the node itself), HOST PORT, or TITLE@HOST:PORT. An
    association has room for what breast imaging makes: the more usual a class, the more transfer syntaxes it is taken
    in. What else matches, the peer cannot send.

    Exit code 1 when an instance did not come.
    """
    peer = _only_peer(app, words, ways)
    _something(question)
    contexts, roles = contexts_to_fetch(Proposed(question.get, MESSAGE_SYNTAXES))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"the folder {folder} cannot be made: {error.strerror or error}") from None
    with association(app, peer, ways, "get", contexts, roles=roles) as calling:
        context_id = calling.context(question.get)
        files = FetchedFiles(
            folder,
            calling.accepted,
            calling_ae=title_for(app, peer, ways, "get"),
            sender=peer.ae_title,
            address=peer.host,
        )
        identifier = question.encode(calling, context_id)
        final = _watched(calling.get(context_id, identifier, store=files), "fetching")
    if as_json:
        write_json({"peer": str(peer), "files": files.paths, **_counts(final), **_end(final)})
    else:
        click.echo(f"{len(files.paths)} fetched into {folder}" + _how_it_ended(final))
    return FAILED if final.status or files.failures else 0


@click.command("move")
@click.argument("words", nargs=-1, required=True, metavar="PEER")
@click.option("-aem", "destination", metavar="TITLE", required=True, help="AE title that the peer is to send to.")
@_question_options
@peer_options
@json_option
@pass_app
def move(app: App, *, words: tuple[str, ...], destination: str, question: _Question, ways: Ways, as_json: bool) -> int:
    """Have PEER send what matches to another application entity (C-MOVE).

    PEER is a name of the configuration with a port (node is the node itself), HOST PORT, or TITLE@HOST:PORT.

    Exit code 1 when an instance was not sent.
    """
    peer = _only_peer(app, words, ways)
    _something(question)
    if not 0 < len(destination) <= 16 or not destination.isascii():
        raise click.UsageError(f"{destination!a} is no AE title")
    with association(app, peer, ways, "move", [Proposed(question.move, MESSAGE_SYNTAXES)]) as calling:
        context_id = calling.context(question.move)
        identifier = question.encode(calling, context_id)
        final = _watched(calling.move(context_id, identifier, destination=destination), "moving")
    if as_json:
        write_json({"peer": str(peer), "destination": destination, **_counts(final), **_end(final)})
    else:
        counts = final.sub_operations
        click.echo(
            f"{counts.completed + counts.warning} sent to {destination}, {counts.failed} failed" + _how_it_ended(final)
        )
    return FAILED if final.status else 0


def _only_peer(app: App, words: Sequence[str], ways: Ways) -> Peer:
    peer, rest = take_peer(app, words, ways)
    if rest:
        raise click.UsageError(f"nothing is to follow the peer, such as {rest[0]!a}; keys are given with -k")
    return peer


def _something(question: _Question) -> None:
    if not any(key.value for key in question.keys):
        raise click.UsageError("say what, such as -k StudyInstanceUID=2.25.1")


def _watched(responses: Iterator[Response], label: str) -> Response:
    """Read responses to the last one, which is returned, and show how far it is."""
    with contextlib.ExitStack() as shown:
        step: Callable[..., None] | None = None
        done = 0
        for response in responses:
            if response.is_last:
                return response
            counts = response.sub_operations
            ended = counts.completed + counts.failed + counts.warning
            if step is None:
                step = shown.enter_context(progress(ended + counts.remaining, label))
            for _ in range(done, ended):
                step()
            done = max(done, ended)
    raise PeerUnavailableError("the peer ended without a final response")


def _how_it_ended(final: Response) -> str:
    return f"; the peer ended with status {status_words(final.status, final.comment)}" if final.status else ""


def _end(final: Response) -> dict[str, str]:
    return {"status": f"{final.status:04X}", "comment": final.comment}


def _counts(final: Response) -> dict[str, int]:
    counts = final.sub_operations
    return {"completed": counts.completed, "failed": counts.failed, "warning": counts.warning}
