"""What is written for those who query agrees with the key table."""

import re
from pathlib import Path

import pytest

from dicom_node.dicom.keys import KEYS, PRIVATE_CREATOR, Key, Level

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "queries.md").read_text(encoding="utf-8")


def test_the_dictionary_for_dcmtk_has_every_private_key() -> None:
    lines = (DOCS / "dicom_node.dic").read_text(encoding="ascii").splitlines()
    written = [line.split("\t") for line in lines if line and not line.startswith("#")]
    assert written == [
        [f'(0079,"{PRIVATE_CREATOR}",{key.tag & 0xFF:02x})', key.vr, key.keyword, "1-n", PRIVATE_CREATOR]
        for key in KEYS
        if key.private
    ]


@pytest.mark.parametrize("key", [key for key in KEYS if not key.private], ids=lambda key: key.keyword)
def test_the_page_lists_every_key_at_its_level(key: Key) -> None:
    (row,) = re.findall(rf"^\| {Level(key.level).name} \| (.*) \|$", PAGE, re.MULTILINE)
    assert key.keyword in re.split(r"[,;:] ", row)


@pytest.mark.parametrize("key", [key for key in KEYS if key.private], ids=lambda key: key.keyword)
def test_the_page_explains_every_private_key(key: Key) -> None:
    assert f"{key.keyword} (0079,xx{key.tag & 0xFF:02x}) {key.vr}" in PAGE


def test_the_page_names_what_may_have_several_values() -> None:
    (row,) = re.findall(r"^\| several UIDs, or several values of (.*) \| any of them \|$", PAGE, re.MULTILINE)
    assert set(re.split(", | or ", row)) == {key.keyword for key in KEYS if key.multiple}
