"""The values of rows, without a database."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.index.rows import Row, merge_series, merge_study
from dicom_node.index.tables import storable
from tests.entries import NOON, make_entry

texts = st.sampled_from(["", "A", "B", "a^b", "\0A", "A\\B", "B\\A"])


def _study(headers: list[tuple[int, dict[str, str]]]) -> Row | None:
    row, seen = None, set()
    for seconds, header in headers:
        entry = make_entry(sop_instance_uid="1.2", series_uid=header["SeriesNumber"], **header)
        new = entry.facts.series_uid not in seen
        seen.add(entry.facts.series_uid)
        row = merge_study(row, entry.facts, NOON + timedelta(seconds=seconds), in_new_series=new)
    return row


headers = st.fixed_dictionaries(
    dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "Modality", "SeriesNumber"), texts)
)


@given(st.lists(st.tuples(st.integers(0, 2), headers), min_size=1, max_size=6), st.randoms())
def test_a_study_row_does_not_depend_on_the_order(given_headers: list[tuple[int, dict[str, str]]], random) -> None:
    shuffled = random.sample(given_headers, len(given_headers))
    assert _study(given_headers) == _study(shuffled)


@given(st.lists(st.tuples(st.integers(0, 2), texts), min_size=1, max_size=6), st.randoms())
def test_a_series_row_does_not_depend_on_the_order(received: list[tuple[int, str]], random) -> None:
    rows: list[Row | None] = [None, None]
    for number, order in enumerate((received, random.sample(received, len(received)))):
        for seconds, station in order:
            facts = make_entry(StationName=station).facts
            rows[number] = merge_series(rows[number], facts, NOON + timedelta(seconds=seconds))
    assert rows[0] == rows[1]


@given(st.text(alphabet=st.characters(), max_size=20))
def test_storable_text_is_utf_8_without_nul(text: str) -> None:
    assert "\0" not in storable(text)
    assert storable(text).encode("utf-8").decode("utf-8") == storable(storable(text))
    if "\0" not in text and not any(0xD800 <= ord(char) < 0xE000 for char in text):
        assert storable(text) == text
