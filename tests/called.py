"""A peer for the node to call, made of the library."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.dicom.uids import STORAGE_SOP_CLASSES
from tests.raw_peer import EXPLICIT, IMPLICIT

COMMITMENT = "1.2.840.10008.1.20.1"


@contextlib.contextmanager
def peer(
    handlers: Iterable[tuple[Any, Callable[..., Any]]] = (),
    *,
    tls: ssl.SSLContext | None = None,
    maximum: int = 16382,
    roles: dict[str, tuple[bool, bool]] | None = None,
) -> Iterator[int]:
    """A node of the library that takes everything; gives its port."""
    ae = AE("PEER")
    ae.maximum_pdu_size = maximum
    models = (
        PatientRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
        StudyRootQueryRetrieveInformationModelMove,
    )
    for syntax in (Verification, *STORAGE_SOP_CLASSES, *models, COMMITMENT):
        scu, scp = (roles or {}).get(str(syntax), (None, None))
        ae.add_supported_context(syntax, [EXPLICIT, IMPLICIT], scu_role=scu, scp_role=scp)
    server = ae.make_server(("127.0.0.1", 0), evt_handlers=list(handlers), ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        BaseServer.shutdown(server)  # the library's own looks for the server where start_server noted it
        thread.join()
        server.server_close()
