"""What a query should find, worked out again from the entries alone and in another way than the product does.

Keys become regular expressions; dates and times are compared as padded digits; nothing here knows of SQL or of the
product's matching. Only keys of one value per attribute, as the tests that use it ask them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dicom_node.index.record import Entry
from tests.entries import exam_of

UIDS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
PATIENT_KEYS = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID")
STUDY_KEYS = (
    *PATIENT_KEYS, "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
    "ReferringPhysicianName", "ModalitiesInStudy", "SOPClassesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
SERIES_KEYS = (
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "StationName", "DeviceSerialNumber",
    "Manufacturer", "NumberOfSeriesRelatedInstances",
)  # fmt: skip
FROM_BELOW = {"StationName", "DeviceSerialNumber", "Modality", "AcquisitionDate", "UnitID", "AcquisitionDay", "Portion"}
NEVER_UNKNOWN = {*UIDS.values(), "PatientID", "UnitID", "AcquisitionDay", "Portion"}


@dataclass
class Seen:
    """One study, series or instance: its own values, and those of its instances."""

    own: dict[str, str]
    instances: list[dict[str, str]] = field(default_factory=list)


def expected(entries: Sequence[Entry], level: str, keys: Mapping[str, str]) -> set[str]:
    """Return the UIDs of ``level`` that a query for ``keys`` finds."""
    found = set()
    for uid, seen in _entities(entries, level).items():
        below = {name for name in keys if name in FROM_BELOW and name not in seen.own and level != "IMAGE"}
        if all(
            _fits(name, keys[name], seen.own.get(name, ""), name not in NEVER_UNKNOWN) for name in keys.keys() - below
        ) and (
            not any(keys[name].strip("*") for name in below)
            or any(all(_fits(name, keys[name], each.get(name, ""), False) for name in below) for each in seen.instances)
        ):
            found.add(uid)
    return found


def _entities(entries: Sequence[Entry], level: str) -> dict[str, Seen]:
    oldest_first = sorted(entries, key=lambda entry: entry.provenance.received_at)
    studies: dict[str, dict[str, str]] = {}
    series: dict[str, dict[str, str]] = {}
    for entry in oldest_first:
        studies.setdefault(entry.facts.study_uid, _of_study(entries, entry))
        series.setdefault(entry.facts.series_uid, _of_series(entries, entry))
    entities: dict[str, Seen] = {}
    for entry in oldest_first:
        instance = _of_instance(entries, entry)
        own = dict(studies[entry.facts.study_uid])
        if level != "STUDY":
            own |= series[entry.facts.series_uid]
        if level == "IMAGE":
            own |= instance
        seen = entities.setdefault(own[UIDS[level]], Seen(own))
        day = entry.derivation.performed.day
        seen.instances.append(
            instance | series[entry.facts.series_uid] | {"AcquisitionDate": f"{day:%Y%m%d}" if day else ""}
        )
    return entities


def _of_study(entries: Iterable[Entry], entry: Entry) -> dict[str, str]:
    same = [each for each in entries if each.facts.study_uid == entry.facts.study_uid]
    return {name: entry.facts.get(name) for name in STUDY_KEYS} | {
        "StudyInstanceUID": entry.facts.study_uid,
        "ModalitiesInStudy": "\\".join({each.facts.get("Modality") for each in same}),
        "SOPClassesInStudy": "\\".join({each.facts.sop_class_uid for each in same}),
        "NumberOfStudyRelatedSeries": str(len({each.facts.series_uid for each in same})),
        "NumberOfStudyRelatedInstances": str(len(same)),
    }


def _of_series(entries: Iterable[Entry], entry: Entry) -> dict[str, str]:
    same = [each for each in entries if each.facts.series_uid == entry.facts.series_uid]
    return {name: entry.facts.get(name) for name in SERIES_KEYS} | {
        "SeriesInstanceUID": entry.facts.series_uid,
        "NumberOfSeriesRelatedInstances": str(len(same)),
    }


def _of_instance(entries: Iterable[Entry], entry: Entry) -> dict[str, str]:
    values = {name: text for name, text in entry.facts.attributes.items() if name not in (*STUDY_KEYS, *SERIES_KEYS)}
    unit = getattr(entry.derivation.attribution, "unit", "")
    of_exam: dict[str, int] = defaultdict(int)
    for each in entries:
        if exam_of(each) == exam_of(entry) and each.derivation.portion is not None:
            of_exam[each.derivation.portion.portion.value.upper()] += 1
    day = entry.derivation.performed.day
    return values | {
        "SOPInstanceUID": entry.facts.sop_instance_uid,
        "SOPClassUID": entry.facts.sop_class_uid,
        "UnitID": unit,
        "Portion": next(iter(of_exam), ""),  # the entries of these tests have one portion an exam
        "AcquisitionDay": f"{day:%Y%m%d}" if day else "",
    }


def _fits(name: str, key: str, stored: str, unknown_fits: bool) -> bool:
    if key.strip("*") == "":
        return True
    if stored == "":
        return unknown_fits
    if name.endswith("UID") or name == "SOPClassesInStudy":
        return bool(set(key.split("\\")) & set(stored.split("\\")))
    if name.startswith("NumberOf") or name in {"SeriesNumber", "InstanceNumber", "Rows"}:
        return int(key) == int(stored)
    if name.endswith(("Date", "Day")):
        return _digits_fit(key, stored, 8)
    if name.endswith("Time"):
        return _digits_fit(key, stored, 12)
    if name in {"PatientName", "ReferringPhysicianName"}:
        return _name_fits(key.lower(), stored.lower())
    if name in {"ModalitiesInStudy", "ImageType", "Modality"}:
        return any(re.fullmatch(_pattern(part), value) for part in key.split("\\") for value in stored.split("\\"))
    return re.fullmatch(_pattern(key), stored, re.DOTALL) is not None


def _pattern(key: str) -> str:
    return "".join(".*" if character == "*" else "." if character == "?" else re.escape(character) for character in key)


def _digits_fit(key: str, stored: str, width: int) -> bool:
    low, dash, high = key.partition("-")
    high = high if dash else low
    stored = stored.replace(".", "").replace(":", "").ljust(width, "0")
    return low.replace(".", "").ljust(width, "0") <= stored and (
        not high or stored <= high.replace(".", "").ljust(width, "9")
    )


def _name_fits(key: str, stored: str) -> bool:
    groups = [group.rstrip("^") for group in stored.split("=")]
    if "=" not in key:
        return any(group and re.fullmatch(_pattern(key.rstrip("^")), group) for group in groups)
    wanted = key.split("=")
    groups += [""] * (len(wanted) - len(groups))
    return all(
        not want.strip("*") or re.fullmatch(_pattern(want), group) for want, group in zip(wanted, groups, strict=False)
    )
