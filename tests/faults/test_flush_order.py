"""The order of a node's system calls: at each Success, and from then on, the instance would survive a power cut."""

import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults import without_flushes
from tests.faults.flush_order import FlushOrder, traced
from tests.faults.powered_node import Modality, PoweredNode, Promises, peer, store

pytestmark = pytest.mark.faults

COUNT = 18


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that stands for the disk; the test is skipped, with the reason, where calls cannot be traced."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace (Debian package strace)")
    tried = subprocess.run([*traced(tmp_path / "tried"), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"system calls cannot be traced here: {tried.stderr.strip()}")
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def order_of(root: Path, *, under: Sequence[str] = (), more: str = "") -> FlushOrder:
    """Let a node store instances, some twice, some after an attempt that was refused, and follow its system calls."""
    chance, modality, promises = random.Random(1), Modality(), Promises(lambda: 0)
    trace = root.parent / "trace"
    sent = [modality.instance(chance) for _ in range(COUNT)]
    with PoweredNode(root.parent / "node", [root], under=[*traced(trace), *under], more=more) as node:
        with peer(node.port) as first, peer(node.port) as second:
            for number, instance in enumerate(sent):
                if number % 3 == 1:
                    second.send(instance.message(uid=f"{instance.uid}.1"))
                    assert second.read_response()[0].status == 0xA900
                assert store(first, instance, promises) == 0
                if number % 3 == 2:
                    assert store(second, instance, promises) == 0
        assert node.stop() == 0
    order = FlushOrder(root, {instance.uid: instance.data for instance in sent})
    order.read(trace)
    assert order.successes == len(promises.kept) > COUNT
    return order


def test_a_success_leaves_when_its_instance_would_survive_and_nothing_undoes_that(root: Path) -> None:
    assert order_of(root).broken == []


def test_an_order_without_flushes_is_seen(root: Path) -> None:
    order = order_of(root, under=without_flushes.COMMAND, more="workers = 1")

    assert len(order.broken) == order.successes
