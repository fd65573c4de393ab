"""``dicom-node echo``, ``send``, ``find``, ``get`` and ``move``, with a peer of the library."""

import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.presentation import AllStoragePresentationContexts, build_context

from dicom_node.cli.fetched import FetchedFiles, contexts_to_fetch
from dicom_node.dicom.part10 import read_meta
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES
from dicom_node.dimse import pdu
from dicom_node.dimse.calling import Proposed
from dicom_node.dimse.serving import AcceptedContext
from tests.called import peer
from tests.certificates import Authority
from tests.commands import Commands
from tests.factories import encode, make_mg, make_stereo_pair, write_file
from tests.live import CONFIG, free_port, live_node
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND
from tests.receivers import raw_server

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"

ROLES = dict.fromkeys(STORAGE_SOP_CLASSES, (True, True))


@dataclass
class Archive:
    """What a peer was asked and given, and what it answers."""

    port: int = 0
    callers: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    stored: list[Any] = field(default_factory=list)
    asked: list[Dataset] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    store: Any = 0
    answers: list[Any] = field(default_factory=list)

    def take(self, event: Any) -> Any:
        if callable(self.store):
            return self.store(event)
        self.stored.append(event)
        return self.store

    def accepted(self, event: Any) -> None:
        self.callers.append(event.assoc.requestor.ae_title)
        self.called.append(event.assoc.requestor.primitive.called_ae_title)

    def answer(self, event: Any) -> Iterator[Any]:
        self.asked.append(event.identifier)
        self.models.append(event.context.abstract_syntax)
        yield from self.answers


@pytest.fixture(scope="module")
def running() -> Iterator[Archive]:
    """A peer for all tests of the module."""
    archive = Archive()
    handlers = [
        (evt.EVT_ACCEPTED, archive.accepted),
        (evt.EVT_C_STORE, archive.take),
        *((kind, archive.answer) for kind in (evt.EVT_C_FIND, evt.EVT_C_GET, evt.EVT_C_MOVE)),
    ]
    with peer(handlers, roles=ROLES) as archive.port:
        yield archive


@pytest.fixture
def archive(running: Archive, site: Path) -> Archive:
    """The peer, as if it was new, and listed as ``far``."""
    for each in (running.callers, running.called, running.stored, running.asked, running.models, running.answers):
        each.clear()
    running.store = 0
    with site.open("a", encoding="utf-8") as file:
        file.write(f'[peers.far]\nae_title = "FAR"\nhost = "127.0.0.1"\nport = {running.port}\n')
    return running


def found(**keys: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


# Who is called.


def test_a_peer_is_named_in_three_ways(archive: Archive, commands: Commands) -> None:
    port = str(archive.port)
    assert commands.good("echo", "far").out == f"FAR at 127.0.0.1 port {port} answers\n"
    commands.good("echo", "peers.far", "-aet", "SOMEBODY", "-aec", "ANOTHER")
    commands.good("echo", "localhost", port)
    told = commands.json("echo", f"THERE@localhost:{port}")
    assert told == {"peer": f"THERE at localhost port {port}", "status": "0000"}
    assert archive.called == ["FAR", "ANOTHER", "ANY-SCP", "THERE"]
    assert archive.callers == ["SBB_NODE", "SOMEBODY", "SBB_NODE", "SBB_NODE"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nobody"], 1, "'nobody' is no peer with a port in the configuration (there: far, node); write HOST PORT"),
        (["localhost", "99999"], 1, "99999 is no port"),
        (["far", "more"], 2, "nothing is to follow the peer"),
        (["far", "-aet", "SEVENTEEN_LETTERS"], 1, "is no AE title"),
        (["node"], 69, "SBB_NODE at 127.0.0.1 port "),
        (["far", "--ca", "/dev/null", "--tls"], 1, "the files for TLS cannot be used"),
    ],
)
def test_who_cannot_be_called_is_told_in_a_sentence(
    archive: Archive, commands: Commands, words: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOM_NODE_NODE__PORT", str(free_port()))  # a node may run on this machine
    called = commands("echo", *words)
    assert (called.code, called.out) == (code, "")
    assert told in called.err


def test_a_peer_that_is_silent_is_left_after_the_time_given(site: Path, commands: Commands) -> None:
    with raw_server(lambda _: None) as port:
        called = commands("echo", "127.0.0.1", str(port), "-to", "0.2")
    assert called.code == 69
    assert "the peer did not answer the association request in time" in called.err


def test_by_tls_both_show_their_certificates(site: Path, commands: Commands, tmp_path: Path) -> None:
    authority = trustme.CA()
    own, its = authority.issue_cert("node.example.org"), authority.issue_cert("127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    its.configure_cert(server)
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    own.cert_chain_pems[0].write_to_path(cert)
    own.private_key_pem.write_to_path(key)
    with peer(tls=server) as port:
        far = (f"FAR@127.0.0.1:{port}", "--tls")
        commands.good("echo", *far, "--ca", ca, "--cert", cert, "--key", key)
        stranger = commands("echo", *far)
        assert (stranger.code, "the peer's certificate is not accepted" in stranger.err) == (69, True)
        nameless = commands("echo", *far, "--ca", ca)
        assert (nameless.code, nameless.err.startswith("error: FAR at ")) == (69, True)


def test_the_node_s_certificate_is_shown_and_the_peer_s_is_the_one_listed(
    site: Path, commands: Commands, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    authority.issue("node")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(authority.file)
    server.load_cert_chain(*authority.issue("archive.example.org"))
    with peer(tls=server) as port, site.open("a", encoding="utf-8") as file:
        for name, certificate in (("far", "archive.example.org"), ("other", "another.example.org")):
            file.write(f'[peers.{name}]\nae_title = "{name.upper()}"\nhost = "127.0.0.1"\nport = {port}\ntls = true\n')
            file.write(f'certificate = "{certificate}"\n')
        file.write(f'[node.tls]\nport = {free_port()}\ncertificate_file = "ca/node.crt"\nkey_file = "ca/node.key"\n')
        file.write('ca_file = "ca/ca.pem"\n')
        file.flush()
        commands.good("echo", "far")
        wrong = commands("echo", "other")
        assert wrong.code == 69
        assert "certificate is not accepted: the certificate is that of 'archive.example.org'" in wrong.err
        unbound = commands("echo", f"FAR@127.0.0.1:{port}", "--tls")
        assert (unbound.code, "IP address mismatch" in unbound.err) == (69, True)
        checks = {each["name"]: each for each in json.loads(commands("doctor", "--json").out)["checks"]}
        assert (checks["peers.far"]["ok"], checks["peers.other"]["ok"]) == (True, False)


def test_without_a_configuration_a_peer_can_be_called(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from dicom_node.cli.app import run  # noqa: PLC0415 - the others call it by Commands

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DICOM_NODE_CONFIG", raising=False)
    monkeypatch.setattr("dicom_node.settings.load.SEARCHED", ())
    assert run(["echo", "127.0.0.1", str(archive.port)]) == 0
    assert archive.callers == ["DICOM_NODE"]


# Sending.


def test_files_and_folders_are_sent_as_they_are(archive: Archive, commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    first, second = make_stereo_pair()
    write_file(folder / "b", first, EXPLICIT)
    write_file(folder / "deeper" / "a", second, IMPLICIT)
    (folder / "notes.txt").write_text("no image")
    os.mkfifo(folder / "pipe")
    directory = make_mg()
    directory.SOPClassUID = UID("1.2.840.10008.1.3.10")
    write_file(folder / "DICOMDIR", directory)
    called = commands("send", "far", str(folder))
    assert called.code == 1
    assert called.lines == [
        f"failed: {folder}/notes.txt: not a DICOM file: no DICM after a preamble of 128 bytes (PS3.10 7.1)",
        f"failed: {folder}/pipe: it is no regular file",
        f"FAR at 127.0.0.1 port {archive.port}: 2 instances stored, 2 failed",
    ]
    sent = {event.request.AffectedSOPInstanceUID: event for event in archive.stored}
    assert sent[first.SOPInstanceUID].request.DataSet.getvalue() == encode(first, EXPLICIT)
    assert sent[second.SOPInstanceUID].request.DataSet.getvalue() == encode(second, IMPLICIT)
    assert sent[second.SOPInstanceUID].context.transfer_syntax == IMPLICIT
    assert len(archive.callers) == 1


def test_a_folder_without_a_file_is_an_error(archive: Archive, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    called = commands("send", "far", str(tmp_path / "empty"))
    assert (called.code, called.err) == (1, f"error: there is nothing to send in {tmp_path}/empty\n")
    assert archive.callers == []


def test_what_a_peer_says_to_an_instance_is_told_without_its_control_characters(
    archive: Archive, commands: Commands, tmp_path: Path
) -> None:
    file = str(write_file(tmp_path / "image", make_mg()))
    archive.store = found(Status=0xA700, ErrorComment="full\x1b[2J")
    called = commands("send", "far", file)
    assert (called.code, called.lines[0]) == (1, f"failed: {file}: A700 (full\\x1b[2J)")
    archive.store = found(Status=0xB007, ErrorComment="coerced")
    called = commands("send", "far", file)
    assert (called.code, called.lines) == (
        0,
        [f"warning: {file}: B007 (coerced)", f"FAR at 127.0.0.1 port {archive.port}: 1 instance stored, 0 failed"],
    )
    told = commands.json("send", "far", file)
    assert told["stored"] == 1
    assert told["warnings"] == [{"name": file, "reason": "B007 (coerced)"}]


def test_more_kinds_than_an_association_has_contexts_go_over_several(
    archive: Archive, commands: Commands, tmp_path: Path
) -> None:
    image = make_mg()
    for number, context in enumerate(AllStoragePresentationContexts[:130]):
        uid = str(context.abstract_syntax)
        image.SOPClassUID, image.SOPInstanceUID = UID(uid), UID(f"2.25.{number}")
        write_file(tmp_path / f"{number:03}.dcm", image)
    files = sorted(map(str, tmp_path.glob("*.dcm")))
    assert commands.good("send", "far", *files).out.endswith(": 130 instances stored, 0 failed\n")
    assert len(archive.callers) == 2


def test_a_kind_that_the_peer_does_not_take_fails_alone(archive: Archive, commands: Commands, tmp_path: Path) -> None:
    good = write_file(tmp_path / "good", make_mg())
    strange = write_file(tmp_path / "strange", make_mg(), "1.2.840.10008.1.2.4.70")
    called = commands("send", "far", str(strange), str(good))
    assert called.code == 1
    assert called.lines == [
        f"failed: {strange}: the peer does not take {MAMMOGRAM}: transfer syntaxes not supported",
        f"FAR at 127.0.0.1 port {archive.port}: 1 instance stored, 1 failed",
    ]
    assert commands("send", "far", str(strange)).code == 69


def test_the_instance_at_which_a_peer_breaks_off_is_named(archive: Archive, commands: Commands, tmp_path: Path) -> None:
    files = [str(write_file(tmp_path / name, make_mg())) for name in "ab"]

    def take_one(event: Any) -> int:
        if len(archive.stored):
            event.assoc.abort()
        archive.stored.append(event)
        return 0

    archive.store = take_one
    called = commands("send", "far", *files)
    assert (called.code, called.lines[0]) == (
        69,
        f"failed: {files[1]}: the peer aborted the association: no reason given",
    )
    assert called.lines[1].endswith("1 instance stored, 1 failed")
    assert called.err.startswith("error: FAR at 127.0.0.1 port")


def test_a_made_up_exam_is_sent_as_the_unit_would(archive: Archive, commands: Commands) -> None:
    assert commands.good("send", "far", "--exam", "upright_a").out.endswith(": 4 instances stored, 0 failed\n")
    assert commands.good("send", "far", "--exam", "upright_a", "--phantom", "--on", "2026-05-04").code == 0
    assert archive.callers == ["UPRIGHT_A", "UPRIGHT_A"]
    images = [event.dataset for event in archive.stored]
    assert {image.DeviceSerialNumber for image in images} == {"UA-1002"}
    assert [image.AcquisitionDate for image in images] == ["20261123"] * 4 + ["20260504"] * 2
    again = archive.stored[0].request.DataSet.getvalue()
    commands.good("send", "far", "--exam", "upright_a")
    assert archive.stored[6].request.DataSet.getvalue() == again


def test_on_a_terminal_progress_is_shown(archive: Archive, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.cli.progress.has_terminal", lambda: True)
    called = commands("send", "far", "--exam", "prone1")
    assert (called.code, called.err.strip()) == (0, "sending")
    archive.answers += [2, (0xFF00, _image()), (0xFF00, _image())]
    called = commands("get", "far", "-od", str(commands.config.parent / "got"), "-k", "StudyInstanceUID=2.25.4")
    assert (called.code, called.err.strip()) == (0, "fetching")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["far"], 2, "name what to send"),
        (["far", "--phantom"], 2, "go with --exam"),
        (["far", "file", "--exam", "prone1"], 2, "not both"),
        (["far", "--exam", "prone9"], 1, "there is no unit 'prone9'; the units are prone1, upright_a, upright_b"),
    ],
)
def test_what_cannot_be_sent_is_told(
    archive: Archive, commands: Commands, words: list[str], code: int, told: str
) -> None:
    called = commands("send", *words)
    assert called.code == code
    assert told in called.err


# Asking.


def test_answers_are_shown_in_the_columns_that_were_asked_for(archive: Archive, commands: Commands) -> None:
    first = found(SpecificCharacterSet="ISO_IR 100", StudyDescription="Br\xfcste", StudyInstanceUID="2.25.1", Rows=3)
    second = found(SpecificCharacterSet="ISO_IR 100", StudyDescription="\x07gone\x9b", StudyInstanceUID="2.25.2")
    archive.answers += [(0xFF00, first), (0xFF00, second), (0x0000, None)]
    keys = ["-k", "StudyInstanceUID", "-k", "StudyDescription=Br\xfc*", "-k", "0028,0010", "-k", "CountsUntil"]
    called = commands.good("find", "far", *keys)
    assert called.lines == [
        "StudyInstanceUID  StudyDescription  Rows  CountsUntil",
        "2.25.1            Br\xfcste               3",
        "2.25.2            \\x07gone\\x9b",
        "2 found",
    ]
    asked = archive.asked[0]
    assert (asked.QueryRetrieveLevel, asked.SpecificCharacterSet) == ("STUDY", "ISO_IR 192")
    assert (asked.StudyDescription, asked.StudyInstanceUID, asked.Rows) == ("Br\xfc*", "", None)
    assert (asked[0x00790010].value, 0x00791004 in asked) == ("DICOM_NODE", True)
    told = commands.good("find", "far", *keys, "--json").out
    assert all(char.isprintable() or char == "\n" for char in told)
    answers = json.loads(told)["answers"]
    assert answers[1]["StudyDescription"] == "\x07gone\x9b"
    assert answers[0] == {
        "SpecificCharacterSet": "ISO_IR 100",
        "StudyDescription": "Br\xfcste",
        "StudyInstanceUID": "2.25.1",
        "Rows": "3",
    }


@pytest.mark.parametrize(
    ("words", "level", "model"),
    [
        ([], "STUDY", STUDY_ROOT_FIND),
        (["-S", "-k", "SeriesInstanceUID=2.25.5", "-k", "StudyInstanceUID=2.25.4"], "SERIES", STUDY_ROOT_FIND),
        (["-P", "-k", "QueryRetrieveLevel=PATIENT"], "PATIENT", PATIENT_ROOT_FIND),
        (["-P", "-L", "image"], "IMAGE", PATIENT_ROOT_FIND),
    ],
)  # fmt: skip
def test_the_level_is_the_one_named_or_that_of_the_keys(
    archive: Archive, commands: Commands, words: list[str], level: str, model: str
) -> None:
    archive.answers.append((0x0000, None))
    assert commands.good("find", "far", *words).lines[-1] == "0 found"
    assert archive.asked[0].QueryRetrieveLevel == level
    assert archive.models == [model]
    assert len(archive.asked[0]) > 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-k", "StudyDay=1"], 1, "'StudyDay' is no attribute"),
        (["-k", "0011,0011=1"], 1, "is not in the dictionary"),
        (["-k", "Rows=many"], 1, "Rows cannot be 'many'"),
        (["-k", "ViewCodeSequence=1"], 1, "is a sequence"),
        (["-L", "FOLDER"], 2, "'FOLDER' is no level"),
    ],
)
def test_what_cannot_be_asked_is_told(
    archive: Archive, commands: Commands, words: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOM_NODE_NODE__PORT", str(free_port()))
    called = commands("find", "far", *words)
    assert (called.code, archive.asked) == (code, [])
    assert told in called.err


@pytest.mark.parametrize("command", [["get", "far"], ["move", "far", "-aem", "PACS", "-k", "StudyInstanceUID"]])
def test_everything_a_peer_has_is_not_asked_for_by_mistake(
    archive: Archive, commands: Commands, command: list[str]
) -> None:
    called = commands(*command)
    assert (called.code, archive.asked) == (2, [])
    assert "say what, such as -k" in called.err


def test_a_query_that_fails_is_told(archive: Archive, commands: Commands) -> None:
    archive.answers += [(found(Status=0xA700, ErrorComment="too much\x07"), None)]
    called = commands("find", "far")
    assert (called.code, called.lines[-1]) == (1, "0 found; the peer ended with status A700 (too much\\x07)")


def test_instances_are_fetched_into_files(archive: Archive, commands: Commands, tmp_path: Path) -> None:
    images = make_stereo_pair()
    for image in images:
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    archive.answers += [2, *((0xFF00, image) for image in images)]
    folder = tmp_path / "new" / "folder"
    called = commands.good("get", "far", "-od", str(folder), "-k", "StudyInstanceUID=2.25.4")
    assert called.out == f"2 fetched into {folder}\n"
    assert archive.asked[0].StudyInstanceUID == "2.25.4"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{each.SOPInstanceUID}.dcm" for each in images)
    for image in images:
        path = folder / f"{image.SOPInstanceUID}.dcm"
        with path.open("rb") as file:
            meta = read_meta(file)
        assert path.read_bytes()[meta.data_set_offset :] == encode(image, EXPLICIT)
        assert meta.seal is not None
        assert meta.provenance is not None
        assert (meta.provenance.calling_ae, meta.provenance.called_ae) == ("FAR", "SBB_NODE")
        assert dcmread(path).SOPInstanceUID == image.SOPInstanceUID


def test_a_get_that_fails_is_told(archive: Archive, commands: Commands, tmp_path: Path) -> None:
    archive.answers += [1, (0xA702, None)]
    called = commands("get", "far", "-od", str(tmp_path / "got"), "-k", "StudyInstanceUID=2.25.4", "--json")
    assert called.code == 1
    assert '"status": "A702"' in called.out
    (tmp_path / "file").touch()
    called = commands("get", "far", "-od", str(tmp_path / "file" / "below"), "-k", "StudyInstanceUID=2.25.4")
    assert (called.code, called.err.startswith(f"error: the folder {tmp_path}/file/below cannot be made")) == (1, True)


def _store_command(uid: str, sop_class: str = MAMMOGRAM) -> pdu.Command:
    return pdu.parse_command(pdu.command_set(1, {2: sop_class, 0x110: 1, 0x1000: uid}, has_data_set=True))


@pytest.mark.parametrize("uid", ["", "../../../tmp/x", "/etc/passwd", "2.25.1/", "2.25.1\n", "2.25.01", "a", "." * 3])
def test_no_text_of_a_peer_becomes_the_name_of_a_file(tmp_path: Path, uid: str) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    files = FetchedFiles(folder, {1: AcceptedContext(MAMMOGRAM, EXPLICIT)}, calling_ae="A", sender="B", address="")
    transfer = files.begin(_store_command(uid), 1)
    transfer.write(memoryview(b"data"))
    assert transfer.finish() == (0x0117, "no usable UID")
    transfer.discard()
    assert (files.failures, files.paths, [*folder.iterdir()], [*tmp_path.iterdir()]) == (1, [], [], [folder])


def test_an_instance_of_another_class_or_half_of_one_becomes_no_file(tmp_path: Path) -> None:
    files = FetchedFiles(tmp_path, {1: AcceptedContext(MAMMOGRAM, EXPLICIT)}, calling_ae="A", sender="B", address="")
    assert files.begin(_store_command("2.25.1", "1.2.3"), 1).finish()[0] == 0xA900
    assert files.begin(_store_command("2.25.1"), 3).finish()[0] == 0xA900
    assert files.begin(_store_command("2.25.1"), 1).finish() == (0xC000, "no data set")
    half = files.begin(_store_command("2.25.2"), 1)
    half.write(memoryview(b"data"))
    assert [path.name for path in tmp_path.iterdir()] == [".2.25.2.part"]
    half.discard()
    half.discard()
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_takes_no_file_is_told_to_the_peer(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    files = FetchedFiles(folder, {1: AcceptedContext(MAMMOGRAM, EXPLICIT)}, calling_ae="A", sender="B", address="")
    transfer = files.begin(_store_command("2.25.1"), 1)
    transfer.write(memoryview(b"data"))
    assert transfer.finish() == (0xA700, "No such file or directory")
    assert files.failures == 1


def test_a_get_proposes_the_usual_classes_in_every_syntax() -> None:
    contexts, roles = contexts_to_fetch(Proposed("1.2.3", (IMPLICIT,)))
    pairs = [(each.abstract_syntax, each.transfer_syntaxes) for each in contexts]
    assert len(pairs) == len(set(pairs)) == 128
    assert pairs[0] == ("1.2.3", (IMPLICIT,))
    assert {syntaxes[0] for uid, syntaxes in pairs if uid == MAMMOGRAM} == set(TRANSFER_SYNTAXES)
    assert set(roles.values()) == {(False, True)}
    assert set(roles) == {each.abstract_syntax for each in contexts[1:]}
    assert len(roles) > 30


def test_a_move_tells_how_many_were_sent(archive: Archive, commands: Commands) -> None:
    archive.answers += [(None, None)]
    called = commands("move", "far", "-aem", "NOWHERE", "-k", "StudyInstanceUID=2.25.4")
    assert (called.code, called.lines) == (1, ["0 sent to NOWHERE, 0 failed; the peer ended with status A801"])
    with peer([(evt.EVT_C_STORE, archive.take)]) as other:
        archive.answers[:] = [
            ("127.0.0.1", other, {"contexts": [build_context(MAMMOGRAM)]}),
            2,
            (0xFF00, _image()),
            (0xFF00, _image()),
        ]
        called = commands.good("move", "far", "-aem", "OTHER", "-k", "StudyInstanceUID=2.25.4")
    assert called.lines == ["2 sent to OTHER, 0 failed"]
    assert len(archive.stored) == 2


def _image() -> Dataset:
    image = make_mg()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    return image


# A whole node.


def test_what_a_new_node_says_to_try_works_without_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> None:
    unreachable = free_port()
    far = f'[peers.far]\nae_title = "FAR"\nhost = "127.0.0.1"\nport = {unreachable}\n'
    config = CONFIG.replace("drain = ", "workers = 1\ndrain = ")
    with live_node(tmp_path, more=far, config=config) as node:
        commands = Commands(node.config, capsys)
        log = node.log.read_text(encoding="utf-8")
        for hint in ("send node --exam prone1", "find node -k StationName -k AcquisitionDate -k CountsUntil"):
            assert f" {hint}\n" in log
            assert commands.good(*hint.split()).code == 0
        assert commands.good("send", "node", "--exam", "prone1", "--phantom").code == 0
        assert commands.json("find", "node", "-k", "UnitID=prone1")["answers"] != []
        told = commands("doctor")
        assert told.code == 1
        assert f"SBB_NODE at 127.0.0.1 port {node.port} answers C-ECHO" in told.out
        assert [line.split()[1] for line in told.lines if line.startswith("problem")] == ["peers.far"]
