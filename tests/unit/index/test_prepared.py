"""Statements on the driver's cursor: values as SQLAlchemy would give and take them."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, Boolean, Column, Date, Integer, MetaData, Table, create_engine, insert, select

from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.tables import PlainText, UtcDateTime

TABLE = Table(
    "t",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("day", Date),
    Column("held", JSON),
    Column("yes", Boolean),
    Column("text", PlainText),
    Column("other", PlainText),
)
INSERT = Prepared(TABLE.insert())
SELECT = Prepared(select(TABLE))

zones = st.sampled_from([timezone(timedelta(hours=hours)) for hours in (0, -7, 2)])
rows = st.fixed_dictionaries(
    {
        "at": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones),  # noqa: DTZ001 # the zones come after
        "day": st.none() | st.dates(),
        "held": st.lists(st.lists(st.text(max_size=3), max_size=2), max_size=2),
        "yes": st.booleans(),
        "text": st.text(max_size=5) | st.sampled_from(["a\0b", "\ud800ä"]),
        "other": st.text(max_size=5),
    }
)


@given(rows, st.booleans())
def test_values_are_what_sqlalchemy_makes_of_them(row: dict[str, object], as_tuple: bool) -> None:
    held = tuple(map(tuple, row["held"])) if as_tuple else row["held"]  # type: ignore[call-overload]
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        TABLE.metadata.create_all(conn)
        conn.execute(insert(TABLE), row | {"id": 1})
        cursor = Cursor(conn)
        INSERT.write(cursor, [row | {"id": 2, "held": held}])
        INSERT.write(cursor, [row | {"id": number, "held": held} for number in (3, 4)])
        raw = [each[1:] for each in conn.exec_driver_sql("SELECT * FROM t")]
        assert raw == [raw[0]] * 4
        assert SELECT.first(cursor, {}) == list(conn.execute(select(TABLE)).first() or ())
    engine.dispose()


@pytest.mark.parametrize("day", [date(1, 1, 1), date(9999, 12, 31)])
def test_none_stays_none(day: date) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        TABLE.metadata.create_all(conn)
        cursor = Cursor(conn)
        INSERT.write(cursor, [{"id": 1, "at": None, "day": day, "held": [], "yes": None, "text": "", "other": ""}])
        assert SELECT.first(cursor, {}) == [1, None, day, [], None, "", ""]
    engine.dispose()
