"""The power is cut while the node stores: what was acknowledged is there after the next start, and nothing is partial.

Each test lets a node work on disks that write down what reaches them, and then starts it on what a power cut at this or
that moment would have left of them. Needs root, loop devices and FUSE. By hand there may be more cuts, and other file
systems (xfs, btrfs):

    DICOM_NODE_POWER_CUTS=500 DICOM_NODE_POWER_FILE_SYSTEM=xfs pytest -n 2 -s tests/faults/test_power_cuts.py
"""

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults import without_flushes
from tests.faults.power import FILE_SYSTEMS, Cut, Disks, NotHereError, cut_images, format_image
from tests.faults.powered_node import (
    Found,
    Modality,
    PoweredNode,
    Promise,
    Promises,
    look,
    peer,
    store,
    store_for,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FILE_SYSTEM = os.environ.get("DICOM_NODE_POWER_FILE_SYSTEM", "ext4")
CUTS_A_RUN = 2 * (6 + 3 + 3)  # on one volume and on two, in the three tests that have chance in them
RUNS = max(1, -(-int(os.environ.get("DICOM_NODE_POWER_CUTS", "0")) // CUTS_A_RUN))
KEEP = ("none", "some", "all")
ALONE = "workers = 1"
QUIET = 1.5
"""Seconds without senders, in which the node does what it put off."""


@pytest.fixture(scope="module")
def formatted(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of two empty file systems; the test is skipped, with the reason, where they cannot be mounted."""
    folder = tmp_path_factory.mktemp("formatted")
    assert FILE_SYSTEM in FILE_SYSTEMS
    try:
        images = [format_image(folder / name, FILE_SYSTEM) for name in ("first", "second")]
        with Disks(folder / "disks", images):
            pass
    except (NotHereError, OSError) as reason:
        pytest.skip(f"the power cannot be cut here: {reason}")
    return images


class Scene:
    """Disks with a node's work on them, and any power cut in it."""

    def __init__(self, folder: Path, images: Sequence[Path]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.images = images
        self.disks = Disks(folder / "recorded", images)
        self.promises = Promises(self.disks.now)
        self.cuts = 0

    def node(self, *, under: Sequence[str] = (), more: str = "") -> PoweredNode:
        """Return the node that works on the disks."""
        return PoweredNode(self.folder / "node", self.disks.roots, under=under, more=more)

    def found(self) -> Found:
        """Start the node on the disks and see what it has."""
        with self.disks:
            return look(self.node(), self.promises.series)

    @contextmanager
    def after(self, cut: Cut) -> Iterator["Scene"]:
        """Make the scene that a power cut leaves, with the promises made before it."""
        self.cuts += 1
        folder = self.folder / f"cut{self.cuts}"
        left = Scene(folder, cut_images(self.images, self.disks.journal, cut, folder / "left"))
        left.promises.sent, left.promises.series = self.promises.sent, self.promises.series
        left.promises.kept = [Promise(0, each.uid, each.digest) for each in self.promises.before(cut.at)]
        yield left
        shutil.rmtree(folder)

    def check(self, cut: Cut) -> None:
        """Start the node after a power cut: it must have kept what it had promised, and show nothing else."""
        with self.after(cut) as left:
            found = left.found()
            assert found.lost(left.promises.kept) == [], f"of {len(left.promises.kept)} promises, after {cut}"
            assert found.wrong(left.promises) == [], f"after {cut}"


@pytest.fixture(params=[1, 2], ids=["one-volume", "two-volumes"])
def scene(
    request: pytest.FixtureRequest,
    formatted: list[Path],
    tmp_path: Path,
    logs_as_they_were: None,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> Iterator[Scene]:
    """One disk for the archive and the index, or one for each. The journal of a cut that did harm is kept."""
    made = Scene(tmp_path / "scene", formatted[: request.param])
    yield made
    figures = {"power_cuts": made.cuts, "acknowledged": len(made.promises.kept), "file_system": FILE_SYSTEM}
    for name, value in figures.items():
        record_property(name, value)
    with capsys.disabled():
        print(figures, end=" ")
    if not any(made.folder.glob("cut*")):
        shutil.rmtree(made.folder)


@pytest.mark.parametrize("run", range(RUNS))
def test_what_was_acknowledged_survives_a_power_cut_at_any_moment(scene: Scene, run: int) -> None:
    chance = random.Random(run)
    with scene.disks as disks, scene.node() as node:
        began = disks.now()
        store_for(1.0, node, scene.promises, senders=1, seed=2 * run)
        store_for(2.0, node, scene.promises, senders=4, seed=2 * run + 1)
        time.sleep(QUIET)
        quiet = disks.now()
        assert node.stop() == 0
        stopped = disks.now()

    for keep in KEEP:
        scene.check(Cut(chance.choice(scene.promises.kept).at, keep, seed=run))  # just after a Success
    scene.check(Cut(chance.randrange(began, quiet), "some", seed=run))
    scene.check(Cut(quiet, "none"))
    scene.check(Cut(stopped, "none"))


@pytest.mark.parametrize("run", range(RUNS))
def test_it_survives_another_power_cut_while_the_node_starts(scene: Scene, run: int) -> None:
    chance = random.Random(run)
    with scene.disks, scene.node() as node:
        store_for(2.0, node, scene.promises, senders=4, seed=run)

    first = chance.choice(scene.promises.kept).at
    with scene.after(Cut(first, "none")) as left:
        with left.disks, left.node():
            up = left.disks.now()
        for keep in ("none", "some"):
            left.check(Cut(chance.randrange(up + 1), keep, seed=run))
    scene.cuts += left.cuts


@pytest.mark.parametrize("run", range(RUNS))
def test_it_survives_a_power_cut_in_the_first_second_of_a_new_archive(scene: Scene, run: int) -> None:
    chance = random.Random(run)
    with scene.disks as disks, scene.node() as node:
        up = disks.now()
        store_for(0.3, node, scene.promises, senders=1, seed=run)

    for number, at in enumerate((chance.randrange(up), chance.randrange(up), scene.promises.kept[0].at)):
        scene.check(Cut(at, "some" if number == 0 else "none", seed=run))


def test_a_success_after_a_refused_and_an_aborted_attempt_is_worth_as_much(scene: Scene) -> None:
    modality, chance, promises = Modality(), random.Random(1), scene.promises
    refused, aborted = modality.instance(chance), modality.instance(chance)
    with scene.disks, scene.node() as node, peer(node.port) as first:
        store(first, modality.instance(chance), promises)
        with closing(sqlite3.connect(node.index, isolation_level=None)) as index:
            index.execute("BEGIN IMMEDIATE")
            with peer(node.port) as gone:
                promises.going_out(aborted)
                gone.send(aborted.message())
            assert store(first, refused, promises) == 0xA700
            index.execute("ROLLBACK")
        assert [store(first, instance, promises) for instance in (refused, aborted)] == [0, 0]

    for promise in promises.kept[1:]:
        scene.check(Cut(promise.at, "none"))


def test_these_tests_see_what_a_node_loses_that_does_not_flush(scene: Scene) -> None:
    with scene.disks:
        with scene.node(more=ALONE) as node:
            store_for(0.3, node, scene.promises, senders=1, seed=1)
            assert node.stop() == 0
        flushed = len(scene.promises.kept)
        with scene.node(under=without_flushes.COMMAND, more=ALONE) as node:
            store_for(1.0, node, scene.promises, senders=4, seed=2)

    with scene.after(Cut(scene.promises.kept[-1].at, "all")) as left:
        found = left.found()
    assert found.lost(left.promises.kept[flushed:])
