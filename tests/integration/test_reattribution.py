"""``dicom-node reattribute``: stored exams after units or rules of the configuration changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node import logs
from dicom_node.cli import reattribute as reattribute_command
from dicom_node.index import exams as exam_rows
from dicom_node.index import overlay
from dicom_node.node import Node
from dicom_node.services import reattribution, records
from dicom_node.services.decisions import Verdict
from dicom_node.services.rebuild import rebuild
from dicom_node.services.review import is_review_wanted
from dicom_node.settings import load_settings
from dicom_node.site import Site, Stores, open_stores
from tests.commands import Commands
from tests.factories import make_mg, make_rdsr, make_stereo_pair, new_uid, write_file
from tests.live import free_port
from tests.sites import START, derived_rows, opened_site, receive, receive_all, write_site

BY = Verdict(by="tester", at=START, reason="the room was renamed")
ROOM_SIX = '[[rules]]\nname = "room six"\nunit = "upright_b"\nwhen = { StationName = "ROOM-6" }\n'
ROOM_SIX_IS_A = ROOM_SIX.replace("upright_b", "upright_a")
UNKNOWN: dict[str, Any] = {"serial": "", "station": "ROOM-6", "day": date(2026, 11, 18)}


def pair_of_room_six(stores: Stores, **options: Any) -> str:
    """Take a biopsy in that nobody can place; return the id of its exam."""
    pair = make_stereo_pair(**UNKNOWN | options)
    receive_all(stores, *((ds, "ADDON_WS") for ds in pair))
    return exam_rows.exam_id(pair[0].StudyInstanceUID, "")


def reattribute(stores: Stores, **options: Any) -> reattribution.Applied:
    others = reattribution.work_out(stores.archive, stores.indexer)
    return reattribution.apply(stores.archive, stores.indexer, others, BY, **options)


def exams_of(stores: Stores) -> dict[str, tuple[str, bool, str]]:
    """Return by unit the portion of its one exam, whether it counts, and what the unit rests on."""
    with stores.index.read() as conn:
        found = exam_rows.listed(conn, with_neither=True)
    assert len({each.unit_id for each in found}) == len(found)
    return {each.unit_id: (each.portion.value, each.counts, each.attribution) for each in found}


@contextmanager
def changed(config: Path, more: str, **options: Any) -> Iterator[Stores]:
    """Open the facility after its configuration became another."""
    write_site(config.parent, more=more, **options)
    with opened_site(config) as stores:
        yield stores


class TestPreview:
    def test_it_tells_exams_standings_and_alerts_and_changes_nothing(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            exam = pair_of_room_six(stores)
        with changed(site, ROOM_SIX) as stores:
            before = derived_rows(stores.index)
        lines = commands.good("reattribute", "preview").lines
        assert lines[0] == "2 instances worked out anew: 2 would change."
        assert lines[2].split() == ["Exam", "Unit", "Portion", "Day", "Counts", "Instances", "Becomes"]
        assert lines[3].startswith(f"{exam}  unknown -> upright_b  unclear -> clinical  2026-11-18  no -> yes")
        assert "Upright B, room 5, clinical: missing -> ok (exam of 2026-11-18), until 2027-05-18" in lines
        assert lines[-2].startswith("Ends: 1 exam")
        with opened_site(site) as stores:
            assert derived_rows(stores.index) == before

    def test_programs_get_stable_keys(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            exam = pair_of_room_six(stores)
        write_site(site.parent, more=ROOM_SIX)
        told = commands.json("reattribute", "preview")
        assert list(told) == [
            "looked_at", "unreadable", "instances", "details", "exams", "held", "standings", "alerts",
        ]  # fmt: skip
        (change,) = told["exams"]
        assert (change["before"]["exam"], change["before"]["unit"]) == (exam, None)
        assert (change["after"]["unit"], change["after"]["rule"], change["instances"]) == (
            "upright_b", "biopsy stage in ImageType", 2,
        )  # fmt: skip
        assert [(each["unit"], each["portion"], each["after"]["state"]) for each in told["standings"]] == [
            ("upright_b", "clinical", "ok")
        ]
        assert [each["key"] for each in told["alerts"]["ended"]] == ["ambiguous/ADDON_WS/upright_a%2Bupright_b"]
        assert [each["key"] for each in told["alerts"]["opened"]] == ["eligibility/upright_b/phantom/missing"]

    def test_what_is_as_it_should_be_would_not_change(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            pair_of_room_six(stores)
        assert commands.good("reattribute", "preview").lines == ["2 instances worked out anew: nothing would change."]

    def test_older_studies_can_be_left_out_and_undated_ones_never_are(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            for day in (date(2026, 3, 2), date(2026, 9, 14), None):
                receive(stores, make_mg(stage="STEREO_SCOUT", **UNKNOWN | {"day": day}), sender="ADDON_WS")
        write_site(site.parent, more=ROOM_SIX)
        assert commands.json("reattribute", "preview", "--since", "2026-09-14")["looked_at"] == 2

    def test_a_preview_is_what_comes_of_it(self, index_url: str, tmp_path: Path) -> None:
        config = write_site(tmp_path, database=index_url)
        with opened_site(config) as stores:
            pair_of_room_six(stores)
            receive(stores, make_mg(serial="PT-4471", day=date(2026, 9, 14)), at=START - timedelta(days=1))
        with changed(config, ROOM_SIX, database=index_url) as stores:
            others = reattribution.work_out(stores.archive, stores.indexer)
            found = reattribution.preview(stores.indexer, stores.site.rules, others, today=date(2026, 11, 23))
            (change,) = found.exams
            # Statements that a connection has prepared go to the real rows and the temporary ones in turn.
            for _ in range(8):
                assert (
                    reattribution.preview(stores.indexer, stores.site.rules, others, today=date(2026, 11, 23)) == found
                )
                assert exams_of(stores).keys() == {"", "prone1"}
            reattribution.apply(stores.archive, stores.indexer, others, BY)
            with stores.index.read() as conn:
                assert change.after is not None
                after = exam_rows.get(conn, change.after.id)
            assert after == change.after
            assert reattribution.work_out(stores.archive, stores.indexer).instances == 0

    def test_of_many_exams_some_are_written_and_all_are_counted(
        self, site: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with opened_site(site) as stores:
            for _ in range(3):
                pair_of_room_six(stores)
        write_site(site.parent, more=ROOM_SIX)
        monkeypatch.setattr(reattribute_command, "SHOWN", 2)
        assert "and 1 more; --json tells all." in commands.good("reattribute", "preview").lines
        assert len(commands.json("reattribute", "preview")["exams"]) == 3

    def test_what_changes_beside_unit_portion_and_day_is_counted(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            receive(stores, make_mg(serial="UA-1002", stage="STEREO_SCOUT"), sender="UPRIGHT_A")
        site.write_text(site.read_text("utf-8").replace('unit = "upright_a"\n', 'unit = "prone1"\n'), "utf-8")
        told = commands.json("reattribute", "preview")
        assert (told["instances"], told["details"], told["exams"], told["held"]) == (1, 1, [], [])
        line = "Of 1 instance only evidence, attachment or remarks would change."
        assert line in commands.good("reattribute", "preview").lines

    def test_an_overlay_leaves_nothing_behind(self, index_url: str, tmp_path: Path) -> None:
        config = write_site(tmp_path, database=index_url)
        with opened_site(config) as stores:
            pair_of_room_six(stores)
            with stores.index.read() as conn:
                study_uid = exam_rows.listed(conn)[0].study_uid
            with stores.index.read() as conn:
                overlay.begin(conn, [study_uid])
                overlay.show(conn)
                assert len(exam_rows.listed(conn)) == 1
            for _ in range(3):  # whichever connection of the pool it is
                receive(stores, make_mg(serial="PT-4471"))
            assert len(derived_rows(stores.index)["exam"]) == 4


class TestApply:
    def test_it_changes_rows_wants_a_review_and_is_audited(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            pair_of_room_six(stores)
        with changed(site, ROOM_SIX):
            pass
        called = commands.good("reattribute", "apply", "--yes", "--reason", "room six is B", "--by", "ana")
        assert called.lines[-1] == "2 instances changed, in 1 exam."
        with opened_site(site) as stores:
            assert exams_of(stores) == {"upright_b": ("clinical", True, "rule room six")}
            with stores.index.read() as conn:
                assert is_review_wanted(conn)
        events = [(each["event"], each["by"]) for each in commands.json("audit", "list")]
        assert events[-2:] == [("reattribution.began", "ana"), ("reattribution.ended", "ana")]

    def test_it_asks_and_needs_a_reason(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            pair_of_room_six(stores)
        write_site(site.parent, more=ROOM_SIX)
        assert commands("reattribute", "apply", "--reason", "why").code == 2
        assert commands("reattribute", "apply", "--yes").code == 2
        assert commands("reattribute", "apply", "--yes", "--reason", " ").code == 1
        with opened_site(site) as stores:
            assert exams_of(stores).keys() == {""}

    def test_it_comes_to_what_a_rebuild_comes_to(self, index_url: str, tmp_path: Path) -> None:
        config = write_site(tmp_path, database=index_url)
        with opened_site(config) as stores:
            exam = pair_of_room_six(stores)
            study_uid = derived_rows(stores.index)["exam"][0]["study_uid"]
            receive(stores, make_rdsr(observer_serial=None, study_uid=study_uid, **UNKNOWN), sender="ADDON_WS")
            receive(stores, make_mg(serial="UA-1002", study_uid=study_uid), sender="UPRIGHT_A")
            stores.decisions().exclude(exam, Verdict(by="ana", at=START, reason="not a biopsy"))
            kept = pair_of_room_six(stores)
            stores.decisions().attribute(kept, "prone1", Verdict(by="ana", at=START, reason="seen"))
        with changed(config, ROOM_SIX, database=index_url) as stores:
            assert reattribute(stores).instances == 5
            applied = derived_rows(stores.index)
            assert {(each["unit_id"], each["excluded"]) for each in applied["exam"]} == {
                ("upright_a", False), ("upright_b", True), ("prone1", False),
            }  # fmt: skip
            rebuild(stores.archive, stores.index, stores.indexer)
            assert derived_rows(stores.index) == applied

    def test_one_cut_short_is_finished_by_the_next(self, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with opened_site(site) as stores:
            for _ in range(3):
                pair_of_room_six(stores)
        monkeypatch.setattr(reattribution, "AT_ONCE", 2)
        with changed(site, ROOM_SIX) as stores:
            steps: list[int] = []

            def cut_short(of: int) -> None:
                steps.append(of)
                if len(steps) == 2:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                reattribute(stores, progress=cut_short)
            units = [each["unit_id"] for each in derived_rows(stores.index)["exam"]]
            assert sorted(units) == ["", "upright_b", "upright_b"]
            assert reattribute(stores).instances == 2
            assert {each["unit_id"] for each in derived_rows(stores.index)["exam"]} == {"upright_b"}

    def test_a_crash_between_journal_and_index_loses_no_decision(
        self, site: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with opened_site(site) as stores:
            stores.decisions().exclude(pair_of_room_six(stores), BY)
        save = records.save_decision

        def crash(*arguments: Any) -> None:
            save(*arguments)
            raise KeyboardInterrupt

        with changed(site, ROOM_SIX) as stores:
            with monkeypatch.context() as patched:
                patched.setattr(records, "save_decision", crash)
                with pytest.raises(KeyboardInterrupt):
                    reattribute(stores)
            assert exams_of(stores).keys() == {""}
            stores.decisions().replay()
            reattribute(stores)
            assert exams_of(stores) == {"upright_b": ("clinical", False, "rule room six")}
            before = derived_rows(stores.index)
            rebuild(stores.archive, stores.index, stores.indexer)
            assert derived_rows(stores.index) == before

    def test_what_comes_or_is_decided_meanwhile_is_seen(self, site: Path) -> None:
        with opened_site(site) as stores:
            growing, decided = pair_of_room_six(stores), pair_of_room_six(stores)
            study_uid = next(each["study_uid"] for each in derived_rows(stores.index)["exam"] if each["id"] == growing)
            write_site(site.parent, more=ROOM_SIX)
            others_site = Site.of(load_settings(site, {}).settings)
            late = make_mg(stage="PREFIRE_MINUS", study_uid=study_uid, **UNKNOWN)
            stores.site, former = others_site, stores.site
            others = reattribution.work_out(stores.archive, stores.indexer)
            stores.site = former
            receive(stores, late, sender="ADDON_WS")  # by the former rules
            stores.decisions().attribute(decided, "prone1", Verdict(by="ana", at=START, reason="seen"))
            stores.site = others_site
            done = reattribution.apply(stores.archive, stores.indexer, others, BY)
            assert (done.instances, done.left) == (5, 0)
            found = derived_rows(stores.index)["exam"]
            assert {each["unit_id"]: each["instance_count"] for each in found} == {"upright_b": 3, "prone1": 2}

    def test_an_object_that_cannot_be_read_is_told_and_left_as_it_is(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            pair_of_room_six(stores)
            digest = derived_rows(stores.index)["instance"][0]["digest"]
            path = next(site.parent.rglob(f"{digest}.dcm"))
        path.chmod(0o640)
        path.write_bytes(b"broken")
        write_site(site.parent, more=ROOM_SIX)
        called = commands("reattribute", "apply", "--yes", "--reason", "why")
        assert called.code == 1
        assert called.lines[0] == "2 instances worked out anew: 1 would change; 1 object could not be read."


class TestDecisions:
    """What people decided stands above the rules, whatever these become."""

    def test_an_exam_that_a_person_placed_stays_there(self, index_url: str, tmp_path: Path) -> None:
        config = write_site(tmp_path, database=index_url)
        with opened_site(config) as stores:
            exam = pair_of_room_six(stores)
            stores.decisions().attribute(exam, "upright_b", BY)
        with changed(config, ROOM_SIX_IS_A, database=index_url) as stores:
            others = reattribution.work_out(stores.archive, stores.indexer)
            found = reattribution.preview(stores.indexer, stores.site.rules, others, today=date(2026, 11, 23))
            assert found.exams == found.standings == ()
            (held,) = found.held
            assert (held.unit_id, held.rules_before, held.rules_after, held.agrees) == (
                "upright_b", "", "upright_a", False,
            )  # fmt: skip
            reattribution.apply(stores.archive, stores.indexer, others, BY)
            assert exams_of(stores) == {"upright_b": ("clinical", True, "a person assigned it")}
            rebuild(stores.archive, stores.index, stores.indexer)
            assert exams_of(stores) == {"upright_b": ("clinical", True, "a person assigned it")}

    def test_an_instance_that_came_after_the_decision_stays_too(self, site: Path) -> None:
        with opened_site(site) as stores:
            exam = pair_of_room_six(stores)
            stores.decisions().attribute(exam, "upright_b", BY)
            study_uid = derived_rows(stores.index)["exam"][0]["study_uid"]
            receive(stores, make_mg(stage="PREFIRE_MINUS", study_uid=study_uid, **UNKNOWN), sender="ADDON_WS")
        with changed(site, ROOM_SIX_IS_A) as stores:
            reattribute(stores)
            assert exams_of(stores).keys() == {"upright_b"}
            rebuild(stores.archive, stores.index, stores.indexer)
            assert exams_of(stores).keys() == {"upright_b"}

    def test_it_does_not_draw_along_what_the_rules_give_to_the_same_unit(self, site: Path) -> None:
        study_uid = new_uid()
        with opened_site(site) as stores:
            exam = pair_of_room_six(stores, study_uid=study_uid)
            receive(stores, make_mg(serial="UA-1002", study_uid=study_uid), sender="UPRIGHT_A")
            stores.decisions().attribute(exam, "upright_b", BY)
        with changed(site, ROOM_SIX_IS_A) as stores:
            reattribute(stores)
            moved = exam_rows.exam_id(study_uid, "upright_b")
            stores.decisions().attribute(moved, "prone1", BY)  # both exams are upright_a's by the rules now
            assert {unit: told[0] for unit, told in exams_of(stores).items()} == {
                "upright_a": "neither", "prone1": "clinical",
            }  # fmt: skip

    def test_an_excluded_exam_stays_excluded_where_the_rules_give_it(self, site: Path) -> None:
        with opened_site(site) as stores:
            exam = pair_of_room_six(stores)
            stores.decisions().exclude(exam, Verdict(by="ana", at=START, reason="a volunteer"))
        with changed(site, ROOM_SIX) as stores:
            others = reattribution.work_out(stores.archive, stores.indexer)
            (change,) = reattribution.preview(stores.indexer, stores.site.rules, others, today=date(2026, 11, 23)).exams
            assert change.after is not None
            assert change.after.excluded
            reattribution.apply(stores.archive, stores.indexer, others, BY)
            assert exams_of(stores) == {"upright_b": ("clinical", False, "rule room six")}
            stores.decisions().include(change.after.id, BY)
            assert exams_of(stores) == {"upright_b": ("clinical", True, "rule room six")}

    def test_a_units_own_exam_keeps_what_was_decided_about_it(self, site: Path) -> None:
        study_uid = new_uid()
        with opened_site(site) as stores:
            receive(stores, make_mg(stage="STEREO_SCOUT", serial="UB-1003", study_uid=study_uid), sender="UPRIGHT_B")
            own = exam_rows.exam_id(study_uid, "upright_b")
            stores.decisions().exclude(own, BY)
            stores.decisions().include(own, BY)
            stores.decisions().exclude(pair_of_room_six(stores, study_uid=study_uid), BY)
        with changed(site, ROOM_SIX) as stores:
            reattribute(stores)
            assert exams_of(stores)["upright_b"][1]


class TestPointedOut:
    def test_status_says_so_until_it_was_carried_out(self, site: Path, commands: Commands) -> None:
        sentence = "! Units or rules of the configuration changed since some exams were worked out;"
        port = free_port()
        with ran(site, port=port) as node:
            pair_of_room_six(node._stores)
        assert not any(line.startswith(sentence) for line in commands.good("status").lines)
        with ran(site, port=port, more=ROOM_SIX):
            pass
        assert any(line.startswith(sentence) for line in commands.good("status").lines)
        assert commands.json("status")["derived_by_others"] is True
        commands.good("reattribute", "apply", "--since", "2026-01-01", "--yes", "--reason", "the newest first")
        assert commands.json("status")["derived_by_others"] is True
        commands.good("reattribute", "apply", "--yes", "--reason", "all")
        assert commands.json("status")["derived_by_others"] is False
        # What came by the new rules is of others when the old ones are back.
        with ran(site, port=port):
            assert commands.json("status")["derived_by_others"] is True

    def test_files_taken_in_by_other_rules_are_told_as_well(self, site: Path, commands: Commands) -> None:
        with ran(site, port=free_port()):
            pass
        write_file(site.parent / "late.dcm", make_mg(**UNKNOWN))
        write_site(site.parent, more=ROOM_SIX)
        commands.good("import", str(site.parent / "late.dcm"))
        write_site(site.parent)
        assert commands.json("status")["derived_by_others"] is True

    def test_labels_and_dates_of_retirement_change_no_exam(self, site: Path, commands: Commands) -> None:
        with ran(site, port=free_port()):
            pass
        text = site.read_text("utf-8").replace('label = "Upright B, room 5"', 'label = "B"\napplying = false')
        site.write_text(text, "utf-8")
        assert commands.json("status")["derived_by_others"] is False

    def test_it_is_refused_while_the_node_runs_by_the_former_rules(self, site: Path, commands: Commands) -> None:
        port = free_port()
        with ran(site, port=port) as node:
            pair_of_room_six(node._stores)
            write_site(site.parent, port=port, more=ROOM_SIX)
            called = commands("reattribute", "apply", "--yes", "--reason", "why")
            assert (called.code, "systemctl reload" in called.err) == (1, True)
            node._reload(lambda: load_settings(site, {}).settings)
            commands.good("reattribute", "apply", "--yes", "--reason", "why")
            assert exams_of(node._stores).keys() == {"upright_b"}

    def test_the_log_tells_it_once_after_a_reload(
        self, site: Path, logs_as_they_were: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        logs.configure(form="json")
        port = free_port()
        with ran(site, port=port) as node:
            pair_of_room_six(node._stores)
            write_site(site.parent, port=port, more=ROOM_SIX)
            node._reload(lambda: load_settings(site, {}).settings)
            node.look()
            node.look()
        assert capsys.readouterr().err.count('"exams.by_former_rules"') == 1


@contextmanager
def ran(config: Path, *, port: int, more: str = "") -> Iterator[Node]:
    """Run a node in this process by a configuration, without a clock."""
    write_site(config.parent, port=port, more=more)
    node = Node(open_stores(Site.of(load_settings(config, {}).settings)), now=lambda: START)
    node.start(by_clock=False)
    try:
        node.look()
        yield node
    finally:
        node.stop()
