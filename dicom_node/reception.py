"""Receiving and answering on the wire in one process, whether that is the node's own or one beside it."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from socket import socket
from typing import Any, Self

from dicom_node.dicom.facts import Provenance
from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Destination
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.commitment import CommitmentScp
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.dialogue import Patience
from dicom_node.dimse.find import FindScp
from dicom_node.dimse.get import GetScp
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.move import MoveScp
from dicom_node.dimse.port import answers, open_port
from dicom_node.dimse.serving import AcceptedContext
from dicom_node.dimse.store import StoreScp
from dicom_node.dimse.tls import server_context
from dicom_node.errors import CertificateError
from dicom_node.logs import get_logger
from dicom_node.services.audit import AssociationAudit, CallAudit
from dicom_node.services.find import FindLimits, FindService
from dicom_node.services.ingest import ingest_instance
from dicom_node.services.retrieve import RetrieveService
from dicom_node.services.strangers import Strangers
from dicom_node.settings import Settings
from dicom_node.settings.model import LimitsTable
from dicom_node.site import Site, Stores

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The sockets that are listened on, one at least."""

    plain: socket | None = None
    secure: socket | None = None
    """By TLS alone."""

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Take the addresses of a configuration. Raises NodeError when another program has one."""
        node, tls = settings.node, settings.node.tls
        plain = open_port((node.bind, node.port)) if tls is None or not tls.only else None
        try:
            return cls(plain=plain, secure=open_port((node.bind, tls.port)) if tls is not None else None)
        except BaseException:
            if plain is not None:
                plain.close()
            raise

    @classmethod
    def inherited(cls, files: tuple[int | None, int | None]) -> Self:
        """Take up the file descriptors of another process's ``files``."""
        plain, secure = (None if file is None else socket(fileno=file) for file in files)
        return cls(plain=plain, secure=secure)

    @property
    def files(self) -> tuple[int | None, int | None]:
        """File descriptors of the two."""
        plain, secure = (None if port is None else port.fileno() for port in (self.plain, self.secure))
        return plain, secure

    @property
    def numbers(self) -> tuple[int | None, int | None]:
        """TCP ports of the two."""
        plain, secure = (None if port is None else int(port.getsockname()[1]) for port in (self.plain, self.secure))
        return plain, secure

    def __iter__(self) -> Iterator[socket]:
        """Give those there are."""
        return (port for port in (self.plain, self.secure) if port is not None)

    def answer(self, own_title: str) -> bool:
        """Tell whether each answers the node's own check."""
        return all(answers(port, own_title, by_tls=port is self.secure) for port in self)

    def close(self) -> None:
        """Close them."""
        for port in self:
            port.close()


class Reception:
    """Accepts connections to open ports and serves them from the stores."""

    def __init__(
        self, stores: Stores, ports: Ports, *, places: Places, own_title: str, now: Callable[[], datetime]
    ) -> None:
        """Compose it; nothing is accepted before ``start``. ``own_title`` is what the node's own check calls as.

        Raises CertificateError.
        """
        self._stores = stores
        self._own_title = own_title
        self._now = now
        settings = stores.site.settings
        find = FindService(
            index=stores.index,
            registry=lambda: self._site.registry,
            policy=lambda: self._site.rules.policy,
            today=lambda: self._site.day(self._now()),
            zone=lambda: self._site.zone,
            limits=FindLimits(matches=settings.node.limits.max_matches),
        )
        retrieve = RetrieveService(index=stores.index, archive=stores.archive)
        self._wire = Wire(
            access=_access(stores.site),
            contexts=ContextTable(settings.node.private_sop_classes),
            limits=_limits(settings),
            make_store=self._make_store,
            services={
                pdu.C_FIND_RQ: partial(FindScp, find=find.find, retrieve_ae=settings.node.ae_title[0]),
                pdu.C_GET_RQ: partial(GetScp, select=retrieve.select, read=retrieve.read),
                pdu.C_MOVE_RQ: partial(
                    MoveScp,
                    select=retrieve.select,
                    read=retrieve.read,
                    destinations=self._destinations,
                    tls=lambda destination: self._site.tls_to(destination),  # noqa: PLW0108 - the site may be replaced
                    patience=lambda: patience_of(self._site.settings.node.limits),
                    places=threading.Semaphore(settings.node.max_associations),
                ),
                pdu.N_ACTION_RQ: partial(CommitmentScp, commitments=stores.commitments(now)),
            },
            now=now,
            audit=CallAudit(stores.archive.audit),
            note_stranger=Strangers(stores.index, now=now).called,
        )
        self._tls = self._server_context(settings)
        self._listeners = [
            Listener(
                port,
                wire=self._wire,
                places=places,
                own_title=own_title,
                tls=self._tls_in_force if port is ports.secure else None,
            )
            for port in ports
        ]

    @property
    def associations(self) -> int:
        """Number of associations under way."""
        return sum(listener.associations for listener in self._listeners)

    @property
    def is_listening(self) -> bool:
        """Tell whether connections are accepted, at each port."""
        return all(listener.is_alive for listener in self._listeners)

    @property
    def is_well(self) -> bool:
        """Tell whether connections are accepted: all there is to it in one process."""
        return self.is_listening

    def start(self) -> None:
        """Accept connections from now on."""
        for listener in self._listeners:
            listener.start()

    def take(self, site: Site) -> None:
        """Work by another configuration from now on, the certificates in its files included."""
        self._stores.site = site
        try:
            self._tls = self._server_context(site.settings)
        except CertificateError as error:  # they were good a moment ago, when the node looked at them
            log.error("tls.not_renewed", reason=str(error))
        self._wire.access = _access(site)
        self._wire.contexts = ContextTable(site.settings.node.private_sop_classes)
        self._wire.limits = _limits(site.settings)

    def stop(self, grace: float, hurry: threading.Event) -> None:
        """Stop accepting, let associations end for up to ``grace`` seconds or until ``hurry``, then cut them."""
        closing = [threading.Thread(target=listener.stop, args=(grace, hurry)) for listener in self._listeners]
        for each in closing:
            each.start()
        for each in closing:
            each.join()
        self._wire.audit.end()

    def _server_context(self, settings: Settings) -> ssl.SSLContext | None:
        tls = settings.node.tls
        return None if tls is None else server_context(tls.files(), self._own_title)

    def _tls_in_force(self) -> ssl.SSLContext:
        assert self._tls is not None, "a port for TLS is opened by a configuration of it, which a reload keeps"
        return self._tls

    def _make_store(
        self,
        *,
        contexts: Mapping[int, AcceptedContext],
        caller: Provenance,
        draining: Callable[[], bool],
        audit: AssociationAudit,
        log: Any,
    ) -> StoreScp:
        stores = self._stores
        return StoreScp(
            contexts=contexts,
            caller=caller,
            archive=stores.archive,
            ingest=lambda received: ingest_instance(received, archive=stores.archive, indexer=stores.indexer),
            now=self._now,
            draining=draining,
            maximum_data_set=stores.site.settings.node.limits.max_data_set,
            audit=audit,
            log=log,
        )

    def _destinations(self) -> tuple[Destination, ...]:
        return self._site.settings.destinations()

    @property
    def _site(self) -> Site:
        return self._stores.site


def capacity_of(settings: Settings) -> Capacity:
    """Return how many may be connected at once."""
    limits = settings.node.limits
    return Capacity(
        associations=settings.node.max_associations,
        associations_per_address=limits.max_associations_per_address,
        associations_per_ae_title=limits.max_associations_per_ae_title,
        connections=limits.max_connections,
        connections_per_address=limits.max_connections_per_address,
        kept=limits.kept,
        patience=limits.waiting,
    )


def _access(site: Site) -> AccessList:
    return AccessList(site.callers, site.settings.node.ae_title)


def _limits(settings: Settings) -> Limits:
    limits = settings.node.limits
    return Limits(
        request=limits.association_request,
        longest_request=limits.max_association_request,
        handshake=limits.tls_handshake,
        unit=limits.pdu,
        idle=limits.idle,
        sending=limits.sending,
        maximum_length=limits.max_pdu,
    )


def patience_of(limits: LimitsTable) -> Patience:
    """Return how long destinations of C-MOVE are waited for: as long as callers are."""
    return Patience(answer=limits.association_request, response=limits.idle, sending=limits.sending)
