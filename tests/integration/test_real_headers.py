"""The header reader against real files of many makers and programs, with pydicom as the judge of values."""

import os
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue

from dicom_node.accreditation.cases import case_facts
from dicom_node.accreditation.pairs import Element, PairState
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Role, Signals, Stage
from dicom_node.dicom.case_facts import case_image
from dicom_node.dicom.datetimes import parse_da
from dicom_node.dicom.facts import Provenance, ReadInstance
from dicom_node.dicom.header import read_data_set, read_instance
from dicom_node.dicom.keys import KEYS
from dicom_node.dicom.part10 import read_meta
from dicom_node.dicom.streams import file_part
from dicom_node.errors import UnreadableInstanceError

REAL = Path(os.environ.get("DICOM_NODE_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data" / "real"))
# pydicom 3.0 leaves the escape sequence of GB 2312 in the text.
PYDICOM_DIFFERS = {("fo-dicom__chrGB2312.dcm", "PatientName")}
PROVENANCE = Provenance(
    calling_ae="REAL", called_ae="SBB_NODE", peer_address="", received_at=datetime(2026, 5, 4, tzinfo=UTC)
)


def files(*folders: str) -> list[Any]:
    found = sorted(path for folder in folders for path in (REAL / folder).glob("*"))
    absent = pytest.mark.skip(reason=f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in found] or [
        pytest.param(REAL, marks=absent, id="absent")
    ]


def read(path: Path) -> ReadInstance:
    with path.open("rb") as file:
        meta = read_meta(file)
        length = path.stat().st_size - meta.data_set_offset
        return read_instance(file, meta.data_set_offset, length, meta.transfer_syntax_uid, PROVENANCE)


def by_pydicom(path: Path) -> dict[str, str]:
    """Return what pydicom reads of the keys, in the form of facts."""
    texts: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = dcmread(path, stop_before_pixels=True)
        for key in KEYS:
            if key.stored and key.vr != "SQ" and key.keyword in ds:
                value = ds[key.keyword].value
                values = list(value) if isinstance(value, MultiValue) else ["" if value is None else value]
                joined = "\\".join(str(one).strip(" \0") for one in values)
                day = parse_da(joined) if key.vr == "DA" else None
                texts[key.keyword] = f"{day:%Y%m%d}" if day else joined
    return texts


@pytest.mark.parametrize("path", files("good", "conflict"))
def test_a_good_file_is_read_as_pydicom_reads_it(path: Path) -> None:
    # Delimiters of empty groups at the end of a name may be left out (PS3.5 6.2.1), and pydicom does.
    facts = read(path).facts
    expected = by_pydicom(path)
    differing = {
        keyword: (facts.get(keyword), text)
        for keyword, text in expected.items()
        if facts.get(keyword).rstrip("=^") != text.rstrip("=^") and (path.name, keyword) not in PYDICOM_DIFFERS
    }
    assert differing == {}
    assert facts.sop_instance_uid == expected["SOPInstanceUID"]
    assert facts.study_uid == expected["StudyInstanceUID"]


@pytest.mark.parametrize("path", files("good", "conflict", "nasty"))
def test_a_file_is_read_alike_however_much_of_it_is_in_memory(path: Path) -> None:
    def outcome(head: int) -> ReadInstance | str:
        try:
            return read_data_set(data[:head], len(data), read_at, meta.transfer_syntax_uid, PROVENANCE)
        except UnreadableInstanceError as error:
            return str(error)

    with path.open("rb") as file:
        try:
            meta = read_meta(file)
        except UnreadableInstanceError:
            return
        read_at = file_part(file, meta.data_set_offset)
        data = read_at(0, path.stat().st_size)
        expected = outcome(0)
        assert [head for head in (1, 500, 5_000, 50_000, len(data)) if outcome(head) != expected] == []


@pytest.mark.parametrize("path", files("good", "conflict"))
def test_the_dates_of_a_good_file_are_plausible(path: Path) -> None:
    signals = read(path).signals
    for candidate in signals.dates:
        assert candidate.day is not None or candidate.problem == "not a date"
        assert candidate.day is None or date(1950, 1, 1) <= candidate.day <= date(2026, 1, 1)


@pytest.mark.parametrize("path", files("nasty"))
def test_a_nasty_file_is_read_or_refused_and_nothing_else(path: Path) -> None:
    try:
        facts = read(path).facts
    except UnreadableInstanceError:
        return
    assert all(ord(character) >= 0x20 for text in facts.attributes.values() for character in text)


MAMMOGRAPHY = [
    # file, role, manufacturer, serial, station, first date with its source, stage with its source
    (
        "fo-dicom__GH133.dcm", Role.PRIMARY, "GE MEDICAL SYSTEMS", "10452020145105", "GESEN121",
        date(2015, 9, 29), "AcquisitionDate", None, "",
    ),
    (
        "openrem-sdist__MG-Im-GE_Seno_1_ForPresentation.dcm", Role.PRIMARY, "GE MEDICAL SYSTEMS", "87654", "MAMMOGE",
        date(2013, 4, 12), "AcquisitionDate", Stage.BIOPSY, "private GEMS_SENO_02",
    ),
    (
        "openrem-sdist__MG-Im-GE_Seno_1_ForProcessing.dcm", Role.PRIMARY, "GE MEDICAL SYSTEMS", "87654", "MAMMOGE",
        date(2013, 4, 12), "AcquisitionDate", Stage.BIOPSY, "private GEMS_SENO_02",
    ),
    (
        "openrem-sdist__MG-RDSR-Hologic_2D.dcm", Role.EVIDENCE, "HOLOGIC, Inc.", "765467656", "Dimensions",
        date(2015, 3, 22), "DateTimeStarted", None, "",
    ),
    (
        "openrem-sdist__CT-RDSR-GEPixelMed.dcm", Role.EVIDENCE, "GE MEDICAL SYSTEMS", "abcdef123456", "rt16",
        date(2013, 3, 13), "StartOfXRayIrradiation", None, "",
    ),
    (
        "openrem-sdist__DX-RDSR-Canon_CXDI.dcm", Role.EVIDENCE, "Canon Inc.", "cabd8dc7c6d6dab5db7", "CANONDaRt",
        date(2016, 8, 18), "DateTimeStarted", None, "",
    ),
    (
        "openrem-sdist__RF-RDSR-GE.dcm", Role.EVIDENCE, "GE Healthcare Surgery", "GEESPFPD012", "GESURGIFPD",
        date(2019, 3, 16), "DateTimeStarted", None, "",
    ),
    (
        "highdicom__dx_image.dcm", Role.PRIMARY, "FUJIFILM Corporation", "", "DEVO",
        date(2020, 1, 25), "AcquisitionDate", None, "",
    ),
    (
        "openrem-sdist__DX-Im-GE_XR220-1.dcm", Role.PRIMARY, "GE Healthcare", "", "01234MOB54",
        date(2014, 9, 30), "AcquisitionDateTime", None, "",
    ),
    (
        "openrem-sdist__CT-SC-Philips_Brilliance16P.dcm", Role.SECONDARY, "Philips", "", "PHILIPS-E71E3F0",
        date(2017, 5, 16), "AcquisitionDate", None, "",
    ),
]  # fmt: skip


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")
@pytest.mark.parametrize("row", MAMMOGRAPHY, ids=[row[0] for row in MAMMOGRAPHY])
def test_mammograms_and_dose_reports_tell_what_was_found_by_hand(row: tuple[Any, ...]) -> None:
    name, role, manufacturer, serial, station, day, source, stage, stage_source = row
    signals: Signals = read(REAL / "good" / name).signals
    assert signals.role is role
    assert (signals.manufacturer, signals.device_serial, signals.station_name) == (manufacturer, serial, station)
    assert (signals.stage, signals.stage_source) == (stage, stage_source)
    assert (signals.dates[0].day, signals.dates[0].source) == (day, source)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")
def test_the_screening_and_the_stereo_image_of_one_maker_differ_by_the_positioners_buffer() -> None:
    screening = read(REAL / "good" / "fo-dicom__GH133.dcm").facts
    stereo = read(REAL / "good" / "openrem-sdist__MG-Im-GE_Seno_1_ForPresentation.dcm").facts
    for facts in (screening, stereo):
        assert facts.get("GEMS_SENO_02:0045,06") == "0"
    assert screening.get("GEMS_SENO_02:0045,71") == ""
    assert stereo.get("GEMS_SENO_02:0045,71").startswith("Source:")
    assert stereo.get("ProtocolName") == "STEREO"


CASES = [
    # file, breast, view, side of the pair, burned-in text, what is missing; read by hand in the headers
    ("fo-dicom__GH133.dcm", "right", "MLO", None, False, []),  # 45 degrees are the oblique view, no stereotactic angle
    ("openrem-sdist__MG-Im-GE_Seno_1_ForPresentation.dcm", "left", "CC", None, False, ["operator"]),
    ("openrem-sdist__MG-Im-GE_Seno_1_ForProcessing.dcm", "left", "CC", None, False, ["operator"]),
    ("highdicom__dx_image.dcm", "left", "", None, False, ["operator", "view"]),
    ("openrem-sdist__DX-Im-GE_XR220-1.dcm", "not told", "", None, False, ["operator", "laterality", "view"]),
]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")
@pytest.mark.parametrize("row", CASES, ids=[row[0] for row in CASES])
def test_images_tell_of_a_case_what_was_found_by_hand(row: tuple[Any, ...]) -> None:
    name, *expected = row
    held = read(REAL / "good" / name)
    told = case_image(held, held.signals.dates[0].day)
    missing = [element for element in Element if element not in told.present]
    assert [told.laterality, told.view, told.side, told.burned_in, missing] == expected


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")
def test_one_stereotactic_exposure_in_two_presentations_is_no_pair() -> None:
    files = REAL / "good"
    both = [read(files / f"openrem-sdist__MG-Im-GE_Seno_1_{what}.dcm") for what in ("ForPresentation", "ForProcessing")]
    facts = case_facts([case_image(each, each.signals.dates[0].day) for each in both], Portion.CLINICAL)
    assert (facts.stages, facts.laterality, facts.missing) == ((Stage.BIOPSY,), "left", {Element.OPERATOR: 2})
    assert (facts.pair.state, facts.pair.reason) == (PairState.ABSENT, "no two images of one stage")


def test_every_element_the_reader_looks_for_has_the_vr_of_the_dictionary() -> None:
    assert all(dictionary_VR(key.tag) == key.vr for key in KEYS if key.stored)
