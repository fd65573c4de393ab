"""Import, verify and rebuild, on real files."""

import contextlib
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_node.archive import claims
from dicom_node.index import alerts
from dicom_node.services.review import review
from dicom_node.site import Stores
from tests.commands import Commands
from tests.factories import make_bto, make_kos, make_mg, make_rdsr, make_stereo_pair, new_uid, write_file
from tests.sites import START, derived_rows, opened_site, receive, receive_all

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse at once what would be refused in the end."""
    monkeypatch.setattr(claims, "PATIENCE", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files to import, one of them below another folder."""
    made = tmp_path / "cd"
    (made / "DCM").mkdir(parents=True)
    write_file(made / "IM1", make_mg(**PRONE, day=date(2026, 9, 14)))
    write_file(made / "IM2", make_bto(serial="UA-1002", day=date(2026, 9, 15)))
    for number, ds in enumerate(make_stereo_pair(serial="UB-1003", day=date(2026, 9, 16))):
        write_file(made / "DCM" / f"S{number}", ds)
    return made


def fill(stores: Stores) -> dict[str, Dataset]:
    """Every kind of object: images of all units, reports, a rejection, conflicts; received a second apart."""
    uids = {name: new_uid() for name in ("study_uid", "series_uid", "sop_instance_uid")}
    shared = new_uid()
    minus, plus = make_stereo_pair(serial="", station="ROOM-5", day=date(2026, 11, 18))
    made = {
        "phantom": make_mg(**PRONE, day=date(2026, 3, 2), patient_id="ACRPHANTOM1"),
        "prone": make_mg(**PRONE, day=date(2026, 9, 14), study_uid=shared),
        "same study": make_mg(serial="UA-1002", stage="SCOUT", day=date(2026, 9, 14), study_uid=shared),
        "report": make_rdsr(**PRONE, day=date(2026, 9, 14), study_uid=shared),
        "tomo": make_bto(serial="UA-1002", day=date(2026, 6, 8)),
        "mammogram": make_mg(serial="UA-1002", day=date(2026, 11, 3)),
        "waiting 1": minus,
        "waiting 2": plus,
        "undated": make_mg(**PRONE, day=None),
        "first": make_mg(**PRONE, day=date(2026, 10, 1), **uids),
        "other": make_mg(**PRONE, day=date(2026, 10, 5), **uids),
        "stranger": make_mg(serial="ZZ-9", station="Z", stage="SCOUT", day=date(2026, 11, 1)),
    }
    made["rejected"] = make_mg(**PRONE, day=date(2026, 11, 20))
    made["rejecting"] = make_kos([made["rejected"]], **PRONE)
    senders = {"tomo": "UPRIGHT_A", "mammogram": "UPRIGHT_A", "waiting 1": "ADDON_WS", "waiting 2": "ADDON_WS"}
    receive_all(stores, *((ds, senders.get(name, "PRONE_RM2")) for name, ds in made.items()))
    return made


def decide_everything(commands: Commands) -> None:
    """Every kind of decision and record, each through its command."""
    because = ("--reason", "because", "--by", "tester")
    (waiting,) = [each for each in commands.json("exams", "list", "--unit", "upright_a") if each["day"] == "2026-06-08"]
    commands.good("exams", "classify", waiting["exam"], "--portion", "phantom", *because)
    for exam in commands.json("exams", "list", "--unit", "prone1"):
        if exam["day"] == "2026-09-14":
            commands.good("exams", "exclude", exam["exam"], *because)
    for exam in commands.json("unattributed", "list"):
        if exam["candidates"]:
            commands.good("exams", "attribute", exam["exam"], "--unit", "upright_b", *because)
    (conflict,) = commands.json("exams", "conflicts")
    other = next(each["digest"] for each in conflict["contents"] if not each["served"])
    commands.good("exams", "conflict", conflict["sop_instance_uid"], "--keep", other, *because)
    commands.good("release", "record", "upright_a", "--date", "2026-11-20", "--due", "2027-01-04", "--by", "tester")
    commands.good("release", "record", "prone1", "--date", "2027-01-10", "--planned", "--note", "as told")


class TestImport:
    def test_a_folder_is_taken_in_and_a_second_time_all_is_known(
        self, site: Path, folder: Path, commands: Commands
    ) -> None:
        assert commands.good("import", str(folder)).out.startswith("4 new; ")
        with opened_site(site) as stores:
            before = derived_rows(stores.index)
        assert len(before["instance"]) == 4
        assert commands.good("import", str(folder)).out.startswith("4 duplicate; ")
        assert commands.json("import", str(folder))["files"] == {"duplicate": 4}
        with opened_site(site) as stores:
            assert derived_rows(stores.index) == before
        assert [exam["unit"] for exam in commands.json("exams", "list")] == ["upright_b", "upright_a", "prone1"]

    def test_the_files_stay_as_they_were(self, folder: Path, commands: Commands) -> None:
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        commands.good("import", str(folder))
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_a_dry_run_takes_nothing(self, site: Path, folder: Path, commands: Commands) -> None:
        (folder / "letter.txt").write_text("not DICOM")
        called = commands("import", str(folder), "--dry-run")
        assert called.code == 1
        assert called.lines[0].startswith(f"bad: {folder}/letter.txt: ")
        assert called.lines[1].startswith("4 readable, 1 bad; ")
        assert called.lines[1].endswith("nothing was taken")
        with opened_site(site) as stores:
            assert not any(derived_rows(stores.index).values())
            assert list(stores.archive.objects()) == []

    def test_bad_files_are_listed_with_reasons_and_the_others_taken(self, folder: Path, commands: Commands) -> None:
        whole = (folder / "IM1").read_bytes()
        (folder / "short").write_bytes(whole[:-20])
        (folder / "empty").touch()
        (folder / "secret").write_bytes(whole)
        if os.geteuid() != 0:
            (folder / "secret").chmod(0)
        (folder / "dangling").symlink_to(folder / "nothing")
        called = commands("import", str(folder))
        assert called.code == 1
        bad = [line for line in called.lines if line.startswith("bad: ")]
        assert {Path(line.split(": ")[1]).name for line in bad} >= {"short", "empty", "dangling"}
        assert all(len(line.split(": ", 2)[2]) > 5 for line in bad)
        assert called.lines[-1].startswith(f"{'1 duplicate, ' if os.geteuid() == 0 else ''}4 new, ")

    def test_what_is_no_file_is_bad_and_holds_up_nothing(
        self, folder: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(folder / "pipe")
        locked = folder / "locked"
        locked.mkdir()
        write_file(locked / "IM9", make_mg())
        scandir = os.scandir

        def refusing(path: Any) -> Any:
            if path == str(locked):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)  # root may read everything
        called = commands("import", str(folder))
        assert called.code == 1
        assert called.lines[0] == f"bad: {folder}/pipe: it is no regular file"
        assert called.lines[1].startswith(f"bad: {locked}: cannot be read: ")
        assert called.lines[2].startswith("4 new, 2 bad; ")

    def test_a_media_directory_is_passed_over(self, folder: Path, commands: Commands) -> None:
        ds = make_mg()
        ds.SOPClassUID = "1.2.840.10008.1.3.10"
        write_file(folder / "DICOMDIR", ds)
        assert "4 new, 1 media directory passed over; " in commands.good("import", str(folder)).out
        assert commands.json("import", str(folder))["media_directories"] == 1

    def test_a_path_that_is_not_there_is_wrong_usage(self, tmp_path: Path, commands: Commands) -> None:
        called = commands("import", str(tmp_path / "nowhere"))
        assert (called.code, "does not exist" in called.err) == (2, True)

    def test_the_day_of_import_is_never_the_day_of_the_exam(self, tmp_path: Path, commands: Commands) -> None:
        write_file(tmp_path / "IM1", make_mg(**PRONE, day=date(2025, 1, 2)))
        commands.good("import", str(tmp_path / "IM1"))
        (exam,) = commands.json("exams", "list")
        assert (exam["day"], exam["first_received_at"][:10]) == ("2025-01-02", "2026-11-23")


class TestVerify:
    @pytest.fixture
    def objects(self, site: Path) -> list[Path]:
        """The objects of a facility that received some, by name."""
        with opened_site(site) as stores:
            fill(stores)
        return sorted((site.parent / "data" / "objects").rglob("*.dcm"))

    def test_all_is_well(self, objects: list[Path], commands: Commands) -> None:
        number = len(objects)
        expected = f"{number} of {number} objects read again; 0 damaged, 0 missing, 0 not indexed\n"
        assert commands.good("verify").out == commands.good("verify", "--all").out == expected
        assert commands.good("verify", "--sample", "3").out.startswith(f"3 of {number} objects")
        assert commands.json("verify", "--sample", "2") == {
            "objects": number,
            "checked": 2,
            "damaged": [],
            "missing": [],
            "without_row": [],
        }

    def test_damage_is_found_and_told(self, objects: list[Path], commands: Commands) -> None:
        with objects[0].open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        objects[1].unlink()
        called = commands("verify", "--all")
        assert called.code == 1
        assert called.lines == [
            f"damaged: object {objects[0].stem} has other bytes than its name promises",
            f"missing: object {objects[1].stem} is in the index and not in the archive",
            f"{len(objects) - 1} of {len(objects) - 1} objects read again; 1 damaged, 1 missing, 0 not indexed",
        ]
        told = json.loads(commands("verify", "--all", "--json").out)
        assert (told["missing"], [each["digest"] for each in told["damaged"]]) == ([objects[1].stem], [objects[0].stem])

    def test_an_object_without_a_row_is_told_and_is_no_damage(
        self, objects: list[Path], site: Path, commands: Commands
    ) -> None:
        with closing(sqlite3.connect(site.parent / "data" / "node.db")) as conn, conn:
            digest = conn.execute("SELECT digest FROM conflict").fetchone()[0]
            conn.execute("DELETE FROM conflict")
        assert commands.good("verify").lines[0] == (
            f"not indexed: object {digest}; the next start of the node indexes it"
        )


class TestRebuild:
    def test_decisions_and_releases_survive_and_every_row_is_the_same(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            fill(stores)
            undecided = derived_rows(stores.index)
        decide_everything(commands)
        with opened_site(site) as stores:
            before = derived_rows(stores.index)
        assert all(before.values())
        assert before["exam"] != undecided["exam"]
        number = len(list((site.parent / "data" / "objects").rglob("*.dcm")))
        assert commands.good("rebuild", "--yes").out == f"{number} objects indexed, 0 damaged\n"
        with opened_site(site) as stores:
            assert derived_rows(stores.index) == before

    @pytest.mark.parametrize("damage", ["missing", "nonsense", "torn"])
    def test_an_index_file_that_is_lost_or_damaged_is_made_anew(
        self, site: Path, commands: Commands, damage: str
    ) -> None:
        with opened_site(site) as stores:
            fill(stores)
        decide_everything(commands)
        with opened_site(site) as stores:
            before = derived_rows(stores.index)
        file = site.parent / "data" / "node.db"
        for beside in file.parent.glob("node.db-*"):
            beside.unlink()
        if damage == "missing":
            file.unlink()
        elif damage == "nonsense":
            file.write_bytes(b"this is no database" * 1000)
        else:
            whole = file.read_bytes()
            file.write_bytes(whole[:4096] + bytes(len(whole) // 2 - 4096) + whole[len(whole) // 2 :])
        called = commands("status")
        assert (called.code, "dicom-node rebuild" in called.err) == (75, True)
        assert commands("rebuild", "--yes").code == 0
        with opened_site(site) as stores:
            assert derived_rows(stores.index) == before
        assert len(list(file.parent.glob("node.db.damaged-*[0-9]"))) == (damage != "missing")

    def test_alerts_stay_so_nobody_is_told_twice(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            fill(stores)
            rules, channels = stores.site.rules, stores.site.channels
            review(stores.index, rules, channels, today=START.date(), now=START)
            with stores.index.read() as conn:
                before = alerts.list_alerts(conn)
        assert before
        commands.good("rebuild", "--yes")
        with opened_site(site) as stores:
            again = review(stores.index, rules, channels, today=START.date(), now=START + timedelta(hours=1))
            with stores.index.read() as conn:
                assert [each.key for each in alerts.list_alerts(conn)] == [each.key for each in before]
        assert again.queued == ()

    def test_an_object_that_cannot_be_read_is_told_and_the_others_indexed(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            fill(stores)
        objects = sorted((site.parent / "data" / "objects").rglob("*.dcm"))
        objects[3].write_bytes(b"nothing")
        called = commands("rebuild", "--yes")
        assert called.code == 1
        assert called.lines == [
            f"damaged: object {objects[3].stem} could not be read",
            f"{len(objects) - 1} objects indexed, 1 damaged",
        ]

    def test_it_is_asked_for_in_so_many_words(
        self, site: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        called = commands("rebuild")
        assert (called.code, "add --yes" in called.err) == (2, True)

    def test_it_refuses_while_others_use_the_index_and_they_while_it_runs(self, site: Path, commands: Commands) -> None:
        with opened_site(site):
            called = commands("rebuild", "--yes")
            assert (called.code, "stop the node first" in called.err) == (75, True)
        with opened_site(site) as stores:
            stores.archive.claims.release()
            stores.archive.claims.use(alone=True)
            for words in (["status"], ["import", str(site)], ["exams", "list"]):
                called = commands(*words)
                assert (called.code, "being made anew" in called.err) == (75, True)

    def test_a_new_place_for_the_archive_changes_nothing(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            fill(stores)
            before = derived_rows(stores.index)
        data = site.parent / "data"
        shutil.copytree(data, site.parent / "copy", ignore=shutil.ignore_patterns("node.db*"))
        site.write_text(site.read_text().replace('path = "data"', 'path = "copy"'))
        assert commands("rebuild", "--yes").code == 0
        with opened_site(site) as stores:
            assert derived_rows(stores.index) == before


def test_without_an_archive_every_command_says_how_to_make_one(site: Path, commands: Commands) -> None:
    shutil.rmtree(site.parent / "data")
    for words in (["status"], ["exams", "list"], ["verify"], ["rebuild", "--yes"], ["alerts", "list"]):
        called = commands(*words)
        assert (called.code, called.out) == (75, "")
        assert called.err == (
            f"error: there is no archive at {site.parent}/data; dicom-node serve --create makes a new one\n"
        )


def test_what_was_received_late_is_the_same_after_a_rebuild(site: Path, commands: Commands) -> None:
    ds = make_mg(**PRONE, day=date(2026, 9, 14), InstanceNumber=7)
    beside = make_mg(**PRONE, day=date(2026, 9, 14), study_uid=ds.StudyInstanceUID, series_uid=ds.SeriesInstanceUID)
    with opened_site(site) as stores:
        receive(stores, ds, at=START + timedelta(hours=2))
        receive(stores, beside, at=START)
        before = derived_rows(stores.index)
    commands.good("rebuild", "--yes")
    with opened_site(site) as stores:
        assert derived_rows(stores.index) == before


def test_a_terminal_gets_a_progress_bar_and_a_question(site: Path, folder: Path) -> None:
    def on_terminal(*words: str, answer: str = "") -> tuple[int, str]:
        """Call a command in a process of its own whose terminal is ours to read; return its end and what it showed."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "dicom_node", "--config", str(site), *words]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            os.write(ours, answer.encode())
            shown = b""
            with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
                while some := os.read(ours, 4096):
                    shown += some
        os.close(ours)
        return process.returncode, shown.decode()

    code, shown = on_terminal("import", str(folder))
    assert (code, "importing" in shown, "4/4" in shown) == (0, True, True)
    code, shown = on_terminal("rebuild", answer="n\n")
    assert (code, "make it anew" in shown, "indexing" in shown) == (130, True, False)
    code, shown = on_terminal("rebuild", answer="y\n")
    assert (code, "4/4" in shown, "4 objects indexed" in shown) == (0, True, True)
