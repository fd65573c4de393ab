"""What the service manager is told, by the protocol of sd_notify(3): datagrams to the socket it named.

Outside a service manager nothing is told and nothing fails. A manager that does not listen must not stop the node, so
every call reports by its result alone: True when the message left.
"""

import os
import socket
import time


def ready(status: str = "") -> bool:
    """Tell that the start, or a reload, is complete; ``status`` is one line for ``systemctl status``."""
    return _send("READY=1", _status(status))


def reloading() -> bool:
    """Tell that the configuration is being read again; `ready` must follow.

    Carries the monotonic time that services of ``Type=notify-reload`` have to give; older managers ignore it.
    """
    return _send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping(status: str = "") -> bool:
    """Tell that the node is on its way down."""
    return _send("STOPPING=1", _status(status))


def alive() -> bool:
    """Feed the watchdog. Only after the node has checked itself: a fed watchdog restarts nothing."""
    return _send("WATCHDOG=1")


def watchdog_seconds() -> float | None:
    """Return within how many seconds `alive` is expected again, or None when no watchdog waits for this process."""
    period, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not period.isdecimal() or int(period) == 0 or (process and process != str(os.getpid())):
        return None
    return int(period) / 1_000_000


def _status(text: str) -> str:
    line = " ".join(text.split())
    return f"STATUS={line}" if line else ""


def _send(*assignments: str) -> bool:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket: a name that is no file
    message = "\n".join(filter(None, assignments)).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(message, socket.MSG_DONTWAIT, address)
    except OSError:
        return False
    return True
