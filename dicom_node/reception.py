"""Receiving and answering on the wire in one process, whether that is the node's own or one beside it."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from socket import socket
from typing import Any

from dicom_node.dicom.facts import Provenance
from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.find import FindScp
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.receiver import Limits
from dicom_node.dimse.serving import AcceptedContext
from dicom_node.dimse.store import StoreScp
from dicom_node.services.audit import AssociationAudit, CallAudit
from dicom_node.services.find import FindLimits, FindService
from dicom_node.services.ingest import ingest_instance
from dicom_node.settings import Settings
from dicom_node.site import Site, Stores


class Reception:
    """Accepts connections to an open port and serves them from the stores."""

    def __init__(
        self, stores: Stores, port: socket, *, places: Places, own_title: str, now: Callable[[], datetime]
    ) -> None:
        """Compose it; nothing is accepted before ``start``. ``own_title`` is what the node's own check calls as."""
        self._stores = stores
        self._now = now
        settings = stores.site.settings
        find = FindService(
            index=stores.index,
            registry=lambda: self._site.registry,
            policy=lambda: self._site.rules.policy,
            today=lambda: self._site.day(self._now()),
            limits=FindLimits(matches=settings.node.limits.max_matches),
        )
        self._wire = Wire(
            access=_access(settings),
            contexts=ContextTable(settings.node.private_sop_classes),
            limits=_limits(settings),
            make_store=self._make_store,
            services={pdu.C_FIND_RQ: partial(FindScp, find=find.find, retrieve_ae=settings.node.ae_title[0])},
            now=now,
            audit=CallAudit(stores.archive.audit),
        )
        self._listener = Listener(port, wire=self._wire, places=places, own_title=own_title)

    @property
    def associations(self) -> int:
        """Number of associations under way."""
        return self._listener.associations

    @property
    def is_listening(self) -> bool:
        """Tell whether connections are accepted."""
        return self._listener.is_alive

    @property
    def is_well(self) -> bool:
        """Tell whether connections are accepted: all there is to it in one process."""
        return self.is_listening

    def start(self) -> None:
        """Accept connections from now on."""
        self._listener.start()

    def take(self, site: Site) -> None:
        """Work by another configuration from now on."""
        self._stores.site = site
        self._wire.access = _access(site.settings)
        self._wire.contexts = ContextTable(site.settings.node.private_sop_classes)
        self._wire.limits = _limits(site.settings)

    def stop(self, grace: float, hurry: threading.Event) -> None:
        """Stop accepting, let associations end for up to ``grace`` seconds or until ``hurry``, then cut them."""
        self._listener.stop(grace, hurry)
        self._wire.audit.end()

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

    @property
    def _site(self) -> Site:
        return self._stores.site


def capacity_of(settings: Settings) -> Capacity:
    """Return how many may be connected at once."""
    return Capacity(
        associations=settings.node.max_associations,
        connections=settings.node.limits.max_connections,
        connections_per_address=settings.node.limits.max_connections_per_address,
    )


def _access(settings: Settings) -> AccessList:
    return AccessList(settings.callers(), settings.node.ae_title)


def _limits(settings: Settings) -> Limits:
    limits = settings.node.limits
    return Limits(
        request=limits.association_request,
        unit=limits.pdu,
        idle=limits.idle,
        sending=limits.sending,
        maximum_length=limits.max_pdu,
    )
