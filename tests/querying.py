"""Queries in tests: identifiers by keyword, and a listener that answers them from an index."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from ipaddress import ip_network
from typing import Any

from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.accreditation.policies import load_policies
from dicom_node.accreditation.units import Registry, Unit, UnitKind
from dicom_node.dicom.extended import BASELINE, Extended
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.keys import BY_KEYWORD
from dicom_node.dicom.query import Query, Root, parse_query
from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Caller
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.find import Find, FindScp
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.port import open_port
from dicom_node.index.countdown import Countdown
from dicom_node.index.engine import Index
from dicom_node.services.find import FindLimits, FindService
from tests.factories import encode

TODAY = date(2026, 11, 23)
HOME = timezone(timedelta(hours=-5))
"""The facility's zone."""

UNITS = {
    unit_id: Unit(
        id=unit_id,
        label=unit_id,
        kind=kind,
        identities=(),
        applying=unit_id != "not_applying",
        retired_on=date(2026, 11, 22) if unit_id == "retired" else None,
    )
    for unit_id, kind in (
        ("prone1", UnitKind.PRONE),
        ("upright_a", UnitKind.UPRIGHT),
        ("upright_b", UnitKind.UPRIGHT),
        ("not_applying", UnitKind.UPRIGHT),
        ("retired", UnitKind.PRONE),
    )
}

NOTHING_AGES = Countdown(today=TODAY, policy=load_policies()["acr-sbb-2023-03-03"], ageing_units={})


def identifier(level: str, *, block: int = 0x10, **keys: Any) -> Dataset:
    """Return a request identifier; text is written as it is, legal or not. Own keys get their private creator."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    if "SpecificCharacterSet" not in keys:
        ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        key = BY_KEYWORD.get(keyword)
        if key is None:
            setattr(ds, keyword, value)
            continue
        tag = key.tag
        if key.private:
            ds.add_new(0x00790000 | block, "LO", "DICOM_NODE")
            tag = 0x00790000 | block << 8 | tag & 0xFF
        number = int(value) if key.vr == "US" and value else None
        ds.add(DataElement(tag, key.vr, value if number is None else number, validation_mode=IGNORE))
    return ds


def ask(level: str, root: Root = Root.STUDY, *, extended: Extended = BASELINE, **keys: Any) -> Query:
    """Return the query that an identifier asks."""
    data = encode(identifier(level, **keys), ImplicitVRLittleEndian)
    return parse_query(data, encoding_of(ImplicitVRLittleEndian), root, extended)


def make_service(index: Index, **options: Any) -> FindService:
    """Return the find use case as of TODAY, with the units above under the six-month policy."""
    policy = load_policies()["acr-sbb-2023-03-03"]
    limits = FindLimits(**options)
    registry = Registry(units=UNITS)
    return FindService(
        index=index,
        registry=lambda: registry,
        policy=lambda: policy,
        today=lambda: TODAY,
        zone=lambda: HOME,
        limits=limits,
    )


@contextmanager
def listening(find: Find, **limits: Any) -> Iterator[Listener]:
    """Answer C-FIND on a free port; stores are not served."""

    def no_store(**_: Any) -> Any:
        raise AssertionError("nothing is stored here")

    services = frozenset({"echo", "find"})
    wire = Wire(
        access=AccessList(
            [Caller(name="pacs", ae_title="PACS", hosts=(ip_network("127.0.0.0/8"),), services=services)], ["SBB_NODE"]
        ),
        contexts=ContextTable(),
        limits=Limits(**limits),
        make_store=no_store,
        services={pdu.C_FIND_RQ: partial(FindScp, find=find, retrieve_ae="SBB_NODE")},
        now=lambda: datetime.now(UTC),
    )
    listener = Listener(open_port(("127.0.0.1", 0)), wire=wire, places=Places.alone(Capacity()), own_title="OWN")
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(0.0)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
