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
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.power import FILE_SYSTEMS, Cut, Disks, NotHereError, cut_images, format_image
from tests.faults.powered_node import (
    Modality,
    PoweredNode,
    Promises,
    look,
    peer,
    senders,
    store,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FILE_SYSTEM = os.environ.get("DICOM_NODE_POWER_FILE_SYSTEM", "ext4")
CUTS_AT_ONCE = 6
RUNS = max(1, int(os.environ.get("DICOM_NODE_POWER_CUTS", "0")) // (2 * CUTS_AT_ONCE))
SECONDS_ALONE, SECONDS_TOGETHER = 1.0, 2.0


@pytest.fixture(scope="module")
def formatted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of an empty file system; the test is skipped, with the reason, where it cannot be mounted."""
    folder = tmp_path_factory.mktemp("formatted")
    assert FILE_SYSTEM in FILE_SYSTEMS
    try:
        image = format_image(folder / "image", FILE_SYSTEM)
        with Disks(folder / "disks", [image]):
            pass
    except (NotHereError, OSError) as reason:
        pytest.skip(f"the power cannot be cut here: {reason}")
    return image


class Scene:
    """Disks with a node's work on them, and any power cut in it."""

    def __init__(self, folder: Path, images: Sequence[Path]) -> None:
        self.folder = folder
        self.images = images
        self.disks = Disks(folder / "recorded", images)
        self.promises = Promises(self.disks.now)
        self.cuts = 0

    def after(self, cut: Cut) -> None:
        """Start the node after a power cut; it must have kept what it had promised."""
        self.cuts += 1
        folder = self.folder / f"cut{self.cuts}"
        images = cut_images(self.images, self.disks.journal, cut, folder)
        with Disks(folder / "mounted", images) as disks:
            self.check(folder, disks, cut)
        shutil.rmtree(folder)

    def check(self, folder: Path, disks: Disks, cut: Cut) -> None:
        """Start the node on the disks that a cut has left and compare what it has with what it had promised."""
        found = look(PoweredNode(folder / "node", disks.roots), self.promises.series)
        promised = self.promises.before(cut.at)
        assert found.lost(promised) == [], f"of {len(promised)} promises, after {cut}"
        assert found.wrong(self.promises.sent) == [], f"after {cut}"

    def done(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Say what was done, and forget the disks."""
        with capsys.disabled():
            print(f"[power: {self.cuts} cuts, {len(self.promises.kept)} acknowledged, 0 lost, 0 partial] ", end="")
        shutil.rmtree(self.folder)


@pytest.fixture(params=[1, 2], ids=["one-volume", "two-volumes"])
def scene(request: pytest.FixtureRequest, formatted: Path, tmp_path: Path) -> Scene:
    """One disk for the archive and the index, or one for each."""
    (tmp_path / "scene").mkdir()
    return Scene(tmp_path / "scene", [formatted] * request.param)


@pytest.mark.parametrize("run", range(RUNS))
def test_what_was_acknowledged_survives_a_power_cut_at_any_moment(
    scene: Scene, run: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(run)
    with scene.disks as disks, PoweredNode(scene.folder / "node", scene.disks.roots) as node:
        began = disks.now()
        with senders(node, scene.promises, 1, 2 * run):
            time.sleep(SECONDS_ALONE)
        with senders(node, scene.promises, 4, 2 * run + 1):
            time.sleep(SECONDS_TOGETHER)
        ended = disks.now()

    assert len(scene.promises.kept) > CUTS_AT_ONCE
    moments = [promise.at for promise in chance.sample(scene.promises.kept, CUTS_AT_ONCE // 2)]  # just after a Success
    moments += [chance.randrange(began, ended) for _ in range(CUTS_AT_ONCE - len(moments))]
    for number, at in enumerate(moments):
        scene.after(Cut(at, ("none", "some", "all")[number % 3], seed=number))
    scene.done(capsys)
