"""Synthetic studies for queries: instances that are a header alone, and the questions one asks about them.

A study has 12 or 13 instances in two series, a patient two studies, a day four studies. Every identifying text holds
``MARK`` once, at its first place, so that ``multiply`` can make further studies of them.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta

from benchmarks.finding import Query
from benchmarks.workloads import COMMON, MAMMOGRAM, UNITS, Batch, Instance, Workload, encode

MARK = "1000000"

LAST_DAY = date(2026, 6, 30)
STUDIES_A_DAY = 4
SCOUTS = 8
"""Instances of a study's first series."""

HEADER_ONLY = Workload("header", "a header alone", 20_000, 0, 0)

_FIRST_NAMES = ("ANNA", "CLARA", "ELSE", "EVA", "INGRID", "JULIA", "MARIA", "NINA", "OLGA", "RUTH")

_STUDY_KEYS = ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate", "StudyTime", "AccessionNumber")
_SERIES_KEYS = ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription")
_IMAGE_KEYS = ("SOPInstanceUID", "InstanceNumber", "SOPClassUID")

ALL_STUDIES = "all studies"
WEEK = "studies of one week"


def study_uid(study: int) -> str:
    """Return the Study Instance UID of a study by its number."""
    return f"2.25.{MARK}1{study:06d}"


def study_day(study: int) -> date:
    """Return the day of a study; the first is the newest."""
    return LAST_DAY - timedelta(days=study // STUDIES_A_DAY)


def instances_in(studies: int) -> int:
    """Return how many instances so many studies have."""
    return studies * 12 + studies // 2


def make_population(studies: int, *, per_study: int = 0) -> Batch:
    """Make the instances of so many studies, ``per_study`` in each (0: 12 or 13)."""
    instances = [each for study in range(studies) for each in _instances(study, per_study or 12 + study % 2)]
    return Batch(HEADER_ONLY, instances, b"")


def make_queries(studies: int) -> dict[str, list[Query]]:
    """Return fifty questions of each kind about studies that exist; of all studies one."""
    chosen = [random.Random(7).randrange(studies) for _ in range(50)]
    kinds: dict[str, list[Query]] = {
        WEEK: [_ask_studies(StudyDate=f"{_da(study_day(k) - timedelta(days=6))}-{_da(study_day(k))}") for k in chosen],
        "studies by Patient ID": [_ask_studies(PatientID=_patient_id(k)) for k in chosen],
        "studies by name, wildcard": [_ask_studies(PatientName=f"{_patient_id(k)}*") for k in chosen],
        "series of a study": [
            Query("SERIES", dict.fromkeys(_SERIES_KEYS, "") | {"StudyInstanceUID": study_uid(k)}) for k in chosen
        ],
        "images by series, station, date": [
            Query(
                "IMAGE",
                dict.fromkeys(_IMAGE_KEYS, "")
                | {
                    "StudyInstanceUID": study_uid(k),
                    "SeriesInstanceUID": _series_uid(k, 0),
                    "StationName": _station(k),
                    "AcquisitionDate": _da(study_day(k)),
                },
            )
            for k in chosen
        ],
        ALL_STUDIES: [_ask_studies()],
    }
    return kinds


def _ask_studies(**keys: str) -> Query:
    return Query("STUDY", dict.fromkeys(_STUDY_KEYS, "") | keys)


def _instances(study: int, count: int) -> Iterator[Instance]:
    day = _da(study_day(study))
    for number in range(count):
        series = int(number >= SCOUTS)
        sop_instance_uid = f"2.25.{MARK}3{study:06d}{number:03d}"
        time = f"{study % 10 + 8:02d}{study % 60:02d}{number:02d}"
        header = encode(
            {
                **COMMON,
                "ImageType": "ORIGINAL\\PRIMARY\\\\" + ("STEREO_SCOUT" if series == 0 else "STEREO_MINUS"),
                "SOPClassUID": MAMMOGRAM,
                "SOPInstanceUID": sop_instance_uid,
                **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), day),
                "StudyTime": f"{time[:4]}00",
                "AcquisitionTime": time,
                "AccessionNumber": f"{MARK}-{study:06d}",
                "StationName": _station(study),
                "SeriesDescription": ("SCOUT", "STEREO")[series],
                "PatientName": f"{_patient_id(study)}^{_FIRST_NAMES[study // 2 % len(_FIRST_NAMES)]}",
                "PatientID": _patient_id(study),
                "DeviceSerialNumber": f"SN{study % UNITS:04d}",
                "StudyInstanceUID": study_uid(study),
                "SeriesInstanceUID": _series_uid(study, series),
                "StudyID": f"{study:06d}",
                "SeriesNumber": str(series + 1),
                "InstanceNumber": str(number + 1),
            }
        )
        yield Instance(study_uid(study), _series_uid(study, series), sop_instance_uid, header)


def _series_uid(study: int, series: int) -> str:
    return f"2.25.{MARK}2{study:06d}{series}"


def _patient_id(study: int) -> str:
    return f"{MARK}-{study // 2:05d}"


def _station(study: int) -> str:
    return f"UNIT{study % UNITS:02d}"


def _da(day: date) -> str:
    return day.strftime("%Y%m%d")
