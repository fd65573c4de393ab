"""The kinds of values a configuration holds, each read from text that people write and checked once.

Every reader raises ValueError with what is wrong and what to write instead; the text goes to the operator as it is.
"""

import difflib
import importlib.util
import os
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, StrictBool, StrictInt, ValidationInfo
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d)")
_DURATION_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_KEYWORD = re.compile(r"[A-Z][A-Za-z0-9]+(\.[A-Z][A-Za-z0-9]+)?")
_PRIVATE_KEY = re.compile(r"[^:\\]{1,64}:[0-9A-Fa-f]{4},[0-9A-Fa-f]{2}")

ASSOCIATION_FIELDS = ("calling_ae", "called_ae", "peer_address")
"""What a rule may look at besides the attributes of a header."""
_MAIL_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[A-Za-z0-9.-]+")
_CERTIFICATE_NAME = re.compile(r"[!-~]([ -~]{0,62}[!-~])?")
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


def read_size(value: object) -> int:
    """Read a number of bytes from text such as ``20 GiB``."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'not a size (got {value!r}); write a number with B, KiB, MiB, GiB or TiB, such as "20 GiB"')
    return round(float(found[1]) * _SIZE_UNITS[found[2]])


def read_seconds(value: object) -> float:
    """Read a span of time above zero from text such as ``30 s``; the result is in seconds."""
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError(
            f'not a span of time above zero (got {value!r}); write a number with s, min, h or d, such as "30 s"'
        )
    return float(found[1]) * _DURATION_UNITS[found[2]]


def read_workers(value: object) -> int | str:
    """Read a number of processes, or ``auto``."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64):
        assert isinstance(value, int | str)
        return value
    raise ValueError(f'neither "auto" nor a whole number from 1 to 64 (got {value!r}); write "auto"')


def read_ae_title(value: object) -> str:
    """Read an AE title (PS3.5 6.2, VR AE): 1 to 16 characters, spaces around it without meaning, case kept."""
    if not isinstance(value, str):
        raise ValueError(f'not text (got {value!r}); write the AE title in quotes, such as "PRONE_RM2"')  # noqa: TRY004 - pydantic reports ValueError
    title = value.strip(" ")
    if not title:
        raise ValueError("empty; write the 1 to 16 characters of the AE title")
    if len(title) > 16:
        raise ValueError(f"{len(title)} characters, DICOM allows 16 (got {title!r})")
    if any(not " " <= char <= "~" or char == "\\" for char in title):
        raise ValueError(
            f"an AE title has printable ASCII characters only, and no backslash (got {title!r}); write it as the "
            "device shows it"
        )
    return title


def read_list(value: object) -> object:
    """Let one value stand for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def read_network(value: object) -> IPv4Network | IPv6Network:
    """Read an IP address or a network in CIDR form."""
    if isinstance(value, str):
        try:
            return ip_network(value.strip())
        except ValueError:
            pass
        try:
            wider = ip_network(value.strip(), strict=False)
        except ValueError:
            pass
        else:
            raise ValueError(f"{value!r} is an address inside a network; write the address alone or {str(wider)!r}")
    raise ValueError(
        f'not an IP address or network (got {value!r}); write an address such as "10.20.30.11" or a network such as '
        '"10.20.30.0/24" (names are not looked up)'
    )


def read_bind(value: object) -> str:
    """Read the address to listen on."""
    try:
        return str(ip_address(value)) if isinstance(value, str) else str(ip_address(""))
    except ValueError:
        raise ValueError(
            f'not an IP address (got {value!r}); write "127.0.0.1" for this machine alone, "0.0.0.0" for every IPv4 '
            'address, "::" for every IPv6 address, or one address of this machine'
        ) from None


def read_address(value: object) -> str:
    """Read the address of another machine."""
    try:
        return str(ip_address(value)) if isinstance(value, str) else str(ip_address(""))
    except ValueError:
        raise ValueError(
            f'not an IP address (got {value!r}); write such as "10.20.30.5" (names are not looked up)'
        ) from None


def read_certificate(value: object) -> str:
    """Read what a certificate is known by: a name in it, or ``sha256:`` and its fingerprint."""
    text = value.strip() if isinstance(value, str) else ""
    kind, colon, digits = text.partition(":")
    if colon and kind.lower() == "sha256":
        digits = digits.replace(":", "").lower()
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            return f"sha256:{digits}"
    elif _CERTIFICATE_NAME.fullmatch(text):
        return text
    raise ValueError(
        f"names no certificate (got {value!r}); write its common name or a DNS name in it, or sha256: and the 64 "
        "digits of its fingerprint"
    )


def read_day(value: object) -> date:
    """Read a calendar date."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError(f"not a calendar date (got {value!s}); write year-month-day without a time, such as 2026-03-01")


def read_clock(value: object) -> time:
    """Read a time of day in hours and minutes."""
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'not a time of day (got {value!s}); write hours and minutes, such as "06:00"')
    return time(int(found[1]), int(found[2]))


def read_hours(value: object) -> tuple[time, time]:
    """Read a stretch of each day, ``19:00-06:30``: the first minute is in it, the last is not."""
    first, dash, last = value.partition("-") if isinstance(value, str) else ("", "", "")
    if dash and _CLOCK.fullmatch(first.strip()) and _CLOCK.fullmatch(last.strip()):
        hours = read_clock(first.strip()), read_clock(last.strip())
        if hours[0] != hours[1]:
            return hours
    raise ValueError(f'not a stretch of the day (got {value!s}); write two times, such as "19:00-06:30"')


def read_zone(value: object) -> ZoneInfo:
    """Read the name of a time zone."""
    if isinstance(value, str) and value in available_timezones():
        return ZoneInfo(value)
    near = difflib.get_close_matches(str(value), available_timezones(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else 'write a name such as "America/Chicago"'
    raise ValueError(f"no such time zone (got {value!r}); {hint}")


def read_path(value: object, info: ValidationInfo) -> Path:
    """Read a path; a relative one starts at the folder of the configuration file, and ``$NAME`` is filled in.

    A variable that is not set stays as it is written: ``unset_variable`` finds it.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"not a path (got {value!r}); write a path in quotes")
    context: Mapping[str, Any] = info.context or {}
    environ: Mapping[str, str] = context.get("environ", {})
    filled = _VARIABLE.sub(lambda found: environ.get(found[1].strip("{}"), found[0]), value)
    return Path(filled) if unset_variable(filled) else _below(info, filled)


def _below(info: ValidationInfo, path: str) -> Path:
    context: Mapping[str, Any] = info.context or {}
    return Path(os.path.normpath(Path(context.get("folder", ".")) / path))


def read_database_url(value: object, info: ValidationInfo) -> str:
    """Read the URL of a database. A relative SQLite file starts at the folder of the configuration file.

    The messages never repeat the URL, because people put passwords there.
    """
    try:
        url = make_url(value if isinstance(value, str) else "")
    except ArgumentError:
        raise ValueError(
            'not a database URL; write such as "postgresql://dicom_node@db.example.org/dicom_node" or '
            '"sqlite:////var/lib/dicom-node/node.db"'
        ) from None
    if url.password is not None or "password" in url.query:
        raise ValueError("has a password in it; leave it out and name its file in database.password_file")
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise ValueError('the index needs a file to live in; write such as "sqlite:////var/lib/dicom-node/node.db"')
        url = url.set(database=str(_below(info, url.database)))
    elif backend != "postgresql":
        raise ValueError(f"{backend} is no database of this program; write a URL of sqlite or postgresql")
    elif url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(f"{url.drivername} is a driver this program does not use; write postgresql://")
    elif importlib.util.find_spec("psycopg") is None:
        raise ValueError("the PostgreSQL driver is not installed; install dicom-node[postgres]")
    return url.render_as_string(hide_password=False)


def unset_variable(path: str | Path) -> str:
    """Return the variable a path still holds because the environment does not set it; "" when it holds none."""
    found = _VARIABLE.search(str(path))
    return found[0] if found else ""


def check_uid(value: str) -> str:
    """Check a UID (PS3.5 9.1)."""
    from dicom_node.dicom.uids import is_uid  # noqa: PLC0415 - brings in pynetdicom, which only this rare key needs

    if not is_uid(value):
        raise ValueError(f"not a UID (got {value!r}); write numbers joined by dots, 64 characters at most")
    return value


def check_id(value: str) -> str:
    """Check the id of a unit, attachment, sender, peer or policy."""
    if not _ID.fullmatch(value):
        raise ValueError(f"{value!r} is no id; write 1 to 32 letters, digits, '_' and '-', such as \"upright_a\"")
    return value


def check_attribute(value: str) -> str:
    """Check the name of what a rule looks at: a keyword, a private element, or a field of the association."""
    if value in ASSOCIATION_FIELDS or _KEYWORD.fullmatch(value):
        return value
    if _PRIVATE_KEY.fullmatch(value):
        creator, _, tag = value.rpartition(":")
        return f"{creator}:{tag.upper()}"
    raise ValueError(
        f"{value!r} names no attribute; write a keyword such as StationName, a private element such as "
        f'"IMS s.r.l. Biopsy Private Code:1269,01", or {", ".join(ASSOCIATION_FIELDS)}'
    )


def check_word(value: str) -> str:
    """Check a word that marks a phantom: one whole token, as names and descriptions are cut into."""
    if not value or any(not char.isalnum() for char in value):
        raise ValueError(f"{value!r} is not one word; write letters and digits only, one word an entry")
    return value


def check_pattern(value: str) -> str:
    """Check a shell pattern on a Patient ID: one that every id fits would make every exam a phantom."""
    if not value.strip("*? "):
        raise ValueError(f'{value!r} fits every Patient ID; write what the phantom\'s ids begin with, such as "ACRPH*"')
    return value


def check_text(value: str) -> str:
    """Check a text for people: something to read, on one line."""
    if not value.strip() or any(ord(char) < 0x20 or char == "\x7f" for char in value):
        raise ValueError("empty, or more than one line; write one line of text")
    return value.strip()


def check_mail_address(value: str) -> str:
    """Check an e-mail address: one, without a display name."""
    if not _MAIL_ADDRESS.fullmatch(value):
        raise ValueError(f'not an e-mail address (got {value!r}); write such as "biopsy-ops@example.org"')
    return value


def check_ladder(value: tuple[int, ...]) -> tuple[int, ...]:
    """Check a ladder of reminders: days before, each smaller than the one before it."""
    if not value or value[-1] < 1 or any(later >= earlier for earlier, later in pairwise(value)):
        raise ValueError("not a falling row of days above zero; write such as [60, 30, 14, 7, 3, 1]")
    return value


def read_condition(value: object) -> object:
    """Let a plain text stand for a condition of equality."""
    if isinstance(value, str):
        return {"equals": value}
    if not isinstance(value, dict):
        raise ValueError(f'not text (got {value!r}); write it in quotes, or a condition such as {{ folded = "upr-a" }}')  # noqa: TRY004 - pydantic reports ValueError
    return value


def check_span(first_day: date | None, last_day: date | None) -> None:
    """Raise ValueError for days, both included, that run backwards; None is open."""
    if first_day and last_day and last_day < first_day:
        raise ValueError(f"to {last_day} is before from {first_day}; mend one of them")


def check_regex(value: str) -> str:
    """Check that a regular expression is one."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}); mend it, or write the whole value instead") from None
    return value


Whole = StrictInt
Flag = StrictBool
Text = Annotated[str, AfterValidator(check_text)]
Id = Annotated[str, AfterValidator(check_id)]
Size = Annotated[int, BeforeValidator(read_size)]
Seconds = Annotated[float, BeforeValidator(read_seconds)]
Workers = Annotated[int | Literal["auto"], BeforeValidator(read_workers)]
AeTitle = Annotated[str, BeforeValidator(read_ae_title)]
AeTitles = Annotated[tuple[AeTitle, ...], BeforeValidator(read_list)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(read_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(read_list)]
Address = Annotated[str, BeforeValidator(read_address)]
Certificates = Annotated[tuple[Annotated[str, BeforeValidator(read_certificate)], ...], BeforeValidator(read_list)]
Bind = Annotated[str, BeforeValidator(read_bind)]
Day = Annotated[date, BeforeValidator(read_day)]
Clock = Annotated[time, BeforeValidator(read_clock)]
Hours = Annotated[tuple[time, time], BeforeValidator(read_hours)]
Zone = Annotated[ZoneInfo, BeforeValidator(read_zone)]
DatabaseUrl = Annotated[str, BeforeValidator(read_database_url)]
FilePath = Annotated[Path, BeforeValidator(read_path)]
Uid = Annotated[str, AfterValidator(check_uid)]
AttributeName = Annotated[str, AfterValidator(check_attribute)]
Word = Annotated[str, AfterValidator(check_word)]
Pattern = Annotated[str, AfterValidator(check_pattern)]
Ladder = Annotated[tuple[Whole, ...], AfterValidator(check_ladder)]
