"""The names and ways of pynetdicom that the receiver leans on. When one of these fails, a release moved a seam."""

import inspect
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from dicom_node.cli.app import CONFIG, run
from dicom_node.dimse import seams
from dicom_node.errors import LibraryError
from tests.sites import write_site


@pytest.fixture(autouse=True)
def look_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(seams, "PATIENCE", 0.5)
    seams.check.cache_clear()
    yield
    seams.check.cache_clear()


def test_the_installed_release_is_as_the_receiver_needs_it() -> None:
    seams.check()


def test_the_association_thread_waits_at_its_checkpoint_each_turn() -> None:
    assert "self._reactor_checkpoint.wait()" in inspect.getsource(Association._run_reactor)
    assert "self._reactor_checkpoint.set()" in inspect.getsource(Association._abort_blocking)


def test_a_name_that_is_gone_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(DULServiceProvider, "_process_recv_primitive")
    with pytest.raises(
        LibraryError, match=r"it has no DULServiceProvider\._process_recv_primitive; install pynetdicom 3"
    ):
        seams.check()


def test_an_attribute_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = DULServiceProvider.__init__

    def make_without(self: DULServiceProvider, assoc: Association) -> None:
        made(self, assoc)
        del self._run_loop_delay

    monkeypatch.setattr(DULServiceProvider, "__init__", make_without)
    with pytest.raises(LibraryError, match=r"it has no Association\.dul\._run_loop_delay"):
        seams.check()


def test_a_library_that_answers_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ACSE, "send_accept", lambda self: self.send_reject(1, 1, 1))
    with pytest.raises(LibraryError, match="an association on trial failed"):
        seams.check()


def test_a_library_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Association, "_serve_request", lambda *_: None)
    with pytest.raises(LibraryError, match="an association on trial failed"):
        seams.check()


def test_the_node_does_not_start_on_a_library_it_does_not_know(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logs_as_they_were: None,
) -> None:
    monkeypatch.delattr(DULServiceProvider, "_process_recv_primitive")
    config = write_site(tmp_path)
    assert run(["--config", str(config), "serve", "--create"]) == CONFIG
    assert "is not as the receiver needs it" in capsys.readouterr().err


def test_the_release_to_install_is_one_that_is_allowed() -> None:
    assert version("pynetdicom") == seams.TESTED
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert f"pynetdicom>={seams.TESTED},<4" in project["dependencies"]
