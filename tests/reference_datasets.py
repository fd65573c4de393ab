"""What C-FIND should find, worked out from the original data sets by the words of PS3.4 C.2.2.2.

The second opinion on queries: it reads pydicom data sets and identifiers, and knows nothing of the product's header
reader, index, SQL or matching. Wild cards become regular expressions, dates and times become pairs of moments, fuzzy
names are compared by a table of edit distances and by sounds made with regular expressions.
"""

import calendar
import copy
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

RELATIONAL, DATE_TIME, FUZZY, ZONE, CONVERSION, EMPTY, MULTIPLE = range(7)

UIDS = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
LEVELS = list(UIDS)
OF_PATIENT = {"PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"}
OF_STUDY = OF_PATIENT | {
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
    "ReferringPhysicianName", "ModalitiesInStudy", "SOPClassesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
}  # fmt: skip
OF_SERIES = {
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDate", "SeriesTime", "SeriesDescription", "StationName",
    "DeviceSerialNumber", "Manufacturer", "NumberOfSeriesRelatedInstances",
}  # fmt: skip
FROM_BELOW = {"StationName", "DeviceSerialNumber", "Modality", "AcquisitionDate", "UnitID", "AcquisitionDay"}
"""What studies and series are asked for by what stands in one of their images."""
IDENTIFYING = {*UIDS.values(), "UnitID", "AcquisitionDay"}
"""Where a value that is not known matches nothing."""
SEVERAL = {"ModalitiesInStudy", "SOPClassesInStudy", "ImageType", "Modality"}
PAIRS = {
    "StudyDate": "StudyTime", "SeriesDate": "SeriesTime", "AcquisitionDate": "AcquisitionTime",
    "ContentDate": "ContentTime",
}  # fmt: skip
OWN_KEYS = {0x01: "UnitID", 0x05: "AcquisitionDay"}
NO_KEYS = {"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC"}


@dataclass(frozen=True)
class Facility:
    """What is known beside the data sets: the unit of each serial number, and the zone of the facility."""

    units: Mapping[str, str]
    zone: tzinfo


@dataclass
class Thing:
    """A patient, study, series or image: the data set received first, and all of them."""

    first: Dataset
    all: list[Dataset] = field(default_factory=list)


def expected(
    received: Sequence[Dataset], facility: Facility, identifier: Dataset, negotiated: frozenset[int]
) -> list[tuple[str, ...]]:
    """Return the UIDs, from the study down, of what an identifier finds; of patients their IDs. In order."""
    level = str(identifier.QueryRetrieveLevel)
    found = []
    asked = _Asked(received, facility, identifier, negotiated, level)
    for key, thing in things(received, level).items():
        # A patient is what some study of it says.
        if any(map(asked.finds, things(thing.all, "STUDY").values() if level == "PATIENT" else [thing])):
            found.append(key)
    return sorted(found)


def things(received: Sequence[Dataset], level: str) -> dict[tuple[str, ...], Thing]:
    """Return everything of a level that was received, by its UIDs from the study down."""
    names = ["PatientID"] if level == "PATIENT" else [UIDS[each] for each in LEVELS[1 : LEVELS.index(level) + 1]]
    found: dict[tuple[str, ...], Thing] = {}
    for ds in received:
        key = tuple(str(ds[name].value or "") for name in names)
        found.setdefault(key, Thing(ds)).all.append(ds)
    return found


class _Asked:
    def __init__(
        self,
        received: Sequence[Dataset],
        facility: Facility,
        identifier: Dataset,
        negotiated: frozenset[int],
        level: str,
    ) -> None:
        self.received, self.facility, self.negotiated, self.level = received, facility, negotiated, level
        offset = str(identifier.get("TimezoneOffsetFromUTC") or "")
        self.zone = _offset(offset) if offset and ZONE in negotiated else None
        self.keys = dict(_keys(identifier))

    def finds(self, thing: Thing) -> bool:
        below = {name for name in self.keys if self._is_from_below(name)}
        own = self.keys.keys() - below
        if DATE_TIME in self.negotiated:
            for date, time in PAIRS.items():
                if {date, time} <= own and _form(self.keys[date]) == _form(self.keys[time]) != "single":
                    own -= {date, time}
                    if not self._moment_lies_within(thing, date, time):
                        return False
        if not all(self._fits(name, self._values(thing, name)) for name in own):
            return False
        narrowing = {name for name in below if str(self.keys[name]).strip("*")}
        return not narrowing or any(
            all(self._fits(name, self._values_of_image(ds, name)) for name in narrowing) for ds in thing.all
        )

    def _is_from_below(self, name: str) -> bool:
        if self.level not in {"STUDY", "SERIES"} or name not in FROM_BELOW:
            return False
        return not (self.level == "SERIES" and name in OF_SERIES)

    def _source(self, thing: Thing, name: str) -> Dataset:
        """Return the data set that says what a study, series or image has."""
        if name in OF_STUDY and self.level != "PATIENT":
            uid = thing.first.StudyInstanceUID
            return next(ds for ds in self.received if ds.StudyInstanceUID == uid)
        if name in OF_SERIES and self.level == "IMAGE":
            uids = thing.first.StudyInstanceUID, thing.first.SeriesInstanceUID
            return next(ds for ds in self.received if (ds.StudyInstanceUID, ds.SeriesInstanceUID) == uids)
        return thing.first

    def _values(self, thing: Thing, name: str) -> Any:
        study = [ds for ds in self.received if ds.StudyInstanceUID == thing.first.StudyInstanceUID]
        series = [ds for ds in study if ds.SeriesInstanceUID == thing.first.SeriesInstanceUID]
        match name:
            case "ModalitiesInStudy":
                return sorted({ds.Modality for ds in study})
            case "SOPClassesInStudy":
                return sorted({ds.SOPClassUID for ds in study})
            case "NumberOfStudyRelatedSeries":
                return [str(len({ds.SeriesInstanceUID for ds in study}))]
            case "NumberOfStudyRelatedInstances":
                return [str(len(study))]
            case "NumberOfSeriesRelatedInstances":
                return [str(len(series))]
            case "NumberOfPatientRelatedStudies":
                return [str(len({ds.StudyInstanceUID for ds in thing.all}))]
            case "UnitID" | "AcquisitionDay":
                return self._values_of_image(thing.first, name)
        ds = self._source(thing, name)
        if self.zone is not None:
            ds = _in_zone(ds, self.zone, self.facility.zone)
        return _texts(ds, name)

    def _values_of_image(self, ds: Dataset, name: str) -> list[str]:
        if name == "UnitID":
            unit = self.facility.units.get(str(ds.get("DeviceSerialNumber", "")))
            return [unit] if unit else []
        if name == "AcquisitionDay" or (name == "AcquisitionDate" and self.level != "IMAGE"):
            return _performed(ds)
        return _texts(ds, name)

    def _fits(self, name: str, stored: Any) -> bool:
        key = self.keys[name]
        if isinstance(key, Dataset):
            return any(_item_fits(key, item) for item in stored)
        if not key.strip("*"):
            return True
        if key == '""' and EMPTY in self.negotiated:
            return not any(stored)
        if not any(stored):
            return name not in IDENTIFYING and not self._is_from_below(name)
        wanted = key.split("\\") if name in SEVERAL or name.endswith("UID") else [key]
        found = [any(self._value_fits(name, want, value) for value in stored) for want in wanted]
        # Multiple value matching is a logical AND, of attributes with a value multiplicity above one (C.2.2.2.8).
        return all(found) if MULTIPLE in self.negotiated and name in {"ModalitiesInStudy", "ImageType"} else any(found)

    def _value_fits(self, name: str, key: str, stored: str) -> bool:
        if name.endswith("UID") or name == "SOPClassesInStudy":
            return key == stored
        if name.startswith("NumberOf") or name in {"SeriesNumber", "InstanceNumber", "Rows", "Columns"}:
            return int(key) == int(stored)
        if name.endswith(("Date", "Day")):
            return _lies_within(key, stored, _day)
        if name.endswith("DateTime"):
            return _lies_within(key, stored, lambda text: _date_time(text, self.zone), _ends_of_date_times)
        if name.endswith("Time"):
            return _lies_within(key, stored, _time)
        if name.endswith("Name") and name != "StationName":
            if FUZZY in self.negotiated and not re.search(r"\?|\*(?!$|[\s^=])", key):
                return _sounds_alike(key, stored)
            return _name_fits(key, stored)
        return _pattern(key).fullmatch(stored) is not None

    def _moment_lies_within(self, thing: Thing, date: str, time: str) -> bool:
        (days,), (times,) = (self._values(thing, name) or [""] for name in (date, time))
        if not days:
            return True
        first, last = _day(days)
        if times:
            first = last = first + (_time(times)[0] - _time("000000")[0])
        (low_day, high_day), (low_time, high_time) = (_ends(self.keys[name]) for name in (date, time))
        midnight = _time("000000")[0]
        if low_day and last < _day(low_day)[0] + (_time(low_time)[0] - midnight):
            return False
        return not (high_day and first > _day(high_day)[0] + (_time(high_time)[1] - midnight))


def _keys(identifier: Dataset) -> Iterator[tuple[str, Any]]:
    for element in identifier:
        if element.tag.group == 0x0079:
            if element.tag.element > 0xFF:
                yield OWN_KEYS[element.tag.element & 0xFF], _text(element.value)
        elif element.VR == "SQ":
            if len(element.value):
                yield element.keyword, element.value[0]
        elif element.keyword not in NO_KEYS:
            yield element.keyword, _text(element.value)


def _text(value: Any) -> str:
    if isinstance(value, MultiValue | list):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def _texts(ds: Dataset, name: str) -> Any:
    value = ds.get(name)
    if value is None or value == "":
        return []
    if name.endswith("Sequence"):
        return list(value)
    # Of an attribute that has one value, a backslash is a character of it.
    return [str(each) for each in value] if name in SEVERAL and isinstance(value, MultiValue) else [_text(value)]


def _performed(ds: Dataset) -> list[str]:
    """Return the day on which an image was acquired, or the first event that a report tells of."""
    told = _texts(ds, "AcquisitionDate") or _texts(ds, "AcquisitionDateTime")
    for event in ds.get("ContentSequence", []):
        told += [str(item.DateTime) for item in event.get("ContentSequence", []) if "DateTime" in item]
    return [text[:8] for text in told[:1]]


def _item_fits(key: Dataset, item: Dataset) -> bool:
    for element in key:
        stored = item.get(element.keyword)
        if element.VR == "SQ":
            if len(element.value) and not any(_item_fits(element.value[0], each) for each in stored or []):
                return False
        elif element.value and stored and not _pattern(_text(element.value)).fullmatch(str(stored)):
            return False
    return True


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(
        "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in key), re.DOTALL
    )


# Person names.


def _groups(name: str) -> list[str]:
    return [group.rstrip("^").casefold() for group in name.split("=")]


def _name_fits(key: str, stored: str) -> bool:
    wanted, groups = _groups(key), _groups(stored)
    if len(wanted) == 1:
        return any(group and _group_fits(wanted[0], group) for group in groups)
    groups += [""] * (len(wanted) - len(groups))
    return all(_group_fits(want, group) for want, group in zip(wanted, groups, strict=False) if want.strip("*"))


def _group_fits(want: str, group: str) -> bool:
    # Components that are left out at the end are empty ones.
    return any(_pattern(want).fullmatch(group + "^" * count) for count in range(5))


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(each for each in decomposed if not 0x300 <= ord(each) <= 0x36F and each not in "'’.")
    for special, plain in (("ø", "o"), ("ł", "l"), ("æ", "ae")):
        letters = letters.replace(special, plain)
    return unicodedata.normalize("NFC", letters)


def _words(text: str) -> list[str]:
    return re.sub(r"[\W_]", " ", _fold(text)).split()


def _sounds_alike(key: str, stored: str) -> bool:
    names = _words(stored)
    for part in re.split(r"[\^=\s]", key):
        words = _words(part.rstrip("*"))
        for word in words:
            is_open = part.endswith("*") and word is words[-1]
            if not any(_word_fits(word, name, is_open) for name in names):
                return False
    return True


def _word_fits(word: str, name: str, is_open: bool) -> bool:
    if word == name or (name.startswith(word) and (is_open or len(word) > 2)):
        return True
    if re.search("[^a-z]", word + name):
        return False
    sound = _sound(word)
    if sound == _sound(name) and len(sound.strip("0")) > 1:
        return True
    return len(word) > 4 and len(name) > 4 and word[0] == name[0] and _distance(word, name) == 1


def _sound(word: str) -> str:
    """Return the Soundex of a word with no letter kept and nothing cut; a vowel at the beginning is 0."""
    coded = "#" + word[1:] if word[0] in "aeiouyhw" else word
    coded = coded.replace("h", "").replace("w", "")
    for letters, digit in (("bfpv", "1"), ("cgjkqsxz", "2"), ("dt", "3"), ("l", "4"), ("mn", "5"), ("r", "6")):
        coded = re.sub(f"[{letters}]+", digit, coded)
    return re.sub("[aeiouy]", "", coded).replace("#", "0")


def _distance(a: str, b: str) -> int:
    """Return the number of edits, swapping two neighbours being one (optimal string alignment)."""
    table = [[max(i, j) if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 2 : i] == b[j - 2 : j][::-1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


# Dates and times: the first and the last moment that a text may mean.

Moments = tuple[datetime, datetime]
_TICK = timedelta(microseconds=1)


def _day(text: str) -> Moments:
    first = datetime.strptime(text.replace(".", ""), "%Y%m%d")  # noqa: DTZ007 # as it is written
    return first, first + timedelta(days=1) - _TICK


def _time(text: str) -> Moments:
    return _moments("20000101" + text.replace(":", ""))


def _date_time(text: str, zone: timedelta | None) -> Moments:
    match = re.fullmatch(r"([\d.]+)([+-]\d{4})?", text)
    assert match is not None
    first, last = _moments(match[1])
    # Moments of one query are compared in UTC where offsets are known, else as they are written.
    offset = _offset(match[2]) if match[2] else zone or timedelta(0)
    return first - offset, last - offset


def _moments(digits: str) -> Moments:
    whole, _, fraction = digits.partition(".")
    year, month, day, hour, minute, second = (
        int(whole[at:end] or missing)
        for at, end, missing in ((0, 4, 1), (4, 6, 1), (6, 8, 1), (8, 10, 0), (10, 12, 0), (12, 14, 0))
    )  # fmt: skip
    first = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 # as it is written
    first += timedelta(seconds=float("0." + (fraction or "0")))
    if fraction:
        return first, first + timedelta(seconds=10.0 ** -len(fraction)) - _TICK
    days = {4: 366 if calendar.isleap(year) else 365, 6: calendar.monthrange(year, month)[1], 8: 1}
    lengths = {length: timedelta(days=number) for length, number in days.items()}
    lengths |= {10: timedelta(hours=1), 12: timedelta(minutes=1), 14: timedelta(seconds=1)}
    return first, first + lengths[len(whole)] - _TICK


def _ends(key: str) -> list[str]:
    """Split a range; the ends of a single value are the value."""
    if "-" not in key:
        return [key, key]
    low, _, high = key.partition("-")
    return [low, high]


def _ends_of_date_times(key: str) -> list[str]:
    """Split a range of date-times of a day at least, where a hyphen may begin an offset."""
    if re.fullmatch(r"[\d.]+([+-]\d{4})?", key):
        return [key, key]
    match = re.fullmatch(r"([\d.]*(?:[+-]\d{4}(?=-))?)-([\d.]*(?:[+-]\d{4})?)", key)
    assert match is not None, key
    return [match[1], match[2]]


def _form(key: str) -> str:
    if "-" not in key:
        return "single"
    low, high = _ends(key)
    return f"{bool(low)}-{bool(high)}"


def _lies_within(key: str, stored: str, moments: Any, ends: Any = _ends) -> bool:
    low, high = ends(key)
    first, _ = moments(stored)
    return (not low or moments(low)[0] <= first) and (not high or first <= moments(high)[1])


# Time zones.


def _offset(text: str) -> timedelta:
    return (1 if text[0] == "+" else -1) * timedelta(hours=int(text[1:3]), minutes=int(text[3:]))


def _in_zone(ds: Dataset, zone: timedelta, home: tzinfo) -> Dataset:
    """Return the dates and times of a data set as clocks in ``zone`` showed them."""
    moved = copy.deepcopy(ds)
    written = str(ds.get("TimezoneOffsetFromUTC") or "")
    own = timezone(_offset(written)) if written else home
    for date, time in PAIRS.items():
        if ds.get(date) and ds.get(time):
            text = str(ds[time].value)
            moment = _moments(str(ds[date].value) + text)[0].replace(tzinfo=own).astimezone(timezone(zone))
            moved.update({date: f"{moment:%Y%m%d}", time: f"{moment:%H%M%S.%f}"[: max(len(text), 4)]})
    if ds.get("AcquisitionDateTime"):
        match = re.fullmatch(r"([\d.]+)([+-]\d{4})?", str(ds.AcquisitionDateTime))
        assert match is not None
        its_own = timezone(_offset(match[2])) if match[2] else own
        moment = _moments(match[1])[0].replace(tzinfo=its_own).astimezone(timezone(zone))
        moved.AcquisitionDateTime = f"{moment:%Y%m%d%H%M%S.%f}"[: len(match[1])] + f"{moment:%z}"
    return moved


def uids(found: Iterable[Dataset], level: str) -> list[tuple[str, ...]]:
    """Return the UIDs of answers, from the study down, or the IDs of patients; in order."""
    names = ["PatientID"] if level == "PATIENT" else [UIDS[each] for each in LEVELS[1 : LEVELS.index(level) + 1]]
    return sorted(tuple(str(ds[name].value or "") for name in names) for ds in found)
