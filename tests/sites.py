"""A whole facility for tests: configuration, archive and index in a folder, and instances sent as the wire would."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import select

from dicom_node.dicom.facts import Provenance
from dicom_node.index.engine import Index
from dicom_node.index.tables import conflict, decision, exam, instance, name_word, rejection, release, series, study
from dicom_node.services.ingest import Received, Stored, ingest_instance
from dicom_node.settings import load_settings
from dicom_node.site import Site, Stores, open_stores
from tests.factories import encode

START = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
"""When the first instance is received, unless a test says otherwise: a Monday morning in Chicago."""

CONFIG = """\
config_version = 1
[facility]
name = "Synthetic Center"
time_zone = "America/Chicago"
[node]
port = {port}
[storage]
path = "data"
min_free = "1 MiB"
{database}
[units.prone1]
label = "Prone table, room 2"
kind = "prone"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.prone1.identity]]
ae_title = "PRONE_RM2"
host = "127.0.0.0/8"
device_serial = "PT-4471"
[units.upright_a]
label = "Upright A, room 4"
kind = "upright"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.upright_a.identity]]
ae_title = "UPRIGHT_A"
host = "127.0.0.0/8"
device_serial = "UA-1002"
[units.upright_b]
label = "Upright B, room 5"
kind = "upright"
[[units.upright_b.identity]]
ae_title = "UPRIGHT_B"
host = "127.0.0.0/8"
device_serial = "UB-1003"
[attachments.addon1]
label = "Add-on biopsy attachment"
[[attachments.addon1.assigned]]
unit = "upright_a"
[[attachments.addon1.assigned]]
unit = "upright_b"
[[attachments.addon1.identity]]
ae_title = "ADDON_WS"
host = "127.0.0.0/8"
[[attachments.addon1.attribute]]
keyword = "StationName"
map = {{ "UPR-A" = "upright_a", "UPR-B" = "upright_b" }}
[[rules]]
name = "room five"
unit = "upright_b"
[rules.when]
StationName = {{ equals = "ROOM-5" }}
InstitutionName = {{ equals = "Synthetic Annex" }}
[peers.pacs]
ae_title = "PACS"
host = "127.0.0.0/8"
allow = ["echo", "find"]
[log]
level = "warning"
{more}
"""
"""Three units, an attachment that two of them share, a rule, a peer; mails go to the folder ``outbox``."""

DERIVED = (study, name_word, series, instance, exam, rejection, conflict)
"""What a rebuild makes anew."""


def write_site(folder: Path, *, port: int = 11112, database: str = "", more: str = "") -> Path:
    """Write the facility's configuration and return its path; ``database`` is a URL, ``more`` further TOML."""
    path = folder / "dicom-node.toml"
    table = f'[database]\nurl = "{database}"' if database else ""
    path.write_text(CONFIG.format(port=port, database=table, more=more), encoding="utf-8")
    return path


@contextmanager
def opened_site(config: Path, environ: Mapping[str, str] | None = None) -> Iterator[Stores]:
    """Open archive and index of a configuration, made if they are missing."""
    with closing(open_stores(Site.of(load_settings(config, environ or {}).settings), create=True)) as stores:
        yield stores


def receive(stores: Stores, ds: Dataset, *, sender: str = "PRONE_RM2", at: datetime = START) -> Stored:
    """Take an instance in as if ``sender`` had sent it by C-STORE at a time."""
    provenance = Provenance(calling_ae=sender, called_ae="SBB_NODE", peer_address="127.0.0.1", received_at=at)
    with stores.archive.receive(
        sop_class_uid=ds.SOPClassUID,
        sop_instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        provenance=provenance,
    ) as incoming:
        incoming.write(encode(ds))
        received = Received(
            incoming=incoming,
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            provenance=provenance,
        )
        return ingest_instance(received, archive=stores.archive, indexer=stores.indexer)


def receive_all(stores: Stores, *several: tuple[Dataset, str]) -> list[Stored]:
    """Take instances in from their senders, a second apart."""
    return [
        receive(stores, ds, sender=sender, at=START + timedelta(seconds=number))
        for number, (ds, sender) in enumerate(several)
    ]


def derived_rows(index: Index) -> dict[str, list[dict[str, Any]]]:
    """Return every row that a rebuild makes anew, and what people decided; when an exam was reviewed is left out."""
    rows = {}
    with index.read() as conn:
        for table in (*DERIVED, decision, release):
            found = [dict(row) for row in conn.execute(select(table)).mappings()]
            for row in found:
                row.pop("reviewed_at", None)
            rows[table.name] = sorted(found, key=lambda row: [str(row[column.name]) for column in table.primary_key])
    return rows
