"""Reading kept objects again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.archive.store import LocalArchive, object_name
from dicom_node.archive.verify import rehash, verify_all
from dicom_node.errors import ObjectDamagedError
from tests.archives import store


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    with LocalArchive.create(tmp_path / "archive", min_free_bytes=0) as made:
        yield made


def test_a_whole_object_passes_and_tells_its_length(archive: LocalArchive) -> None:
    data = bytes(range(256)) * 10_000
    assert rehash(archive, store(archive, data).digest) == len(data)


@pytest.mark.parametrize("damage", ["bit", "cut", "longer", "no header"])
def test_damage_is_found(archive: LocalArchive, tmp_path: Path, damage: str) -> None:
    digest = store(archive, bytes(3000)).digest
    path = tmp_path / "archive" / object_name(digest)
    whole = path.read_bytes()
    path.write_bytes(
        {"bit": whole[:-5] + b"\1" + whole[-4:], "cut": whole[:-1], "longer": whole + b"\0", "no header": bytes(9)}[
            damage
        ]
    )
    with pytest.raises(ObjectDamagedError, match=digest):
        rehash(archive, digest)


def test_a_missing_object_is_damage(archive: LocalArchive) -> None:
    with pytest.raises(ObjectDamagedError, match="missing"):
        rehash(archive, "0" * 64)


def test_every_object_gets_a_verdict_and_damage_does_not_stop_the_round(archive: LocalArchive, tmp_path: Path) -> None:
    digests = sorted(store(archive, bytes([number]) * 100).digest for number in range(6))
    path = tmp_path / "archive" / object_name(digests[2])
    path.write_bytes(path.read_bytes()[:-1])
    verdicts = list(verify_all(archive))
    assert [verdict.digest for verdict in verdicts] == digests
    assert [bool(verdict.damage) for verdict in verdicts] == [False, False, True, False, False, False]
