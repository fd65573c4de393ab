import pytest
from pydicom.sequence import Sequence

from dicom_node.accreditation.signals import Stage
from dicom_node.dicom.stages import words_stage
from tests.factories import code, item, make_bto, make_mg, make_rdsr, make_sc, view_code
from tests.unit.dicom.reading import signals_of

IMAGE_TYPES = {
    Stage.SCOUT: ["STEREO_SCOUT", "TOMO_SCOUT"],
    Stage.STEREO_PAIR: ["STEREO_MINUS", "STEREO_PLUS"],
    Stage.PRE_FIRE: ["PREFIRE", "PREFIRE_MINUS", "PREFIRE_PLUS"],
    Stage.POST_FIRE: ["POSTFIRE", "POSTFIRE_MINUS", "POSTFIRE_PLUS"],
    Stage.POST_BIOPSY: ["POSTBIOPSY", "POSTBIOPSY_MINUS", "POSTBIOPSY_PLUS"],
    Stage.POST_MARKER: ["POSTMARKER", "POSTMARKER_MINUS", "POSTMARKER_PLUS"],
}


@pytest.mark.parametrize(("stage", "term"), [(stage, term) for stage, terms in IMAGE_TYPES.items() for term in terms])
def test_value_3_of_the_image_type_tells_the_stage(stage: Stage, term: str) -> None:
    signals = signals_of(make_mg(stage=term))
    assert (signals.stage, signals.stage_source) == (stage, "ImageType")
    assert signals_of(make_bto(stage=term)).stage is stage


@pytest.mark.parametrize("term", ["", "TOMO_PROJ", "TOMOSYNTHESIS", "PRE_CONTRAST", "POST_CONTRAST", "SCOUT", "LEFT"])
def test_other_values_are_no_stage(term: str) -> None:
    assert signals_of(make_mg(stage=term)).stage is None


def test_a_biopsy_term_after_a_term_of_contrast_imaging_counts() -> None:
    image_type = ["ORIGINAL", "PRIMARY", "POST_CONTRAST", "PREFIRE"]
    assert signals_of(make_mg(ImageType=image_type)).stage is Stage.PRE_FIRE
    assert signals_of(make_mg(ImageType=["PREFIRE", "PRIMARY"])).stage is None


def test_a_biopsy_target_is_a_biopsy() -> None:
    signals = signals_of(make_mg(BiopsyTargetSequence=Sequence([item(TargetUID="1.2.3")])))
    assert (signals.stage, signals.stage_source) == (Stage.BIOPSY, "BiopsyTargetSequence")
    assert signals_of(make_mg(BiopsyTargetSequence=Sequence())).stage is None


@pytest.mark.parametrize(("value", "scheme"), [("127457009", "SCT"), ("G-8310", "SRT"), ("G-8310", "SNM3")])
def test_a_specimen_view_is_a_specimen_whatever_else_the_image_says(value: str, scheme: str) -> None:
    views = view_code()
    views[0].ViewModifierCodeSequence = Sequence([code(value, scheme, "specimen")])
    signals = signals_of(make_mg(stage="POSTBIOPSY", ViewCodeSequence=views, SeriesDescription="STEREO"))
    assert (signals.stage, signals.stage_source) == (Stage.SPECIMEN, "ViewCodeSequence")


@pytest.mark.parametrize(
    ("group", "creator", "number", "vr", "value", "stage"),
    [
        (0x0045, "GEMS_SENO_02", 0x06, "DS", "-15", Stage.STEREO_PAIR),
        (0x0045, "GEMS_SENO_02", 0x06, "DS", "0", None),
        (0x0045, "GEMS_SENO_02", 0x06, "DS", "", None),
        (0x0045, "GEMS_SENO_02", 0x71, "OB", b"Source: 0.0\nTcount: 0", Stage.BIOPSY),
        (0x0045, "GEMS_SENO_02", 0x71, "OB", b" " * 4096, None),
        (0x0045, "GEMS_SENO_02", 0x1B, "CS", "LCC", None),
        (0x0045, "OTHER", 0x06, "DS", "15", None),
        (0x1269, "IMS s.r.l. Biopsy Private Code", 0x01, "IS", "1", Stage.BIOPSY),
        (0x1269, "IMS s.r.l. Biopsy Private Code", 0x01, "IS", "0", None),
        (0x0019, "LORAD Selenia", 0x06, "OB", b"\x07\x00", None),
    ],
)
def test_private_elements_of_vendors_give_evidence(
    group: int, creator: str, number: int, vr: str, value: str | bytes, stage: Stage | None
) -> None:
    ds = make_mg()
    ds.private_block(group, creator, create=True).add_new(number, vr, value)
    signals = signals_of(ds)
    assert signals.stage is stage
    assert signals.stage_source == (f"private {creator}" if stage else "")


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("STEREO", Stage.BIOPSY),
        ("Stereotactic biopsy L", Stage.BIOPSY),
        ("MAMMO STEREO BIOPSY", Stage.BIOPSY),
        ("Stereo core needle biopsy", Stage.BIOPSY),
        ("BIOPSY", Stage.BIOPSY),
        ("Stereo Scout", Stage.SCOUT),
        ("SCOUT", Stage.SCOUT),
        ("Stereo pair", Stage.STEREO_PAIR),
        ("L CC -15", Stage.STEREO_PAIR),
        ("LCC +15°", Stage.STEREO_PAIR),
        ("±15", Stage.STEREO_PAIR),
        ("Prefire", Stage.PRE_FIRE),
        ("PRE-FIRE +15", Stage.PRE_FIRE),
        ("pre fire", Stage.PRE_FIRE),
        ("Post-Fire", Stage.POST_FIRE),
        ("POSTFIRE_STEREO", Stage.POST_FIRE),
        ("Stereo post biopsy", Stage.POST_BIOPSY),
        ("STEREO POSTBIOPSY", Stage.POST_BIOPSY),
        ("Stereo PostClip", Stage.POST_MARKER),
        ("stereo marker", Stage.POST_MARKER),
        ("Specimen", Stage.SPECIMEN),
        ("Biopsy specimen stereo", Stage.SPECIMEN),
    ],
)
def test_words_of_protocol_and_series_tell_the_stage(text: str, stage: Stage) -> None:
    assert words_stage(text) is stage
    for keyword in ("ProtocolName", "SeriesDescription"):
        signals = signals_of(make_mg(**{keyword: text}))
        assert (signals.stage, signals.stage_source) == (stage, keyword)


@pytest.mark.parametrize(
    "text",
    [
        "", "ROUTINE", "Screening", "R MLO", "MAMMO DIAGNOSTIC",
        # The mammogram before and after a biopsy, on this unit or another.
        "Post biopsy mammogram", "POST STEREO MAMMO", "Post stereo CC", "Pre-biopsy mammogram", "Pre stereo mammo",
        "Post biopsy", "POST CLIP CC", "Clip check", "Nipple marker", "BB MARKER",
        # Other procedures.
        "Needle loc", "Wire localization", "SAVI SCOUT LOC", "US biopsy", "MR guided biopsy", "Ductogram scout",
        # Parts of words and numbers.
        "STEREOGRAM", "BIOPSYCHOSOCIAL", "SCOUTING", "2023-05-15", "LCC 15", "CC-15A", "DBT -15", "+150", "-15.5",
    ],
)  # fmt: skip
def test_words_that_could_be_a_mammograms_tell_nothing(text: str) -> None:
    assert words_stage(text) is None


@pytest.mark.parametrize("keyword", ["StudyDescription", "PerformedProcedureStepDescription"])
def test_what_the_study_is_called_is_no_stage_of_its_images(keyword: str) -> None:
    assert signals_of(make_mg(**{keyword: "STEREO BIOPSY LEFT"})).stage is None


def test_the_image_type_is_believed_before_words() -> None:
    signals = signals_of(make_mg(stage="PREFIRE_PLUS", ProtocolName="STEREO SPECIMEN"))
    assert signals.stage is Stage.PRE_FIRE


def test_words_outside_mammography_tell_only_of_specimens() -> None:
    assert signals_of(make_mg(Modality="DX", SeriesDescription="Scout")).stage is None
    assert signals_of(make_mg(Modality="DX", SeriesDescription="Specimen")).stage is Stage.SPECIMEN


def test_a_dose_report_tells_the_stage_by_its_acquisition_protocol() -> None:
    signals = signals_of(make_rdsr(protocol="STEREO"))
    assert (signals.stage, signals.stage_source) == (Stage.BIOPSY, "AcquisitionProtocol")
    assert signals_of(make_rdsr(SeriesDescription="STEREO")).stage is None


def test_what_is_no_acquired_image_shows_no_stage() -> None:
    assert signals_of(make_sc(SeriesDescription="STEREO", Modality="MG")).stage is None
    assert signals_of(make_sc(original=True, SeriesDescription="STEREO")).stage is Stage.BIOPSY
