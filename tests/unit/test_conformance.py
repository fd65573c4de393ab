"""The conformance statement says what the program does, and docs/conformance.md is the statement."""

import re
import ssl
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from dicom_node.cli import (
    conformance_exchange,
    conformance_network,
    conformance_overview,
    conformance_query,
    conformance_security,
)
from dicom_node.cli.app import run
from dicom_node.cli.conformance import statement
from dicom_node.cli.conformance_text import DEFAULTS, meanings, table
from dicom_node.dicom import answers, audit_message, commitment
from dicom_node.dicom.commitment import FailureReason
from dicom_node.dicom.extended import Extended
from dicom_node.dicom.keys import KEYS, Key
from dicom_node.dicom.matching import AnyItem, AnyOf, Exact, Name, Number, WildCard, Within, make_test
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES
from dicom_node.dimse import listener, messages
from dicom_node.dimse.access import AccessList, Caller, Refusal
from dicom_node.dimse.certificates import CIPHERS, Profile
from dicom_node.dimse.contexts import PERMISSIONS
from dicom_node.settings.model import LimitsTable, NodeTable

ROOT = Path(__file__).parents[2]

SITE = """
config_version = 1
[facility]
name = "Synthetic | Center"
time_zone = "America/Chicago"
[node]
ae_title = ["BREAST_A", "BREAST_B"]
port = 104
private_sop_classes = ["1.2.840.113619.4.26"]
[node.limits]
max_matches = 77
[storage]
path = "data"
min_free = "3 GiB"
"""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs_as_they_were: None) -> Path:
    """An empty folder to call commands from, where no configuration is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DICOM_NODE_CONFIG", raising=False)
    monkeypatch.setattr("dicom_node.settings.load.SEARCHED", (Path("config/dicom-node.toml"),))
    return tmp_path


def written(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run([*arguments, "conformance"]) == 0
    return capsys.readouterr().out


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after some words, without its head."""
    lines = iter(text.split(heading, 1)[1].splitlines())
    found = []
    for line in lines:
        if line.startswith("|"):
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found:
            break
    return found[2:]


def test_the_document_is_what_the_command_writes(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    committed = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    assert written(capsys) == committed, "renew it from the folder / with: dicom-node conformance > docs/conformance.md"


def test_a_site_is_told_by_its_configuration(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nowhere / "config").mkdir()
    config = nowhere / "config" / "dicom-node.toml"
    config.write_text(SITE)
    text = written(capsys)
    assert text == written(capsys, "--config", str(config))
    assert "as configured for Synthetic | Center" in text
    told = {row[0]: row[3] for row in rows(text, "### N.6.1")}
    assert told["`ae_title`"] == '`["BREAST_A", "BREAST_B"]`'
    assert told["`port`"] == "`104`"
    assert {row[0]: row[2:] for row in rows(text, "### N.6.2")}["`max_matches`"] == ["`10000`", "`77`"]
    assert "after 77 answers" in text
    assert "3,072 MiB (`storage.min_free`)" in text
    assert "kept and found: 1.2.840.113619.4.26." in text


def test_a_configuration_with_errors_is_told_of(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nowhere / "wrong.toml").write_text("config_version = 2\n")
    assert run(["--config", "wrong.toml", "conformance"]) == 78
    assert "wrong.toml" in capsys.readouterr().err


def test_every_sop_class_and_every_key_of_the_configuration_is_there() -> None:
    text = statement(DEFAULTS)
    assert {row[1] for row in rows(text, "### N.1.1")} == set(STORAGE_SOP_CLASSES)
    assert {row[1] for row in rows(text, "### N.1.2")} == set(PERMISSIONS)
    assert [row[0] for row in rows(text, "### N.6.2")] == [f"`{name}`" for name in LimitsTable.model_fields]
    assert all(row[1] for row in [*rows(text, "### N.6.1"), *rows(text, "### N.6.2"), *rows(text, "### N.6.3")])
    for name in conformance_overview.NOT_BUILT:
        assert name in text


def test_every_byte_reason_and_key_type_has_its_words() -> None:
    assert set(conformance_query._MEANINGS) == {field.name for field in fields(Extended)}
    assert set(conformance_exchange._FAILURES) == set(FailureReason)
    always = {re.findall(r"\((\w{4}),(\w{4})\)", name)[0] for name, _ in conformance_query.ALWAYS_ANSWERED}
    assert {int(group + element, 16) for group, element in always} == {asked.tag for asked in answers._ALWAYS}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.keyword)
def test_a_key_matches_as_is_said(key: Key) -> None:
    told = set(conformance_query.matching_of(key))
    if key.vr == "SQ":
        assert told == {"sequence"}
        return
    values = {"DA": "20260504", "TM": "1030", "DT": "20260504", "IS": "7", "US": "7", "UI": "1.2.3"}
    value = values.get(key.vr, "TEXT")
    single = make_test(key.vr, value, multiple=key.multiple)
    assert isinstance(single, Exact | Name | Number | Within)
    assert ("range" in told) == isinstance(single, Within)
    with_star = f"{value}*"
    if "wild card" in told:
        assert isinstance(make_test(key.vr, with_star), WildCard | Name)
    else:
        with pytest.raises(ValueError, match=r"."):
            make_test(key.vr, with_star)
    several = told & {"list of UIDs", "several values"}
    if several:
        both = make_test(key.vr, f"{value}\\{value}9", multiple=key.multiple)
        assert isinstance(both, Exact | AnyOf)
        assert not isinstance(both, AnyItem)
        assert both.accepts(value)
        assert both.accepts(f"{value}9")


def test_rejections_are_those_of_the_program() -> None:
    told = {numbers for numbers, _ in conformance_network.REJECTIONS}
    listed = Caller(name="peers.pacs", ae_title="PACS", hosts=(), services=frozenset({"echo"}), username="somebody")
    access = AccessList([listed], ["SBB_NODE"])
    answered = [
        access.admit(calling_ae="PACS", called_ae="OTHER", address="127.0.0.1"),
        access.admit(calling_ae="STRANGER", called_ae="SBB_NODE", address="127.0.0.1"),
        access.admit(calling_ae="PACS", called_ae="SBB_NODE", address="127.0.0.1"),
        *(value for value in vars(listener).values() if isinstance(value, Refusal)),
    ]
    codes = {(each.result, each.source, each.reason) for each in answered if isinstance(each, Refusal)}
    assert len(codes) == 6
    assert codes <= told


@pytest.mark.parametrize("profile", get_args(Profile))
def test_cipher_suites_are_those_of_the_program(profile: Profile) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS[profile])
    offered = {each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"}
    assert set(conformance_security.SUITES[profile]) == offered


def test_every_event_of_the_audit_trail_is_there() -> None:
    codes = {each for each in vars(audit_message).values() if isinstance(each, audit_message.Code)}
    events = {each for each in codes if each.scheme == "DCM" and "110100" <= each.value < "110120"}
    assert set(conformance_security.EVENTS) == events


def test_the_longest_request_for_commitment_is_as_long_as_any_message() -> None:
    assert commitment.LARGEST == messages.IDENTIFIER_LIMIT, "else a longer one is answered, not aborted"


def test_a_cell_cannot_break_its_table() -> None:
    assert table(["a"], [["b | c\nd"]]).splitlines()[2] == r"| b \| c d |"


def test_keys_without_words_would_be_seen() -> None:
    assert set(meanings(NodeTable)) == set(NodeTable.model_fields)
    assert "4" in meanings(NodeTable)["workers"]


def test_the_version_is_that_of_the_program() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert statement(DEFAULTS).startswith(f"# DICOM conformance statement of dicom_node {version}\n")
