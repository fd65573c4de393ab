"""Accreditation cycles: one release for all units, an addendum, how far each is, and all of it after a lost index."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from dicom_node.accreditation.cycles import Cycle, CycleState, Joining
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.standing import Release, ReleaseState
from dicom_node.accreditation.units import OWN_FACILITY
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import OperatorError
from dicom_node.index.engine import Index, open_index
from dicom_node.services import records
from dicom_node.services.cycles import packages_by_unit, read_cycles
from dicom_node.services.releases import Change, Releases
from dicom_node.services.renewals import Cycles, Done, Outcome
from tests.unit.accreditation.facility import PRONE, UPRIGHT_A

TODAY = date(2026, 11, 23)
CHANGE = Change(by="lee", at=datetime(2026, 11, 23, 12, tzinfo=UTC), today=TODAY)
UPRIGHT_B = replace(UPRIGHT_A, id="upright_b", label="Upright B, room 5")
NOT_APPLYING = replace(UPRIGHT_A, id="screening", applying=False)
UNITS = {unit.id: unit for unit in (PRONE, UPRIGHT_A, UPRIGHT_B, NOT_APPLYING)}
EXPIRY = date(2027, 6, 30)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    with closing(LocalArchive.create(tmp_path / "archive", min_free_bytes=0)) as made:
        yield made


@pytest.fixture
def cycles(archive: LocalArchive, index: Index) -> Cycles:
    return Cycles(archive=archive, index=index, units=UNITS, terms=Terms())


@pytest.fixture
def packages(archive: LocalArchive, index: Index) -> Releases:
    return Releases(archive=archive, index=index, units=UNITS)


def opened(cycles: Cycles, expires_on: date | None = EXPIRY) -> str:
    return cycles.open(OWN_FACILITY, expires_on, note="", change=CHANGE).id


def renewed(
    cycles: Cycles, cycle_id: str, on: date, due_on: date | None = None, *, planned: bool = False
) -> list[Done]:
    return cycles.renew(cycle_id, on, due_on=due_on, planned=planned, note="", change=CHANGE)


def outcomes(done: list[Done]) -> dict[str, Outcome]:
    return {each.unit: each.outcome for each in done}


def bearing(index: Index) -> dict[str, list[tuple[date, ReleaseState]]]:
    with index.read() as conn:
        found = packages_by_unit(conn, list(UNITS.values()), TODAY)
    return {unit: [(each.released_on, each.state) for each in several] for unit, several in found.items()}


def test_a_cycle_goes_from_its_plan_to_the_next_cycle_and_keeps_every_version(
    cycles: Cycles, packages: Releases, index: Index, archive: LocalArchive, tmp_path: Path
) -> None:
    of = opened(cycles)
    single = packages.record("upright_a", date(2026, 12, 1), due_on=None, planned=True, note="by phone", change=CHANGE)
    assert single.cycle_id == of
    assert cycles.view(of, TODAY).lacking == ("prone1", "upright_b")

    done = renewed(cycles, of, date(2026, 12, 10), planned=True)
    assert outcomes(done) == {
        "prone1": Outcome.RECORDED,
        "upright_a": Outcome.AMENDED,
        "upright_b": Outcome.RECORDED,
    }
    assert {each.package.released_on for each in done if each.package} == {date(2026, 12, 10)}
    view = cycles.view(of, TODAY)
    assert (view.state, view.lacking, view.unit_added_today) == (CycleState.OPEN, (), Joining.EARLY_RENEWAL)
    assert view.units[1].package == single.id
    assert {each.due for each in view.units} == {date(2027, 1, 24)}  # 45 days after the release, none is printed

    renewed(cycles, of, date(2026, 11, 20), date(2027, 1, 5))
    view = cycles.view(of, TODAY)
    assert view.state is CycleState.RELEASED
    assert {(each.released_on, each.due, each.state) for each in view.units} == {
        (date(2026, 11, 20), date(2027, 1, 5), ReleaseState.RECORDED)
    }
    with pytest.raises(OperatorError, match=f"cycle {of} cannot be closed yet: .* of prone1 is recorded"):
        cycles.close(of, note="", change=CHANGE)

    cycles.mark(of, ReleaseState.DEFICIENT, unit_id="upright_b", note="", change=CHANGE)
    cycles.mark(of, ReleaseState.PASSED, unit_id="prone1", note="", change=CHANGE)
    done = cycles.mark(of, ReleaseState.SUBMITTED, note="", change=CHANGE)
    assert outcomes(done) == {
        "prone1": Outcome.LEFT,
        "upright_a": Outcome.AMENDED,
        "upright_b": Outcome.AMENDED,
    }
    assert cycles.view(of, TODAY).state is CycleState.SUBMITTED
    cycles.mark(of, ReleaseState.PASSED, note="letter", change=CHANGE)
    assert cycles.view(of, TODAY).state is CycleState.PASSED
    assert bearing(index)["upright_a"] == [(date(2026, 11, 20), ReleaseState.PASSED)]

    assert cycles.close(of, note="certificates are here", change=CHANGE) == []
    assert bearing(index)["upright_a"] == [(date(2026, 11, 20), ReleaseState.PASSED)]
    following = opened(cycles, date(2030, 6, 30))
    assert bearing(index) == {unit: [] for unit in UNITS}
    assert [(each.cycle.id, each.state) for each in cycles.views(TODAY)] == [
        (following, CycleState.OPEN),
        (of, CycleState.CLOSED),
    ]

    history = packages.history(single.id)
    assert [(each.version, each.state, each.note) for each in history] == [
        (1, ReleaseState.PLANNED, "by phone"),
        (2, ReleaseState.PLANNED, ""),
        (3, ReleaseState.RECORDED, ""),
        (4, ReleaseState.SUBMITTED, ""),
        (5, ReleaseState.PASSED, "letter"),
    ]
    assert [(each.data["closed"], each.note) for each in cycles.view(of, TODAY).versions] == [
        (False, ""),
        (True, "certificates are here"),
    ]

    def all_of(where: Index) -> tuple[list[Cycle], dict[str, tuple[Release, ...]]]:
        with where.read() as conn:
            return read_cycles(conn), packages_by_unit(conn, list(UNITS.values()), TODAY)

    with closing(open_index(f"sqlite:///{tmp_path}/another.db")) as another:
        records.replay(archive.journal, another)
        assert all_of(another) == all_of(index)
        anew = Releases(archive=archive, index=another, units=UNITS)
        assert anew.history(single.id) == history
    told = [(each.event, each.details.get("by")) for each in archive.audit.read()]
    assert told.count(("entry.kept", "lee")) == 3
    assert told.count(("release.recorded", "lee")) == 1 + 3 + 3 + 1 + 1 + 2 + 2


class TestRenewal:
    def test_what_is_further_on_is_left_and_told(self, cycles: Cycles, packages: Releases) -> None:
        of = opened(cycles)
        out = packages.record("prone1", date(2026, 11, 20), due_on=None, planned=False, note="", change=CHANGE)
        done = renewed(cycles, of, date(2026, 12, 10), planned=True)
        assert (done[0].outcome, done[0].package) == (Outcome.LEFT, out)
        assert done[0].why == f"its package {out.id} of 2026-11-20 is out already"
        cycles.mark(of, ReleaseState.SUBMITTED, note="", change=CHANGE)
        done = renewed(cycles, of, date(2026, 11, 23))
        assert outcomes(done)["prone1"] is Outcome.LEFT
        assert done[0].why == f"its package {out.id} of 2026-11-20 is submitted"

    def test_a_wrong_day_is_put_right_for_all_and_the_same_again_changes_nothing(
        self, cycles: Cycles, packages: Releases
    ) -> None:
        of = opened(cycles)
        renewed(cycles, of, date(2026, 11, 19))
        assert set(outcomes(renewed(cycles, of, date(2026, 11, 20))).values()) == {Outcome.AMENDED}
        assert set(outcomes(renewed(cycles, of, date(2026, 11, 20))).values()) == {Outcome.LEFT}
        assert [(each.version, each.released_on) for each in packages.in_force()] == [(2, date(2026, 11, 20))] * 3

    def test_a_package_of_no_cycle_with_the_same_release_joins_it(self, cycles: Cycles, packages: Releases) -> None:
        before = packages.record("prone1", date(2026, 11, 20), due_on=None, planned=False, note="", change=CHANGE)
        assert before.cycle_id == ""
        of = opened(cycles)
        done = renewed(cycles, of, date(2026, 11, 20))
        assert done[0].package is not None
        assert (done[0].outcome, done[0].package.id, done[0].package.cycle_id) == (Outcome.AMENDED, before.id, of)

    def test_when_one_unit_cannot_get_it_none_does(self, cycles: Cycles, packages: Releases) -> None:
        packages.record("upright_b", date(2026, 11, 2), due_on=None, planned=False, note="", change=CHANGE)
        of = opened(cycles)
        with pytest.raises(OperatorError, match="is still open: amend its state"):
            renewed(cycles, of, date(2026, 12, 10), planned=True)
        assert cycles.view(of, TODAY).lacking == ("prone1", "upright_a", "upright_b")

    def test_two_who_change_one_package_at_once_do_not_both_succeed(self, packages: Releases) -> None:
        made = packages.record("prone1", date(2026, 11, 2), due_on=None, planned=False, note="", change=CHANGE)
        late = packages.amended(made, due_on=date(2026, 12, 20), note="", change=CHANGE)
        packages.amend(made.id, due_on=date(2026, 12, 17), change=CHANGE)
        with pytest.raises(OperatorError, match="was changed meanwhile"):
            packages.keep([late], CHANGE)
        assert packages.history(made.id)[-1].due_on == date(2026, 12, 17)

    def test_of_two_who_record_one_package_at_once_the_second_is_told(self, packages: Releases) -> None:
        both = [
            packages.made("prone1", date(2026, 11, 2), due_on=None, planned=False, cycle_id="", note="", change=CHANGE)
            for _ in range(2)
        ]
        packages.keep(both[:1], CHANGE)
        with pytest.raises(OperatorError, match="released on 2026-11-02 is recorded already"):
            packages.keep(both[1:], CHANGE)


def test_of_two_who_open_a_cycle_at_once_the_second_is_told(
    cycles: Cycles, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = index.write

    @contextmanager
    def overtaken() -> Iterator[Connection]:
        monkeypatch.setattr(index, "write", write)
        opened(cycles)
        with write() as conn:
            yield conn

    monkeypatch.setattr(index, "write", overtaken)
    with pytest.raises(OperatorError, match="is open: close it before you open the next"):
        opened(cycles)
    assert len(cycles.views(TODAY)) == 1


def test_what_was_found_deficient_does_not_pass_with_the_others(cycles: Cycles) -> None:
    of = opened(cycles)
    renewed(cycles, of, date(2026, 11, 20))
    cycles.mark(of, ReleaseState.DEFICIENT, unit_id="prone1", note="", change=CHANGE)
    done = cycles.mark(of, ReleaseState.PASSED, note="", change=CHANGE)
    assert outcomes(done) == {
        "prone1": Outcome.LEFT,
        "upright_a": Outcome.AMENDED,
        "upright_b": Outcome.AMENDED,
    }
    assert "is deficient: give --unit prone1 if it has passed after all" in done[0].why
    again = renewed(cycles, of, date(2026, 11, 21))
    assert again[0].outcome is Outcome.LEFT
    assert again[0].why.endswith("is deficient; when that of its next testing is out: dicom-node release record prone1")
    assert cycles.view(of, TODAY).state is CycleState.DEFICIENT
    cycles.mark(of, ReleaseState.PASSED, unit_id="prone1", note="", change=CHANGE)
    assert cycles.view(of, TODAY).state is CycleState.PASSED


class TestAddendum:
    def test_one_that_was_found_deficient_is_not_left_out_of_the_renewal(self, cycles: Cycles) -> None:
        of = opened(cycles, date(2028, 3, 31))
        added = date(2026, 11, 20)
        cycles.addendum(of, "upright_a", added, due_on=None, planned=False, note="", change=CHANGE)
        cycles.mark(of, ReleaseState.DEFICIENT, unit_id="upright_a", note="", change=CHANGE)
        done = {each.unit: each for each in renewed(cycles, of, date(2027, 9, 15), planned=True)}
        assert set(outcomes(list(done.values())).values()) == {Outcome.RECORDED}
        assert cycles.view(of, TODAY).state is CycleState.OPEN

    def test_it_has_a_release_of_its_own_and_the_renewal_gives_it_another(
        self, cycles: Cycles, packages: Releases, index: Index
    ) -> None:
        of = opened(cycles, date(2028, 3, 31))
        added = cycles.addendum(of, "upright_b", date(2026, 11, 2), due_on=None, planned=False, note="", change=CHANGE)
        assert (added.cycle_id, added.state) == (of, ReleaseState.RECORDED)
        view = cycles.view(of, TODAY)
        assert (view.state, view.lacking) == (CycleState.OPEN, ("prone1", "upright_a"))
        assert view.unit_added_today is Joining.ADDENDUM
        assert bearing(index)["prone1"] == []
        with pytest.raises(OperatorError, match=f"upright_b has the package {added.id} in cycle {of}"):
            cycles.addendum(of, "upright_b", date(2026, 11, 3), due_on=None, planned=False, note="", change=CHANGE)

        later = replace(CHANGE, today=date(2027, 9, 1))
        done = cycles.renew(of, date(2027, 9, 1), due_on=None, planned=False, note="", change=later)
        assert (done[2].outcome, done[2].why) == (
            Outcome.LEFT,
            f"its package {added.id} of 2026-11-02 is that of an addendum",
        )
        cycles.mark(of, ReleaseState.PASSED, unit_id="upright_b", note="", change=later)
        done = cycles.renew(of, date(2027, 9, 1), due_on=None, planned=False, note="", change=later)
        assert outcomes(done) == {
            "prone1": Outcome.LEFT,
            "upright_a": Outcome.LEFT,
            "upright_b": Outcome.RECORDED,
        }
        assert [each.released_on for each in packages.in_force("upright_b")] == [date(2027, 9, 1), date(2026, 11, 2)]
        assert cycles.view(of, later.today).state is CycleState.RELEASED

    @pytest.mark.parametrize(
        ("expires_on", "unit", "told"),
        [
            (None, "prone1", "is a first accreditation"),
            (date(2027, 12, 23), "prone1", r"from 2026-11-23 on, 13 months before the expiry on 2027-12-23"),
            (date(2028, 3, 31), "screening", "is not applying"),
            (date(2028, 3, 31), "nowhere", "there is no unit 'nowhere'"),
        ],
    )
    def test_what_is_none_is_told_with_what_to_do(
        self, cycles: Cycles, expires_on: date | None, unit: str, told: str
    ) -> None:
        of = opened(cycles, expires_on)
        with pytest.raises(OperatorError, match=told):
            cycles.addendum(of, unit, TODAY, due_on=None, planned=False, note="", change=CHANGE)

    def test_one_that_is_written_down_late_is_judged_by_its_release(self, cycles: Cycles) -> None:
        of = opened(cycles, date(2027, 12, 23))
        made = cycles.addendum(of, "prone1", date(2026, 11, 22), due_on=None, planned=False, note="", change=CHANGE)
        assert made.released_on == date(2026, 11, 22)


class TestClosing:
    def test_what_is_only_planned_is_closed_with_its_cycle_and_was_never_a_package(
        self, cycles: Cycles, packages: Releases, index: Index
    ) -> None:
        of = opened(cycles)
        renewed(cycles, of, date(2026, 12, 10), planned=True)
        done = cycles.close(of, note="given up", change=CHANGE)
        assert [each.unit for each in done] == ["prone1", "upright_a", "upright_b"]
        assert {each.state for each in packages.in_force()} == {ReleaseState.CLOSED}
        assert bearing(index) == {unit: [] for unit in UNITS}
        view = cycles.view(of, TODAY)
        assert (view.state, view.units, view.lacking, view.unit_added_today) == (CycleState.CLOSED, (), (), None)

    def test_a_package_that_was_out_and_closed_lets_nothing_age_until_a_cycle_is_open(
        self, cycles: Cycles, packages: Releases, index: Index
    ) -> None:
        out = packages.record("prone1", date(2026, 11, 20), due_on=None, planned=False, note="", change=CHANGE)
        packages.close(out.id, note="", change=CHANGE)
        assert bearing(index)["prone1"] == [(date(2026, 11, 20), ReleaseState.CLOSED)]
        opened(cycles)
        assert bearing(index)["prone1"] == []

    def test_a_closed_cycle_stays_as_it_is(self, cycles: Cycles, packages: Releases) -> None:
        of = opened(cycles)
        cycles.close(of, note="", change=CHANGE)
        with pytest.raises(OperatorError, match="is closed"):
            cycles.amend(of, expires_on=EXPIRY, note="", change=CHANGE)
        with pytest.raises(OperatorError, match="is closed"):
            renewed(cycles, of, TODAY)
        with pytest.raises(OperatorError, match=f"cycle {of} is closed"):
            packages.record("prone1", TODAY, due_on=None, planned=False, note="", change=CHANGE, cycle_id=of)
