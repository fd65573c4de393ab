from collections.abc import Callable
from dataclasses import replace
from datetime import date
from ipaddress import ip_network

import pytest

from dicom_node.accreditation.fingerprint import fingerprint
from dicom_node.accreditation.units import (
    Assignment,
    Attachment,
    AttributeMap,
    Condition,
    Identity,
    Registry,
    Rule,
    Sender,
    SenderRole,
    Unit,
    UnitKind,
)

UNIT = Unit(
    id="a", label="A", kind=UnitKind.PRONE, identities=(Identity(ae_title="A", hosts=(ip_network("10.0.0.0/8"),)),)
)
ATTACHMENT = Attachment(id="x", label="X", assignments=(Assignment(unit="a"),))
RULE = Rule(name="r", conditions=(Condition(name="StationName", equals="A"),), unit="a")
REGISTRY = Registry(
    units={"a": UNIT, "b": replace(UNIT, id="b")},
    attachments={"x": ATTACHMENT},
    senders={"s": Sender(id="s", role=SenderRole.ROUTER, identity=Identity(ae_title="S"))},
    rules=(RULE, replace(RULE, name="q")),
)


def unit(**changes: object) -> Registry:
    return replace(REGISTRY, units=REGISTRY.units | {"a": replace(UNIT, **changes)})  # type: ignore[arg-type, operator]


def attachment(**changes: object) -> Registry:
    return replace(REGISTRY, attachments={"x": replace(ATTACHMENT, **changes)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: replace(REGISTRY),
        lambda: unit(label="other"),
        lambda: unit(applying=False, retired_on=date(2026, 1, 1)),
        lambda: attachment(label="other"),
        lambda: replace(REGISTRY, units=dict(reversed(REGISTRY.units.items()))),
    ],
)
def test_what_decides_nothing_about_an_instance_makes_no_difference(make: Callable[[], Registry]) -> None:
    assert fingerprint(make()) == fingerprint(REGISTRY)


@pytest.mark.parametrize(
    "make",
    [
        lambda: unit(kind=UnitKind.UPRIGHT),
        lambda: unit(installed_on=date(2020, 1, 1)),
        lambda: unit(phantom_patient_ids=("QC*",)),
        lambda: unit(phantom_words=("qc",)),
        lambda: unit(identities=(Identity(device_serial="1"),)),
        lambda: attachment(assignments=(Assignment(unit="a", last_day=date(2026, 1, 1)),)),
        lambda: attachment(attribute_maps=(AttributeMap(keyword="StationName", units={"A": "a"}),)),
        lambda: replace(REGISTRY, senders={}),
        lambda: replace(REGISTRY, rules=REGISTRY.rules[:1]),
        lambda: replace(REGISTRY, rules=REGISTRY.rules[::-1]),
        lambda: replace(REGISTRY, units={"a": UNIT}),
    ],
)
def test_what_decides_does(make: Callable[[], Registry]) -> None:
    assert fingerprint(make()) != fingerprint(REGISTRY)
    assert len(fingerprint(make())) == 16
