"""HTTP to addresses an operator configured: http and https alone, no redirects, an end in bounded time."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

from dicom_node.alerts.channels import time_limit

HTTP_TIMEOUT_S = 10.0
"""How long a single answer may take."""

HTTP_LIMIT_S = 30.0
"""How long a request may take in all, once connected."""


def request(
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str = "",
    timeout_s: float = HTTP_TIMEOUT_S,
    limit_s: float = HTTP_LIMIT_S,
) -> int:
    """GET ``url``, or POST ``body`` to it, and return the status; the answer's body is not read.

    A redirect is not followed: its status is returned. Proxies named in the environment are used. ``ca_file`` is a PEM
    file of the authorities that may vouch for the server, "" for those of the system. Raises ValueError for a URL that
    is not http or https, OSError or http.client.HTTPException when there is no answer.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError("only http and https addresses can be used")
    connections: list[HTTPConnection] = []
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "dicom-node")]
    # The handlers of redirects, errors, files and ftp that build_opener would add are left out.
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(_Http(connections))
    opener.add_handler(_Https(connections, ssl.create_default_context(cafile=ca_file or None)))
    wanted = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310 # scheme checked above
    try:
        with time_limit(limit_s, lambda: connections[-1].sock if connections else None):
            answer: HTTPResponse = opener.open(wanted, timeout=timeout_s)
            with answer:
                return answer.status
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from None


class _Http(urllib.request.HTTPHandler):
    """Opens http, keeping the connections it makes."""

    def __init__(self, connections: list[HTTPConnection]) -> None:
        super().__init__()
        self._connections = connections

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        def connect(host: str, **options: Any) -> HTTPConnection:
            self._connections.append(HTTPConnection(host, **options))
            return self._connections[-1]

        return self.do_open(connect, req)


class _Https(urllib.request.HTTPSHandler):
    """Opens https, keeping the connections it makes."""

    def __init__(self, connections: list[HTTPConnection], context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._connections = connections
        self._tls = context

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        def connect(host: str, **options: Any) -> HTTPConnection:
            self._connections.append(HTTPSConnection(host, context=self._tls, **options))
            return self._connections[-1]

        return self.do_open(connect, req)
