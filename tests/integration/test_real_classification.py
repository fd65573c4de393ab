"""What the rules make of real files, held against what a person found in their headers with ``dcmdump``.

Each file is taken as made on a prone table, where every patient image is a biopsy image, and on an upright unit, where
only an image with a biopsy stage is. The last word of a row names the attribute that decides. Names are those of the
files' manifest.
"""

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from dicom_node.accreditation.attribution import Attributed, Unattributed
from dicom_node.accreditation.derive import Derivation, derive
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import Identity, Registry, Rule, Unit, UnitKind
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.header import read_instance
from dicom_node.dicom.part10 import read_meta
from dicom_node.dicom.uids import DOSE_REPORTS

REAL = Path(os.environ.get("DICOM_NODE_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data" / "real"))
GOOD = REAL / "good"
PROVENANCE = Provenance(
    calling_ae="REAL", called_ae="SBB_NODE", peer_address="", received_at=datetime(2026, 5, 4, tzinfo=UTC)
)
pytestmark = pytest.mark.skipif(not GOOD.is_dir(), reason=f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")


class Kind(NamedTuple):
    """What a file is: its role, its stage, and portion and rule on either kind of unit, "" for none."""

    role: Role
    stage: str
    prone: tuple[str, str]
    upright: tuple[str, str]


_BUFFER = ("clinical", "biopsy stage in private GEMS_SENO_02")
_PATIENT = ("clinical", "patient image on a prone table")
_NO_STAGE = ("neither", "image without a biopsy stage on an upright unit")
_NONE = ("", "")

STEREO = Kind(Role.PRIMARY, "biopsy", _BUFFER, _BUFFER)
"""An acquired image with evidence of a stereotactic biopsy."""
IMAGE = Kind(Role.PRIMARY, "", _PATIENT, _NO_STAGE)
"""An acquired image without: of a class that may be an exam's."""
REPORT = Kind(Role.EVIDENCE, "", _NONE, _NONE)
"""A radiation dose report."""
OTHER = Kind(Role.SECONDARY, "", _NONE, _NONE)
"""Anything else: kept and found, counted toward nothing."""

MODIFIED = tuple(
    f"{each}: dates were modified" for each in ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")
)


def later(source: str) -> tuple[str, ...]:
    """The study was dated after the image: the image's day counts, and is flagged."""
    return (f"StudyDate is more than a day after {source}: {source} counts",)


def earlier(source: str) -> tuple[str, ...]:
    """The study was dated before the image: its day counts, and is flagged."""
    return (f"StudyDate is more than a day before {source}: the study date counts",)


TABLE: list[tuple[str, Kind, str, str, tuple[str, ...], str]] = [
    # file, what it is, day, its source, flags of the day, why
    (
        "fo-dicom__GH133", IMAGE, "2015-09-29", "AcquisitionDate", (),
        "MG for presentation, ImageType value 3 empty, no buffer in (0045,xx71): a screening mammogram",
    ),
    (
        "openrem-sdist__MG-Im-GE_Seno_1_ForPresentation", STEREO, "2013-04-12", "AcquisitionDate", (),
        "(0045,xx71) of GEMS_SENO_02 begins with Source:, ImageType value 3 empty",
    ),
    (
        "openrem-sdist__MG-Im-GE_Seno_1_ForProcessing", STEREO, "2013-04-12", "AcquisitionDate", (),
        "FOR PROCESSING of the same exposure: the same buffer",
    ),
    (
        "openrem-sdist__MG-RDSR-Hologic_2D", REPORT, "2015-03-22", "DateTimeStarted", (),
        "111526 20150322124745 of the first event; Bilateral Mammography is no stage",
    ),
    (
        "openrem-sdist__CT-RDSR-GEPixelMed", REPORT, "2013-03-13", "StartOfXRayIrradiation", (),
        "113809 20130313085900; a protocol named RADIOTHERAPY QA makes no phantom",
    ),
    (
        "openrem-sdist__DX-RDSR-Canon_CXDI", REPORT, "2016-08-18", "DateTimeStarted", (),
        "111526 20160818192617; protocol THORAX AP is no stage",
    ),
    (
        "openrem-sdist__RF-RDSR-GE", REPORT, "2019-03-16", "DateTimeStarted", (),
        "first of eight 111526, though ContentDate is 20190327",
    ),
    (
        "highdicom__dx_image", IMAGE, "2020-01-25", "AcquisitionDate", (),
        "DX for presentation, SeriesDescription CHEST, protocol RT",
    ),
    (
        "openrem-sdist__DX-Im-GE_XR220-1", IMAGE, "2014-09-30", "AcquisitionDateTime", (),
        "DX for processing, AcquisitionDateTime 20140930141133",
    ),
    (
        "orthanc-tests__Issue56-NoPixelData", IMAGE, "2020-03-20", "AcquisitionDateTime", (),
        "DX, AcquisitionDateTime 20200320081022, QualityControlImage NO",
    ),
    ("orthanc-tests__CR000000", IMAGE, "", "", (), "CR without any date"),
    (
        "wg04__RG2_J2KI", IMAGE, "1997-03-14", "AcquisitionDate", later("AcquisitionDate"),
        "CR; AcquisitionDate 19970314, StudyDate 20040826",
    ),
    (
        "wg04__RG2_J2KR", IMAGE, "1997-03-14", "AcquisitionDate", later("AcquisitionDate"),
        "CR; AcquisitionDate 19970314, StudyDate 20040826",
    ),
    (
        "wg04__RG2_JLSL", IMAGE, "1997-03-14", "AcquisitionDate", later("AcquisitionDate"),
        "CR; AcquisitionDate 19970314, StudyDate 20040826",
    ),
    (
        "wg04__RG2_JLSN", IMAGE, "1997-03-14", "AcquisitionDate", later("AcquisitionDate"),
        "CR; AcquisitionDate 19970314, StudyDate 20040826",
    ),
    (
        "wg04__RG2_JPLL", IMAGE, "1997-03-14", "AcquisitionDate", later("AcquisitionDate"),
        "CR; AcquisitionDate 19970314, StudyDate 20040826",
    ),
    (
        "wg04__RG2_JPLY", IMAGE, "1997-03-14", "AcquisitionDate", later("AcquisitionDate"),
        "CR; AcquisitionDate 19970314, StudyDate 20040826",
    ),
    ("pydicom-wheel__6154", IMAGE, "2001-01-01", "AcquisitionDate", (), "CR, SeriesDescription Cervical LAT"),
    ("pydicom-wheel__6247", IMAGE, "2001-01-01", "AcquisitionDate", (), "CR, SeriesDescription Cervical OBLI 1"),
    ("pydicom-wheel__6278", IMAGE, "2001-01-01", "AcquisitionDate", (), "CR, SeriesDescription Cervical OBLI 2"),
    ("pydicom-wheel__chrJapMulti", IMAGE, "2008-05-04", "AcquisitionDate", (), "CR, SeriesDescription Chest PA PA"),
    ("pydicom-wheel__chrKoreanMulti", IMAGE, "2008-05-04", "AcquisitionDate", (), "CR, SeriesDescription Chest PA PA"),
    (
        "dcm4che__CT-JPEGLosslessSV1", OTHER, "2005-05-24", "ContentDate", (),
        "CT; no AcquisitionDate, ContentDate 20050524",
    ),
    ("dcm4che__MR01", OTHER, "2017-07-16", "ContentDate", (), "MR; no AcquisitionDate, ContentDate 20170716"),
    ("dcm4che__MR02", OTHER, "2017-07-16", "ContentDate", (), "MR; no AcquisitionDate, ContentDate 20170716"),
    ("dcm4che__MR03", OTHER, "2017-07-16", "ContentDate", (), "MR; no AcquisitionDate, ContentDate 20170716"),
    ("dcm4che__MR04", OTHER, "2017-07-16", "ContentDate", (), "MR; no AcquisitionDate, ContentDate 20170716"),
    (
        "dcm4che__NM-MONO2-16-13x-heart", OTHER, "1993-11-24", "AcquisitionDate", (),
        "NM; AcquisitionDate 1993.11.24, the form of ACR-NEMA; ContentDate 1995.05.30",
    ),
    ("dcm4che__YBR_FULL-RLE", OTHER, "2016-10-17", "ContentDate", (), "US; no AcquisitionDate, ContentDate 20161017"),
    (
        "dcm4che__report_dfl", OTHER, "", "", (),
        "Enhanced SR: a document has no day of its own, though ContentDate is 20001110",
    ),
    ("dicom__1", OTHER, "", "", MODIFIED, "PT; LongitudinalTemporalInformationModified MODIFIED: no date is true"),
    ("dicom__2", OTHER, "", "", MODIFIED, "PT; LongitudinalTemporalInformationModified MODIFIED: no date is true"),
    ("dwv__sr-circle", OTHER, "", "", (), "Comprehensive 3D SR: a document"),
    ("dwv__sr-ruler", OTHER, "", "", (), "Comprehensive 3D SR: a document"),
    (
        "fo-dicom__1403-OB", OTHER, "2016-11-09", "StudyDate", earlier("DateOfSecondaryCapture"),
        "OT; DateOfSecondaryCapture 20220616 long after StudyDate 20161109",
    ),
    ("fo-dicom__GH178", OTHER, "2014-01-06", "AcquisitionDate", (), "screen save of a CT, AcquisitionDate 20140106"),
    (
        "fo-dicom__GH195", OTHER, "1980-01-01", "ContentDate", later("ContentDate"),
        "OT; ContentDate 19800101 of a device without a clock, StudyDate 20151112",
    ),
    ("fo-dicom__GH538-jpeg1", OTHER, "2012-05-02", "StudyDate", (), "OT; StudyDate alone"),
    (
        "fo-dicom__TestPattern_Palette", OTHER, "2019-03-20", "ContentDate", (),
        "OT; a derived capture, not an acquired test pattern",
    ),
    ("fo-dicom__chrGB2312", OTHER, "", "", (), "OT without any date"),
    (
        "highdicom__seg_image_ct_binary", OTHER, "1995-09-03", "StudyDate", earlier("ContentDate"),
        "SEG; ContentDate 20210627 of the segmentation, StudyDate 19950903",
    ),
    (
        "highdicom__sm_image", OTHER, "2009-12-29", "AcquisitionDateTime", later("AcquisitionDateTime"),
        "SM; AcquisitionDateTime 20091229, StudyDate 20190604",
    ),
    (
        "highdicom__sm_image_jpegls", OTHER, "2009-12-29", "AcquisitionDateTime", later("AcquisitionDateTime"),
        "SM; AcquisitionDateTime 20091229, StudyDate 20190604",
    ),
    ("highdicom__sr_document", OTHER, "", "", (), "Comprehensive 3D SR: a document"),
    ("openrem-sdist__CT-ESR-GE_Optima", OTHER, "", "", (), "Enhanced SR, not the class of dose reports: a document"),
    ("openrem-sdist__ESR_non-dose", OTHER, "", "", (), "Enhanced SR: a document"),
    (
        "openrem-sdist__CT-SC-Philips_Brilliance16P", OTHER, "2017-05-16", "AcquisitionDate", (),
        "screen of dose values, AcquisitionDate 20170516",
    ),
    (
        "orthanc-tests__1.2.840.10008.1.2.4.50", OTHER, "2000-03-29", "ContentDate", (),
        "US; no AcquisitionDate, ContentDate 20000329",
    ),
    ("orthanc-tests__IM0", OTHER, "", "", (), "Basic Text SR: a document"),
    ("orthanc-tests__IM631", OTHER, "2014-12-06", "AcquisitionDate", (), "MR, AcquisitionDate 20141206"),
    (
        "orthanc-tests__Issue22-NoPixelData", OTHER, "2014-10-08", "AcquisitionDateTime", (),
        "Enhanced MR, AcquisitionDateTime 20141008142501",
    ),
    ("orthanc-tests__Jpeg", OTHER, "2006-12-01", "AcquisitionDate", (), "MR, AcquisitionDate 20061201"),
    ("orthanc-tests__JpegLossless", OTHER, "2006-12-01", "AcquisitionDate", (), "MR, AcquisitionDate 20061201"),
    ("orthanc-tests__Rle", OTHER, "2006-12-01", "AcquisitionDate", (), "MR, AcquisitionDate 20061201"),
    ("orthanc-tests__Lena-1", OTHER, "", "", (), "secondary capture without Modality, ImageType or date"),
    ("orthanc-tests__PR000000", OTHER, "", "", (), "presentation state: inherits, though ContentDate is 20190107"),
    ("orthanc-tests__TEST_1_study_1234", OTHER, "2010-06-30", "StudyDate", (), "CT; StudyDate alone"),
    ("orthanc-tests__TEST_1_study_2345", OTHER, "2015-01-01", "StudyDate", (), "CT; StudyDate alone"),
    (
        "orthanc-tests__jp2k91YBR-ICT", OTHER, "2024-08-24", "ContentDate", (),
        "US; no AcquisitionDate, ContentDate 20240824",
    ),
    ("orthanc-tests__sample-pdf", OTHER, "", "", (), "encapsulated PDF: inherits, though AcquisitionDate is 20170119"),
    (
        "pydicom-data__JPGLosslessP14SV1_1s_1f_8b", OTHER, "2019-01-24", "AcquisitionDateTime", (),
        "US, AcquisitionDateTime 20190124114254",
    ),
    (
        "pydicom-data__OBXXXX1A", OTHER, "2011-05-25", "AcquisitionDateTime", (),
        "US, AcquisitionDateTime 20110525145628",
    ),
    ("pydicom-data__SC_rgb", OTHER, "2017-01-01", "StudyDate", (), "OT; StudyDate alone"),
    ("pydicom-data__US1_J2KI", OTHER, "2004-08-26", "StudyDate", (), "US; StudyDate alone"),
    (
        "pydicom-data__liver", OTHER, "2003-04-17", "StudyDate", earlier("ContentDate"),
        "SEG; ContentDate 20160318 of the segmentation, StudyDate 20030417",
    ),
    ("pydicom-wheel__15820", OTHER, "2003-05-05", "ContentDate", (), "MR; no AcquisitionDate, ContentDate 20030505"),
    ("pydicom-wheel__17106", OTHER, "1995-09-03", "AcquisitionDate", (), "CT, AcquisitionDate 19950903"),
    ("pydicom-wheel__2062", OTHER, "2001-01-01", "AcquisitionDate", (), "CT, AcquisitionDate 20010101"),
    (
        "pydicom-wheel__6293", OTHER, "2001-01-01", "AcquisitionDate", (),
        "CT LOCALIZER, SeriesDescription Scout: a scout of no biopsy, Modality is not MG",
    ),
    ("pydicom-wheel__6924", OTHER, "2001-01-01", "AcquisitionDate", (), "the same of another patient"),
    (
        "pydicom-wheel__CT_small", OTHER, "1997-04-30", "AcquisitionDate", later("AcquisitionDate"),
        "CT; AcquisitionDate 19970430, StudyDate 20040119",
    ),
    ("pydicom-wheel__693_J2KI", OTHER, "", "", (), "CT without any date"),
    (
        "pydicom-wheel__GDCMJ2K_TextGBR", OTHER, "2011-06-03", "ContentDate", later("ContentDate"),
        "secondary capture; ContentDate 20110603, StudyDate 20110617",
    ),
    ("pydicom-wheel__IM000000", OTHER, "", "", (), "CT without Rows, no image: StudyDate 20200913 is not its own"),
    (
        "pydicom-wheel__J2K_pixelrep_mismatch", OTHER, "2019-10-19", "AcquisitionDate", (),
        "CT, AcquisitionDate 20191019",
    ),
    (
        "pydicom-wheel__JPEG-lossy", OTHER, "1997-08-06", "AcquisitionDate", later("AcquisitionDate"),
        "capture of an NM, model MILLENNIUM MG, Modality NM; StudyDate 20040826",
    ),
    ("pydicom-wheel__MR_small", OTHER, "2004-08-26", "StudyDate", (), "MR; StudyDate alone"),
    (
        "pydicom-wheel__SC_jpeg_no_color_transform_2", OTHER, "2021-07-17", "ContentDate", (),
        "secondary capture; ContentDate alone",
    ),
    ("pydicom-wheel__badVR", OTHER, "2003-08-05", "StudyDate", (), "RT dose with Rows; StudyDate alone"),
    (
        "pydicom-wheel__examples_overlay", OTHER, "2005-11-30", "AcquisitionDate", (),
        "MR, SeriesDescription marked lesion: no marker, Modality is not MG",
    ),
    (
        "pydicom-wheel__examples_ybr_color", OTHER, "2016-05-03", "ContentDate", (),
        "multi-frame US; no AcquisitionDate, ContentDate 20160503",
    ),
    ("pydicom-wheel__rtplan", OTHER, "", "", (), "RT plan without Rows: StudyDate 20030716 is not its own"),
    ("pydicom-wheel__test-SR", OTHER, "", "", (), "Comprehensive SR: a document"),
    ("pydicom-wheel__waveform_ecg", OTHER, "", "", (), "ECG: no image, though AcquisitionDateTime is 20130125"),
    (
        "wg04__MR4_J2KI", OTHER, "1995-03-30", "SeriesDate", later("SeriesDate"),
        "MR; no AcquisitionDate, SeriesDate 19950330, StudyDate 20040826",
    ),
    ("wg04__MR4_RLE", OTHER, "1995-03-30", "SeriesDate", later("SeriesDate"), "the same with StudyDate 20031208"),
    (
        "wg04__NM1_JLSN", OTHER, "1997-08-06", "AcquisitionDate", later("AcquisitionDate"),
        "capture of an NM, StudyDate 20040826",
    ),
    ("wg04__US1_RLE", OTHER, "2003-12-08", "StudyDate", (), "US; StudyDate alone"),
    ("wg04__XA1_J2KI", OTHER, "2004-08-26", "StudyDate", (), "capture of an XA; StudyDate alone"),
    ("wg04__XA1_RLE", OTHER, "2003-12-08", "StudyDate", (), "capture of an XA; StudyDate alone"),
]  # fmt: skip


def signals_of(name: str) -> Signals:
    path = GOOD / f"{name}.dcm"
    with path.open("rb") as file:
        meta = read_meta(file)
        length = path.stat().st_size - meta.data_set_offset
        return read_instance(file, meta.data_set_offset, length, meta.transfer_syntax_uid, PROVENANCE).signals


def made_on(kind: UnitKind, signals: Signals) -> Derivation:
    """Return what the rules make of an instance of a unit that a rule of the site gives everything to."""
    unit = Unit(id="unit", label="Unit", kind=kind, identities=())
    registry = Registry(units={"unit": unit}, rules=(Rule(name="all", conditions=(), unit="unit"),))
    return derive(signals, registry, date(2026, 5, 4))


def portion_of(derivation: Derivation) -> tuple[str, str]:
    return (derivation.portion.portion.value, derivation.portion.rule) if derivation.portion else ("", "")


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_real_file_is_what_its_header_says(row: tuple[str, Kind, str, str, tuple[str, ...], str]) -> None:
    name, kind, day, source, flags, why = row
    signals = signals_of(name)
    prone, upright = (made_on(each, signals) for each in (UnitKind.PRONE, UnitKind.UPRIGHT))
    assert Kind(prone.role, prone.stage, portion_of(prone), portion_of(upright)) == kind, why
    for each in (prone, upright):
        told = each.performed
        assert (told.day.isoformat() if told.day else "", told.source, told.flags) == (day, source, flags), why


def test_every_mammogram_and_dose_report_is_in_the_table() -> None:
    named = {row[0] for row in TABLE}
    wanted = set()
    for path in GOOD.iterdir():
        with path.open("rb") as file:
            meta = read_meta(file)
            length = path.stat().st_size - meta.data_set_offset
            facts = read_instance(file, meta.data_set_offset, length, meta.transfer_syntax_uid, PROVENANCE).facts
        if facts.get("Modality") == "MG" or facts.sop_class_uid in DOSE_REPORTS:
            wanted.add(path.stem)
    assert len(wanted) == 7
    assert wanted <= named
    assert len(named) == len(TABLE) >= 60


@pytest.mark.parametrize("name", [row[0] for row in TABLE if row[1] in (IMAGE, STEREO)])
def test_what_no_unit_made_is_never_clinical(name: str) -> None:
    told = derive(signals_of(name), Registry(), date(2026, 5, 4))
    assert portion_of(told) == ("unclear", "unit not known")


@pytest.mark.parametrize(
    ("name", "serial", "maker"),
    [
        # DeviceSerialNumber (0018,1000) and Manufacturer (0008,0070); of a report its observer's (121016).
        ("fo-dicom__GH133", "10452020145105", "GE MEDICAL SYSTEMS"),
        ("openrem-sdist__MG-Im-GE_Seno_1_ForPresentation", "87654", "GE MEDICAL SYSTEMS"),
        ("openrem-sdist__MG-Im-GE_Seno_1_ForProcessing", "87654", "GE MEDICAL SYSTEMS"),
        ("openrem-sdist__MG-RDSR-Hologic_2D", "765467656", "HOLOGIC, Inc."),
        ("openrem-sdist__CT-RDSR-GEPixelMed", "abcdef123456", "GE MEDICAL SYSTEMS"),
        ("openrem-sdist__DX-RDSR-Canon_CXDI", "cabd8dc7c6d6dab5db7", "Canon Inc."),
        ("openrem-sdist__RF-RDSR-GE", "GEESPFPD012", "GE Healthcare Surgery"),
    ],
)
def test_the_serial_number_of_a_real_file_names_its_unit(name: str, serial: str, maker: str) -> None:
    def registry(serial: str) -> Registry:
        identity = Identity(device_serial=serial, manufacturer=maker)
        return Registry(units={"u": Unit(id="u", label="U", kind=UnitKind.UPRIGHT, identities=(identity,))})

    signals = signals_of(name)
    told = derive(signals, registry(serial), date(2026, 5, 4)).attribution
    assert told == Attributed(unit="u", attachment=None, evidence=f"device serial {serial}")
    other = derive(signals, registry(f"{serial}0"), date(2026, 5, 4)).attribution
    assert isinstance(other, Unattributed)
    # Only an image with evidence of a biopsy tells of a unit that nobody registered.
    assert other.unregistered == ("Seno_1" in name)


def test_a_real_day_before_the_unit_was_installed_is_none() -> None:
    unit = Unit(id="unit", label="Unit", kind=UnitKind.UPRIGHT, identities=(), installed_on=date(2013, 4, 13))
    registry = Registry(units={"unit": unit}, rules=(Rule(name="all", conditions=(), unit="unit"),))
    name = "openrem-sdist__MG-Im-GE_Seno_1_ForPresentation"
    told = derive(signals_of(name), registry, date(2026, 5, 4)).performed
    assert (told.day, told.source) == (None, "")
    assert told.flags == tuple(
        f"{each}: before the unit was installed"
        for each in ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")
    )
