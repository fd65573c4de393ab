"""One key of the configuration file is changed, and every other byte stays."""

import os
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.errors import OperatorError
from dicom_node.settings import replace_text, with_day

DAY = date(2026, 12, 31)
TABLE = ("units", "prone1")
TEXT = '''\
# [units.prone1]
note = """
[units.prone1]
retired_on = 2020-01-01
"""
[units.prone1] # the table
label = "Prone table"   # retired_on = 2020-01-01
[[units.prone1.identity]]
ae_title = "PRONE"
[units.other]
retired_on = 2020-01-01
'''


def changed(text: str) -> str:
    return with_day(text, TABLE, "retired_on", DAY)


def test_a_line_is_put_below_the_header_of_the_table() -> None:
    header = "[units.prone1] # the table\n"
    assert changed(TEXT) == TEXT.replace(header, header + "retired_on = 2026-12-31\n")


@pytest.mark.parametrize(
    "line",
    [
        "retired_on = {} # retired_on = 2020-01-01",
        '"retired_on"={}',
        "  retired_on\t=  {}\t",
    ],
)
@pytest.mark.parametrize("value", ["2026-06-30", '"2026-06-30"', "'2026-06-30'"])
def test_a_value_that_is_there_is_replaced_on_its_line(line: str, value: str) -> None:
    label = 'label = "Prone table"'
    text = TEXT.replace(label, f"{line.format(value)}\n{label}")
    assert changed(text) == text.replace(line.format(value), line.format("2026-12-31"))


@pytest.mark.parametrize(
    "text", ["[units.prone1]", "a = 1\r\n[units.prone1]\r\nlabel = 'x'\r\n", "[ units . 'prone1' ]\n"]
)
def test_line_ends_stay_those_of_the_file(text: str) -> None:
    new = changed(text)
    ending = "\r\n" if "\r\n" in text else "\n"
    assert new.replace(f"retired_on = 2026-12-31{ending}", "").rstrip("\n") == text.rstrip("\n")
    assert new.count("\r") == new.count("\n") * ("\r" in text)


def test_dotted_and_inline_tables_are_changed_where_the_key_is_there() -> None:
    assert changed("[units]\nprone1.retired_on = 2020-01-01\n") == "[units]\nprone1.retired_on = 2026-12-31\n"
    inline = "units = {{ prone1 = {{ label = 'retired_on', retired_on = {} }} }}\n"
    assert changed(inline.format("2020-01-01")) == inline.format("2026-12-31")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[units]\nprone1.label = 'x'\n", r"no table \[units.prone1\] of its own"),
        ("[[units.prone1.identity]]\nae_title = 'x'\n", r"no table \[units.prone1\] of its own"),
        ("[units.prone1]\nretired_on = 5\n", "cannot be told apart on line 2"),
        (
            "units = { other = { retired_on = 2020-01-01 }, prone1 = { retired_on = 2020-01-01 } }\n",
            "cannot be told apart on line 1",
        ),
    ],
)
def test_what_cannot_be_changed_by_one_line_is_refused(text: str, told: str) -> None:
    with pytest.raises(OperatorError, match=told):
        changed(text)


@given(
    st.lists(
        st.sampled_from(["# x\n", "\n", "a = '''\n[units.prone1]\n'''\n", 'b = "é"\r\n', "c = [\n1, 2]\n"]), unique=True
    )
)
def test_whatever_stands_around_it_stays(before: list[str]) -> None:
    text = "".join(before) + "[units.prone1]\n" + "".join(before)
    new = changed(text)
    assert new == "".join(before) + "[units.prone1]\nretired_on = 2026-12-31\n" + "".join(before)


class TestReplacing:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "node.toml"
        path.write_bytes(b"a = 1\r\n")
        path.chmod(0o640)
        return path

    def test_mode_and_owner_are_kept(self, file: Path) -> None:
        if os.geteuid() == 0:
            os.chown(file, 12345, 23456)
        was = file.stat()
        replace_text(file, "a = 1\r\n", "a = 2\r\n")
        now = file.stat()
        assert file.read_bytes() == b"a = 2\r\n"
        assert (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (0o640, was.st_uid, was.st_gid)
        assert [each.name for each in file.parent.iterdir()] == ["node.toml"]

    def test_a_link_stays_a_link(self, file: Path) -> None:
        link = file.parent / "link.toml"
        link.symlink_to("node.toml")
        replace_text(link, "a = 1\r\n", "a = 2\r\n")
        assert link.is_symlink()
        assert file.read_bytes() == b"a = 2\r\n"

    def test_a_file_that_somebody_changed_meanwhile_is_left_alone(self, file: Path) -> None:
        with pytest.raises(OperatorError, match="changed by somebody else"):
            replace_text(file, "a = 0\r\n", "a = 2\r\n")
        assert file.read_bytes() == b"a = 1\r\n"

    def test_a_refusal_of_the_system_leaves_the_old_file_alone(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "replace", refused)
        with pytest.raises(OperatorError, match=r"cannot be written \(Read-only file system\); nothing was changed"):
            replace_text(file, "a = 1\r\n", "a = 2\r\n")
        assert file.read_bytes() == b"a = 1\r\n"
        assert [each.name for each in file.parent.iterdir()] == ["node.toml"]

    def test_a_file_that_may_not_be_written_is_left_alone(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(OperatorError, match=r"cannot be written \(Permission denied\)"):
            replace_text(file, "a = 1\r\n", "a = 2\r\n")
        assert [each.name for each in file.parent.iterdir()] == ["node.toml"]
