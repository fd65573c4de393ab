"""``dicom-node policies``: what there is, who stands otherwise under another, and a change that waits for a person."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dicom_node.archive.journal import JOURNAL
from dicom_node.cli.app import FAILED, INTERRUPTED
from dicom_node.node import Node
from dicom_node.services.review import is_review_wanted
from dicom_node.settings import Settings, load_settings
from dicom_node.site import Site, open_stores
from tests.commands import Commands
from tests.factories import make_mg
from tests.live import free_port
from tests.sites import START, opened_site, receive_all, write_site

SIX, FOURTEEN = "acr-sbb-2023-03-03", "acr-sbb-2026-01-14"
PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}
NEWER = f'[accreditation]\npolicy = "{FOURTEEN}"\n'
OWN = """\
[accreditation]
policy = "ours"
[[accreditation.policies]]
id = "ours"
program = "Our programme"
article = "Letter"
revision = 2027-02-01
address = "file in the physics office"
months = {{ clinical = {months}, phantom = 6 }}
"""
OVERRIDE = """\
[accreditation]
[[accreditation.overrides]]
from = 2026-11-01
to = 2027-01-31
months = { clinical = 9, phantom = 9 }
article = "Letter on the pandemic"
revision = 2026-10-20
address = "file in the physics office"
note = "Known from a copy."
"""


@pytest.fixture
def filled(site: Path, commands: Commands) -> Path:
    """The facility with a clinical exam that counts and a phantom that lapsed; what is configured has been accepted."""
    write_site(site.parent, port=free_port())
    with opened_site(site) as stores:
        receive_all(
            stores,
            (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"),
            (make_mg(**PRONE, day=date(2026, 3, 2), patient_id="ACRPHANTOM1"), "PRONE_RM2"),
        )
    with ran(site):
        pass
    return site


class Running:
    """A node in this process that looks when it is told to."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.node = Node(open_stores(Site.of(self._settings())), now=lambda: START)
        self.node.start(by_clock=False)

    @property
    def policy(self) -> str:
        return self.node._site.rules.policy.id

    def _settings(self) -> Settings:
        settings = load_settings(self.config, {}).settings
        return settings.model_copy(update={"node": settings.node.model_copy(update={"workers": 1})})

    def reload(self) -> None:
        """Do what SIGHUP has it do."""
        self.node._reload(self._settings)


@contextmanager
def ran(config: Path) -> Iterator[Running]:
    """Run a node on the facility, receiving in this process."""
    running = Running(config)
    try:
        yield running
    finally:
        running.node.stop()


def configure(config: Path, more: str) -> None:
    """Write the facility's configuration anew, with the port it has."""
    write_site(config.parent, port=load_settings(config, {}).settings.node.port, more=more)


def portions(commands: Commands) -> list[tuple[str, str | None]]:
    """Return state and last counting day of the prone table's portions."""
    (unit,) = commands.json("status", "--unit", "prone1")["units"]
    return [(each["state"], each["counts_until"]) for each in unit["portions"]]


BEFORE = [("ok", "2027-03-14"), ("lapsed", "2026-09-02"), ("missing", None)]
AFTER = [("ok", "2027-03-14"), ("ok", "2027-05-02"), ("missing", None)]


def test_the_list_marks_what_is_in_use_and_what_is_newer(site: Path, commands: Commands) -> None:
    lines = commands.good("policies", "list").lines
    assert [line.split()[0] for line in lines] == ["ID", SIX, FOURTEEN]
    assert lines[1].endswith("2023-03-03  6 months  6 months   14 months         in use")
    assert lines[2].endswith("2026-01-14  6 months  14 months  14 months         newer")
    configure(site, OWN.format(months=8))
    own = commands.json("policies", "list")[0]
    assert (own["id"], own["marks"]) == ("ours", ["in use", "own"])
    assert own["months"] == {"clinical": 8, "phantom": 6, "physicist": 14}


def test_one_is_shown_with_all_there_is(site: Path, commands: Commands) -> None:
    told = " ".join(" ".join(commands.good("policies", "show", FOURTEEN).out.split()).split())
    assert told.startswith(f"{FOURTEEN} (newer) windows: clinical 6 months, phantom 14 months, physicist report 14 ")
    parts = ("months, counted back from the", "revised 2026-01-14", "address: https://accreditationsupport.acr.org/")
    for part in (*parts, "known second-hand"):
        assert part in told
    configure(site, OVERRIDE)
    told = " ".join(commands.good("policies", "show", SIX).out.split())
    months = "clinical 9 months, phantom 9 months, physicist report 14 months"
    assert f"override: released from 2026-11-01 to 2027-01-31: {months}" in told
    assert "Letter on the pandemic, 2026-10-20; file in the physics office note: Known from a copy." in told
    assert commands.json("policies", "show", SIX)["overrides"][0]["months"] == {
        "clinical": 9,
        "phantom": 9,
        "physicist": 14,
    }


def test_a_policy_that_is_not_there_is_told(site: Path, commands: Commands) -> None:
    for words in (("show", "acr"), ("diff", "acr"), ("diff", SIX, "acr")):
        called = commands("policies", *words)
        assert (called.code, called.out) == (1, "")
        assert called.err == f"error: there is no policy 'acr'; known are {SIX}, {FOURTEEN}\n"


def test_the_comparison_shows_every_unit_before_and_after(filled: Path, commands: Commands) -> None:
    lines = commands.good("policies", "diff", FOURTEEN).lines
    assert lines[:2] == [f"id: {SIX} -> {FOURTEEN}", "phantom window: 6 months -> 14 months"]
    table = [line.split() for line in lines if line.startswith(("prone1", "upright"))]
    assert table[:2] == [
        ["prone1", "clinical", "ok", "2027-03-14", "111", "ok", "2027-03-14", "111"],
        ["prone1", "phantom", "lapsed", "2026-09-02", "-82", "ok", "2027-05-02", "160", "changes"],
    ]
    assert lines[-1] == "1 of 9 standings would change."
    told = commands.json("policies", "diff", FOURTEEN, SIX)
    assert (told["policy"], told["other"]) == (FOURTEEN, SIX)
    changed = [each for each in told["units"] if each["changes"]]
    assert [(each["unit"], each["before"]["state"], each["after"]["state"]) for each in changed] == [
        ("prone1", "ok", "lapsed")
    ]
    assert portions(commands) == BEFORE


def test_a_changed_policy_waits_to_be_accepted(filled: Path, commands: Commands) -> None:
    configure(filled, NEWER)
    assert portions(commands) == BEFORE
    status = " ".join(commands.good("status").out.split())
    assert f"Rule {SIX}: " in status
    assert f"The configuration changed the rule ({FOURTEEN}), and nobody accepted it: standings are those of" in status
    told = commands.json("status")
    assert (told["policy"], told["policy_not_accepted"], told["newer_policy"]) == (SIX, FOURTEEN, FOURTEEN)
    assert f"warning: accreditation: nobody accepted {FOURTEEN} as it is written" in commands("check-config").err
    assert commands.json("policies", "list")[1]["marks"] == ["configured, not accepted", "newer"]
    assert commands.json("eligibility", "explain", "prone1")[1]["policy_id"] == SIX

    shown = commands.good("policies", "accept", "--yes", "--reason", "the new letter", "--by", "jane")
    assert "prone1     phantom           lapsed" in shown.out
    assert shown.lines[-1] == f"Standings are worked out by {FOURTEEN} from now on."
    assert portions(commands) == AFTER
    assert commands("check-config").err == ""
    status = commands.good("status").out
    assert (f"Rule {FOURTEEN}: " in status, "A newer one" in status, "nobody accepted" in status) == (
        True,
        False,
        False,
    )
    (line,) = (each for each in commands.json("audit", "list") if each["event"] == "policy.accepted")
    assert (line["by"], line["policy"], line["before"], line["reason"]) == ("jane", FOURTEEN, SIX, "the new letter")
    with opened_site(filled) as stores, stores.index.read() as conn:
        assert is_review_wanted(conn)
    again = commands.good("policies", "accept", "--yes", "--reason", "x")
    assert again.lines == [f"Nothing to accept: standings are worked out by {FOURTEEN} as configured."]


@pytest.mark.parametrize(("answer", "code"), [("n\n", FAILED), ("", INTERRUPTED)])
def test_without_a_yes_nothing_changes(
    filled: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, tmp_path: Path
) -> None:
    configure(filled, NEWER)
    (tmp_path / "answer").write_text(answer)
    with (tmp_path / "answer").open() as typed:
        monkeypatch.setattr("sys.stdin", typed)
        called = commands("policies", "accept", "--reason", "x")
    assert (called.code, f"Work out standings by {FOURTEEN} from now on?" in called.out) == (code, True)
    assert portions(commands) == BEFORE
    assert "policy.accepted" not in [each["event"] for each in commands.json("audit", "list")]


def test_a_policy_of_the_site_waits_when_its_months_change_and_not_when_its_words_do(
    filled: Path, commands: Commands
) -> None:
    configure(filled, OWN.format(months=8))
    commands.good("policies", "accept", "--yes", "--reason", "letter")
    configure(filled, OWN.format(months=8).replace('"Letter"', '"Letter of May"'))
    assert commands.json("status")["policy_not_accepted"] is None
    assert "Letter of May" in commands.good("status").out
    configure(filled, OWN.format(months=12))
    assert commands.json("status")["policy_not_accepted"] == "ours"
    assert portions(commands)[0] == ("ok", "2027-05-14")
    accepted = commands("policies", "accept", "--yes", "--reason", "letter")
    assert accepted.out.startswith("clinical window: 8 months -> 12 months\n")


def test_what_was_accepted_holds_when_the_file_no_longer_knows_it(filled: Path, commands: Commands) -> None:
    configure(filled, OWN.format(months=8))
    commands.good("policies", "accept", "--yes", "--reason", "letter")
    configure(filled, "")
    assert portions(commands)[0] == ("ok", "2027-05-14")
    assert next(each["marks"] for each in commands.json("policies", "list")) == ["in use", "own"]
    assert commands.good("policies", "show", "ours").lines[0] == "ours (in use, own)"


def test_it_survives_the_index(filled: Path, commands: Commands) -> None:
    configure(filled, NEWER)
    commands.good("policies", "accept", "--yes", "--reason", "letter")
    configure(filled, "")
    for name in ("node.db", "node.db-wal", "node.db-shm"):
        (filled.parent / "data" / name).unlink(missing_ok=True)
    commands.good("rebuild", "--yes")
    assert commands.json("status")["policy"] == FOURTEEN
    assert portions(commands) == AFTER


def test_what_was_accepted_before_there_were_surveys_has_their_months(site: Path, commands: Commands) -> None:
    months = {"clinical": 7, "phantom": 6}
    override = {
        "first": "2026-11-01", "last": "2027-01-31", "months": months, "article": "A", "revision": "2026-10-20",
        "address": "on file", "note": "",
    }  # fmt: skip
    policy = {
        "id": "ours", "program": "P", "article": "A", "revision": "2026-02-01", "address": "on file", "anchor": "x",
        "months": months, "note": "", "overrides": [override],
    }  # fmt: skip
    record = {"policy": policy, "reason": "x", "accepted_by": "lee", "accepted_at": "2026-03-01T12:00:00+00:00"}
    with opened_site(site) as stores:
        stores.archive.journal.append("policy", record)
    told = commands.json("policies", "show", "ours")
    assert told["months"] == told["overrides"][0]["months"] == {"clinical": 7, "phantom": 6, "physicist": 14}
    assert "in use" in told["marks"]


def test_a_journal_that_cannot_be_read_is_told(filled: Path, commands: Commands) -> None:
    configure(filled, NEWER)
    journal = filled.parent / "data" / JOURNAL / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"policy"', b'"polizy"', 1))
    called = commands("status")
    assert (called.code, "policy.not_known" in called.err) == (0, True)


def test_an_override_is_told_with_its_source(filled: Path, commands: Commands) -> None:
    configure(filled, OVERRIDE)
    assert portions(commands) == BEFORE
    assert commands.json("status")["policy_not_accepted"] == SIX
    commands.good("policies", "accept", "--yes", "--reason", "the letter came")
    # Nine months from 2 March are 2 December; those from 14 September would go on, but the spell ends before.
    assert portions(commands) == [("ok", "2027-03-14"), ("nearing", "2026-12-02"), ("missing", None)]
    told = " ".join(commands.good("eligibility", "explain", "prone1", "--portion", "phantom").out.split())
    assert "For packages released from 2026-11-01 to 2027-01-31, both days included, phantom exams count" in told
    assert "within 9 calendar months (Letter on the pandemic, 2026-10-20; file in the physics office)" in told
    assert "2026-03-02 plus 9 calendar months is 2026-12-02." in told
    assert "2026-11-23 minus 9 calendar months is 2026-02-23" in told
    (asked,) = commands.json("eligibility", "explain", "prone1", "--portion", "phantom", "--release", "2026-10-31")
    assert [each["counts"] for each in asked["exams"]] == [False]
    preview = commands.good("alerts", "preview", "--on", "2026-12-01").out
    assert "For packages released from 2026-11-01 to 2027-01-31" in " ".join(preview.split())


def test_a_running_node_takes_what_is_accepted_and_no_change_of_the_file_alone(
    filled: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    with ran(filled) as running:
        running.node.look()
        configure(filled, NEWER)
        capsys.readouterr()
        running.reload()
        assert "policy.not_accepted" in capsys.readouterr().err
        running.node.look()
        assert running.policy == SIX
    with ran(filled) as running:
        assert "policy.not_accepted" in capsys.readouterr().err
        assert running.policy == SIX
        commands.good("policies", "accept", "--yes", "--reason", "letter")
        assert running.policy == SIX
        running.node.look()
        assert running.policy == FOURTEEN
        configure(filled, "")
        running.reload()
        assert running.policy == FOURTEEN
    with ran(filled) as running:
        assert running.policy == FOURTEEN
