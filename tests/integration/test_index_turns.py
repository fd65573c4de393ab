"""Turns at writing: real files, and another process that holds the turn and dies."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dicom_node.errors import DatabaseError
from dicom_node.index import state
from dicom_node.index.engine import open_index
from dicom_node.index.turns import Turns

HOLDER = (
    "import sys, time\nfrom pathlib import Path\nfrom dicom_node.index.turns import Turns\n"
    "with Turns(Path(sys.argv[1]), 0o640).taken(5):\n    print('held', flush=True)\n    time.sleep(600)\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.db.turn"


def test_one_writes_after_the_other(path: Path) -> None:
    both = Turns(path, 0o640), Turns(path, 0o640)
    order = []
    with both[0].taken(5):

        def wait() -> None:
            with both[1].taken(60):
                order.append("second")

        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(60)
    assert order == ["first", "second"]
    for turns in both:
        turns.close()


def test_the_turn_of_a_process_that_is_killed_passes_on(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        turns = Turns(path, 0o640)
        threading.Timer(0.2, holder.kill).start()
        with turns.taken(600):
            assert holder.wait(60) == -9
        turns.close()


def test_who_waits_too_long_for_a_turn_goes_on_to_the_lock_of_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'node.db'}"
    index = open_index(url, busy_timeout_s=0.2)
    holder = [sys.executable, "-c", HOLDER, str(tmp_path / "node.db.turn")]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with index.write() as conn:
            state.put(conn, "key", "value")
        process.kill()
    other = open_index(url, busy_timeout_s=0.2, is_ready=True)
    with index.write(), pytest.raises(DatabaseError, match="locked"), other.write():
        pass
    with other.read() as conn:
        assert state.get(conn, "key") == "value"
    other.close()
    index.close()


def test_a_lock_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "nowhere" / "node.db.turn", 0o640)
    with pytest.raises(DatabaseError, match="cannot be opened: No such file or directory"), turns.taken(1.0):
        pass
