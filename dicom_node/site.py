"""What one configuration makes of the rooms: the values and objects that the node and the commands work with."""

import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import URL

from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.units import Registry
from dicom_node.alerts.channels import Channel
from dicom_node.alerts.folder import FolderChannel
from dicom_node.alerts.log import LogChannel
from dicom_node.alerts.notice import Site as Speaker
from dicom_node.alerts.smtp import SmtpChannel
from dicom_node.alerts.webhook import WebhookChannel
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.audit_message import AuditSource
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES
from dicom_node.dimse.access import Caller, Destination
from dicom_node.dimse.tls import client_context
from dicom_node.errors import CertificateError, IndexDamagedError, StorageUnavailableError
from dicom_node.index import state
from dicom_node.index.engine import Index, open_index
from dicom_node.index.sqlite import set_aside
from dicom_node.logs import get_logger
from dicom_node.services.cases import CaseDecisions
from dicom_node.services.commitment import Commitments
from dicom_node.services.conflicts import ConflictDecisions
from dicom_node.services.decisions import ExamDecisions
from dicom_node.services.found import CertificateEnd, Rules
from dicom_node.services.ingest import Indexer
from dicom_node.services.policies import choose_in_force
from dicom_node.settings import Settings, certificates_in
from dicom_node.settings.channels import SmtpChannelTable, WebhookChannelTable
from dicom_node.settings.secrets import read_secret

log = get_logger(__name__)

ARCHIVE_ID = "archive_id"
"""Name of the node's fact that tells which archive the index belongs to."""


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Site:
    """One configuration, and what follows from it. Replaced as a whole when the configuration is read again."""

    settings: Settings
    registry: Registry
    rules: Rules
    channels: Sequence[Channel]
    speaker: Speaker
    callers: tuple[Caller, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Site":
        """Make it. Raises ConfigError when a secret cannot be read."""
        registry, callers = settings.registry(), settings.callers()
        return cls(
            settings=settings,
            registry=registry,
            rules=Rules(
                registry=registry,
                policy=settings.policy(),
                ladders=settings.ladders(),
                milestone_ladder=settings.accreditation.remind.milestones,
                certificates=_certificates(settings),
                zone=settings.facility.time_zone,
                listed=frozenset(caller.ae_title for caller in callers),
            ),
            channels=_channels(settings),
            speaker=Speaker(
                facility=settings.facility.name, ae_title=settings.node.ae_title[0], zone=settings.facility.time_zone
            ),
            callers=callers,
        )

    def under(self, policy: Policy) -> "Site":
        """Return the same with standings worked out by another policy than the configured one."""
        return replace(self, rules=replace(self.rules, policy=policy))

    @property
    def unaccepted_policy(self) -> Policy | None:
        """The configured policy, when standings are worked out by another because nobody accepted it."""
        configured = self.settings.policy()
        return None if configured.judges_like(self.rules.policy) else configured

    @property
    def zone(self) -> ZoneInfo:
        """The facility's zone."""
        return self.settings.facility.time_zone

    @property
    def audit_source(self) -> AuditSource:
        """Who the audit messages come from."""
        return AuditSource(ae_title=self.settings.node.ae_title[0], facility=self.settings.facility.name)

    @property
    def labels(self) -> dict[str, str]:
        """Everyday names of the units by id."""
        return {unit.id: unit.label for unit in self.registry.units.values()}

    def day(self, at: datetime) -> date:
        """Return the facility's calendar day of an aware time."""
        return at.astimezone(self.zone).date()

    def tls_to(self, destination: Destination) -> ssl.SSLContext | None:
        """Return what a call to a destination is encrypted by, from the files as they are now; None for nothing.

        To be used with the address that is called as the server's host name. Raises CertificateError.
        """
        if not destination.tls:
            return None
        tls = self.settings.node.tls
        if tls is None:
            raise CertificateError(f"{destination.name} is called by TLS, and [node.tls] is not in the configuration")
        return client_context(tls.files(), destination.certificates)


@dataclass(slots=True)
class Stores:
    """The archive and the index of one node, opened together; ``site`` may be replaced while they are open."""

    site: Site
    archive: LocalArchive
    index: Index

    @property
    def indexer(self) -> Indexer:
        """What works out instances by the configuration in force."""
        return Indexer(
            index=self.index,
            registry=lambda: self.site.registry,
            local_day=lambda at: self.site.day(at),  # noqa: PLW0108 - the site may be replaced
        )

    def decisions(self) -> ExamDecisions:
        """Return the decisions of people about exams."""
        return ExamDecisions(archive=self.archive, indexer=self.indexer)

    def cases(self) -> CaseDecisions:
        """Return the decisions of people about exams as cases."""
        return CaseDecisions(archive=self.archive, indexer=self.indexer)

    def conflicts(self) -> ConflictDecisions:
        """Return the decisions of people about instances with several contents."""
        return ConflictDecisions(archive=self.archive, indexer=self.indexer)

    def commitments(self, now: Callable[[], datetime] = utc_now) -> Commitments:
        """Return the requests for storage commitment."""
        return Commitments(index=self.index, archive=self.archive, is_storage=self._is_storage, now=now)

    def _is_storage(self, sop_class_uid: str) -> bool:
        return sop_class_uid in STORAGE_SOP_CLASSES or sop_class_uid in self.site.settings.node.private_sop_classes

    def close(self) -> None:
        """Close both."""
        self.index.close()
        self.archive.close()


def open_stores(site: Site, *, create: bool = False, renew: bool = False) -> Stores:
    """Open the archive and the index, and make sure that they belong together.

    Standings are worked out by the policy that was accepted for the archive.

    ``create`` makes a new archive where the storage folder is missing or empty and the index knows of none; without it
    such a folder is taken for a volume that is not mounted. ``renew`` is for making the index anew: no other process
    may use it, and a damaged SQLite file is set aside for an empty one.

    Raises StorageUnavailableError, also when another process does not let it be, DatabaseError, OperatorError.
    """
    storage = site.settings.storage
    url = site.settings.database_url()
    with contextlib.ExitStack() as undo:

        def use(archive: LocalArchive) -> LocalArchive:
            undo.enter_context(archive)
            archive.claims.use(alone=renew)
            return archive

        vacant = create and _is_vacant(storage.path)
        archive = None
        if not vacant:
            archive = use(LocalArchive.open(storage.path, min_free_bytes=storage.min_free))
        elif _is_inside(url, storage.path):
            # The index would be made inside the folder, which must be empty for a new archive.
            archive = use(LocalArchive.create(storage.path, min_free_bytes=storage.min_free))
        index = undo.enter_context(contextlib.closing(_open_index(url, renew=renew)))
        with index.read() as conn:
            known = state.get(conn, ARCHIVE_ID)
        if archive is None:
            make = LocalArchive.create if known is None else LocalArchive.open
            archive = use(make(storage.path, min_free_bytes=storage.min_free))
        if known is None:
            if not renew and next(archive.objects(), None) is not None:
                raise IndexDamagedError(
                    f"the archive at {storage.path} holds objects and the index knows nothing of it: the index was "
                    "lost, or the database URL is another; make it again by: dicom-node rebuild"
                )
            with index.write() as conn:
                state.put(conn, ARCHIVE_ID, archive.archive_id)
        elif known != archive.archive_id:
            raise StorageUnavailableError(
                f"the archive at {storage.path} is not the one this index belongs to: "
                "mount the right volume, or give the node a database of its own"
            )
        undo.pop_all()
        return Stores(site.under(choose_in_force(site.settings.policy(), archive.journal)), archive, index)


def join_stores(site: Site, archive_id: str) -> Stores:
    """Open the archive and the index that another process of this node has open, and has made sure of.

    Raises StorageUnavailableError when the archive is not that of ``archive_id``, DatabaseError.
    """
    storage = site.settings.storage
    with contextlib.ExitStack() as undo:
        archive = undo.enter_context(
            LocalArchive.open(storage.path, min_free_bytes=storage.min_free, expected_id=archive_id)
        )
        archive.claims.use()
        url = site.settings.database_url().render_as_string(hide_password=False)
        index = undo.enter_context(contextlib.closing(open_index(url, is_ready=True)))
        undo.pop_all()
    return Stores(site, archive, index)


def _open_index(url: URL, *, renew: bool) -> Index:
    text = url.render_as_string(hide_password=False)
    try:
        return open_index(text)
    except IndexDamagedError as error:
        if not renew or url.get_backend_name() != "sqlite":
            raise
        aside = set_aside(url)
        log.warning("index.set_aside", path=str(aside), reason=str(error))
    return open_index(text)


def _is_vacant(folder: Path) -> bool:
    return not folder.is_dir() or not any(folder.iterdir())


def _is_inside(url: URL, folder: Path) -> bool:
    """Tell whether the index is a file in the storage folder."""
    return url.get_backend_name() == "sqlite" and folder in Path(url.database or "").absolute().parents


def _certificates(settings: Settings) -> tuple[CertificateEnd, ...]:
    tls, zone = settings.node.tls, settings.facility.time_zone
    return tuple(
        CertificateEnd(
            key=key,
            subject=each.subject,
            fingerprint=each.fingerprint,
            ends=each.ends.astimezone(zone).date(),
        )
        for key, each in (certificates_in(tls.files()) if tls is not None else ())
    )


def _channels(settings: Settings) -> list[Channel]:
    """Make the configured channels; without any, messages become files under ``outbox`` in the storage folder."""
    channels: list[Channel] = []
    for table in settings.alerts.channel:
        if isinstance(table, SmtpChannelTable):
            channels.append(
                SmtpChannel(
                    name=table.name,
                    host=table.host,
                    port=table.port,
                    sender=table.sender,
                    recipients=table.to,
                    security=table.security,
                    username=table.username or "",
                    password=read_secret(table.password_file) if table.password_file else "",
                    ca_file=str(table.ca_file or ""),
                    min_severity=table.min_severity,
                )
            )
        elif isinstance(table, WebhookChannelTable):
            channels.append(
                WebhookChannel(
                    name=table.name,
                    url=table.url,
                    secret=read_secret(table.secret_file) if table.secret_file else "",
                    ca_file=str(table.ca_file or ""),
                    min_severity=table.min_severity,
                )
            )
        else:
            channels.append(LogChannel(name=table.name, min_severity=table.min_severity))
    return channels or [FolderChannel(name="outbox", folder=settings.storage.path / "outbox")]
