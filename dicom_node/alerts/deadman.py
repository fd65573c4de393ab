"""The dead man's switch: a ping after each good review, so that another service notices when they stop."""

from http.client import HTTPException

from dicom_node.alerts.channels import describe
from dicom_node.alerts.http import request
from dicom_node.logs import get_logger

log = get_logger(__name__)


def ping(url: str, *, ca_file: str = "") -> bool:
    """GET ``url`` and tell whether it answered 2xx; a failure is logged and is nobody else's problem."""
    try:
        status = request(url, ca_file=ca_file)
    except (OSError, HTTPException, ValueError) as error:
        log.warning("dead_man.failed", error=describe(error))
        return False
    if not 200 <= status < 300:
        log.warning("dead_man.failed", error=f"HTTP status {status}")
        return False
    return True
