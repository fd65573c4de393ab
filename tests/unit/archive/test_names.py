"""Names and words of the archive that need no file."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.archive.files import reason, refusals
from dicom_node.archive.store import object_name
from dicom_node.errors import StorageUnavailableError


def test_an_object_is_named_by_its_digest_alone() -> None:
    assert object_name("ab" * 32) == f"objects/ab/{'ab' * 32}.dcm"


@given(st.text(max_size=70))
def test_no_other_text_becomes_a_path(text: str) -> None:
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        object_name(text)


@pytest.mark.parametrize("digest", ["AB" * 32, "ab" * 32 + "\n", "../" + "ab" * 32, "٣" * 64, ""])
def test_what_only_looks_like_a_digest_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        object_name(digest)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "input/output error"),
        (errno.EROFS, "read-only"),
        (errno.ELOOP, "symbolic links"),
        (None, "no reason"),
    ],
)
def test_a_refusal_of_the_system_is_told_in_words(number: int | None, words: str) -> None:
    error = OSError() if number is None else OSError(number, "x")
    assert words in reason(error)


def test_a_refusal_names_what_was_being_done() -> None:
    with pytest.raises(StorageUnavailableError) as told, refusals("write a file"):
        raise OSError(errno.EROFS, "x", "/some/path")
    assert str(told.value) == "cannot write a file: the volume is read-only"
