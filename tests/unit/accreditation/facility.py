"""A facility for the tests: a prone table, two uprights that share one add-on, a router and a specimen cabinet."""

from dataclasses import replace
from datetime import date
from ipaddress import ip_network
from typing import Any

from dicom_node.accreditation.signals import Role, Signals, Stage
from dicom_node.accreditation.units import (
    Assignment,
    Attachment,
    AttributeMap,
    Identity,
    Registry,
    Sender,
    SenderRole,
    Unit,
    UnitKind,
)

DAY = date(2026, 11, 20)


def identity(ae_title: str = "", host: str = "", **texts: str) -> Identity:
    return Identity(ae_title=ae_title, hosts=(ip_network(host),) if host else (), **texts)


PRONE = Unit(
    id="prone1",
    label="Prone table, room 2",
    kind=UnitKind.PRONE,
    identities=(identity("PRONE_RM2", "10.20.30.11", device_serial="PT-4471"),),
    phantom_patient_ids=("ACRPHANTOM*", "QC-?"),
    phantom_words=("sbbphantom",),
)
UPRIGHT_A = Unit(
    id="upright_a",
    label="Upright A, room 4",
    kind=UnitKind.UPRIGHT,
    identities=(
        identity(
            "UPRIGHT_A",
            "10.20.30.21",
            device_serial="UA-1002",
            detector_id="DET-A",
            station_name="UPR-A",
            institution="",
        ),
    ),
    phantom_patient_ids=("ACRPHANTOM*",),
)
UPRIGHT_B = Unit(
    id="upright_b",
    label="Upright B, room 5",
    kind=UnitKind.UPRIGHT,
    identities=(
        identity(
            "UPRIGHT_B",
            "10.20.30.22",
            device_serial="UB-1003",
            device_uid="1.2.3.4",
            station_name="UPR-B",
            institution="Example Center",
        ),
    ),
)
ADDON = Attachment(
    id="addon1",
    label="Add-on biopsy attachment",
    identities=(identity("ADDON_WS", "10.20.30.30"),),
    assignments=(
        Assignment(unit="upright_a", last_day=date(2026, 6, 30)),
        Assignment(unit="upright_a", first_day=date(2026, 11, 1)),
        Assignment(unit="upright_b", first_day=date(2026, 11, 15)),
    ),
)
PACS = Sender(id="main_pacs", role=SenderRole.ROUTER, identity=identity("MAIN_PACS", "10.20.30.5"))
CABINET = Sender(id="cabinet", role=SenderRole.SPECIMEN, identity=identity("SPECIMEN_XR", "10.20.30.40"))

ONE_UNIT_DAY = date(2026, 11, 10)
"""The add-on is assigned to upright_a alone."""
NO_UNIT_DAY = date(2026, 8, 1)
"""The add-on is assigned to nobody."""


def registry(**changes: Any) -> Registry:
    values: dict[str, Any] = {
        "units": {unit.id: unit for unit in (PRONE, UPRIGHT_A, UPRIGHT_B)},
        "attachments": {ADDON.id: ADDON},
        "senders": {PACS.id: PACS, CABINET.id: CABINET},
    }
    return Registry(**(values | changes))


def with_unit(unit: Unit, **changes: Any) -> Registry:
    """A registry in which one unit is changed or added."""
    base = registry(**changes)
    return replace(base, units={**base.units, unit.id: unit})


def with_maps(*maps: AttributeMap) -> Registry:
    return registry(attachments={ADDON.id: replace(ADDON, attribute_maps=maps)})


def image(**values: Any) -> Signals:
    """An acquired image, of which nothing is told but ``values``."""
    return Signals(**({"role": Role.PRIMARY} | values))


def sent_by(ae_title: str, address: str, **values: Any) -> Signals:
    return image(calling_ae=ae_title, peer_address=address, **values)


def from_prone(**values: Any) -> Signals:
    return sent_by("PRONE_RM2", "10.20.30.11", **values)


def from_a(**values: Any) -> Signals:
    return sent_by("UPRIGHT_A", "10.20.30.21", **values)


def from_addon(**values: Any) -> Signals:
    return sent_by("ADDON_WS", "10.20.30.30", **({"stage": Stage.PRE_FIRE} | values))


def from_pacs(**values: Any) -> Signals:
    return sent_by("MAIN_PACS", "10.20.30.5", **values)
