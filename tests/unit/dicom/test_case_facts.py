"""What one header tells of a case."""

from datetime import date
from io import BytesIO
from typing import Any

import pytest
from pydicom.sequence import Sequence

from dicom_node.accreditation.pairs import CaseImage, Element, Laterality, Side
from dicom_node.accreditation.signals import Stage
from dicom_node.dicom.case_facts import breast_told, case_image, view_of
from dicom_node.dicom.header import read_instance
from tests.factories import encode, item, make_bto, make_mg, view_code
from tests.unit.dicom.reading import EXPLICIT, PROVENANCE, read_bytes

DAY = date(2026, 5, 4)


def told_by(ds: Any) -> CaseImage:
    return case_image(read_bytes(encode(ds)), DAY)


TYPES = [
    # Image Type value 3, stage, side, tomosynthesis
    ("STEREO_SCOUT", Stage.SCOUT, None, False),
    ("STEREO_MINUS", Stage.STEREO_PAIR, Side.MINUS, False),
    ("STEREO_PLUS", Stage.STEREO_PAIR, Side.PLUS, False),
    ("PREFIRE_MINUS", Stage.PRE_FIRE, Side.MINUS, False),
    ("PREFIRE_PLUS", Stage.PRE_FIRE, Side.PLUS, False),
    ("POSTFIRE_MINUS", Stage.POST_FIRE, Side.MINUS, False),
    ("POSTFIRE_PLUS", Stage.POST_FIRE, Side.PLUS, False),
    ("POSTBIOPSY_MINUS", Stage.POST_BIOPSY, Side.MINUS, False),
    ("POSTBIOPSY", Stage.POST_BIOPSY, None, False),
    ("POSTMARKER_PLUS", Stage.POST_MARKER, Side.PLUS, False),
    ("POSTMARKER", Stage.POST_MARKER, None, False),
    ("TOMO_SCOUT", Stage.SCOUT, None, True),
    ("PREFIRE", Stage.PRE_FIRE, None, True),
    ("POSTFIRE", Stage.POST_FIRE, None, True),
    ("TOMO_PROJ", None, None, True),
    ("TOMOSYNTHESIS", None, None, True),
    ("", None, None, False),
    ("PRE_CONTRAST", None, None, False),
]


@pytest.mark.parametrize(("term", "stage", "side", "tomosynthesis"), TYPES)
def test_image_type_tells_stage_side_and_tomosynthesis(
    term: str, stage: Stage | None, side: Side | None, tomosynthesis: bool
) -> None:
    told = told_by(make_mg(stage=term))
    assert (told.stage, told.side, told.tomosynthesis) == (stage, side, tomosynthesis)
    assert told.side_source == ("ImageType" if side else "")
    assert told_by(make_bto(stage=term)).tomosynthesis


ANGLES = [
    # Image Type value 3, Positioner Primary Angle, side
    ("", "-15", Side.MINUS),
    ("", "15.0", Side.PLUS),
    ("", "-16.5", Side.MINUS),
    ("", "0", None),
    ("", "30", None),
    ("", "45", None),  # a mediolateral oblique view
    ("", "", None),
    ("STEREO_MINUS", "15", Side.MINUS),  # a minus image with a plus angle is what the image type says
    ("STEREO_MINUS", "0", Side.MINUS),
    ("STEREO_SCOUT", "15", None),
    ("POSTFIRE", "15", None),
]


@pytest.mark.parametrize(("term", "angle", "side"), ANGLES)
def test_an_angle_of_15_degrees_tells_the_side_where_image_type_says_nothing(
    term: str, angle: str, side: Side | None
) -> None:
    assert told_by(make_mg(stage=term, PositionerPrimaryAngle=angle)).side is side


def test_the_angle_of_a_stereotactic_positioner_tells_it_as_well() -> None:
    ds = make_mg(PositionerPrimaryAngle="0")
    ds.private_block(0x0045, "GEMS_SENO_02", create=True).add_new(0x06, "DS", "-15")
    told = told_by(ds)
    assert (told.stage, told.side, told.side_source) == (Stage.STEREO_PAIR, Side.MINUS, "GEMS_SENO_02:0045,06")


def test_an_image_tells_what_identifies_it() -> None:
    whole = told_by(make_mg(OperatorsName="SYNTH^OPERATOR"))
    assert whole.present == frozenset(Element)
    assert (whole.laterality, whole.view, whole.burned_in, whole.day) == (Laterality.LEFT, "CC", False, DAY)


@pytest.mark.parametrize(
    ("element", "without"),
    [
        (Element.NAME, {"PatientName": "^"}),
        (Element.ID, {"PatientID": ""}),
        (Element.INSTITUTION, {"InstitutionName": None}),
        (Element.STATION, {"StationName": ""}),
        (Element.OPERATOR, {"OperatorsName": None}),
        (Element.LATERALITY, {"ImageLaterality": "U"}),
        (Element.VIEW, {"ViewPosition": "", "ViewCodeSequence": None}),
    ],
)
def test_what_is_not_written_is_missing(element: Element, without: dict[str, Any]) -> None:
    told = told_by(make_mg(**{"OperatorsName": "SYNTH^OPERATOR"} | without))
    assert frozenset(Element) - told.present == {element}


def test_an_undated_image_lacks_its_date() -> None:
    assert Element.DATE not in case_image(read_bytes(encode(make_mg())), None).present


@pytest.mark.parametrize(("text", "burned_in"), [("YES", True), ("NO", False), ("", None), ("MAYBE", None)])
def test_burned_in_text_is_what_the_header_says(text: str, burned_in: bool | None) -> None:
    assert told_by(make_mg(BurnedInAnnotation=text)).burned_in is burned_in


def test_frames_breast_and_targets_of_objects_of_many_frames() -> None:
    told = told_by(make_bto(frames=3, laterality="R"))
    assert (told.frames, told.laterality, told.view) == (3, Laterality.RIGHT, "CC")
    target = Sequence([item(TargetUID="1.2.3"), item(TargetUID="")])
    assert told_by(make_mg(BiopsyTargetSequence=target)).targets == {"1.2.3"}


@pytest.mark.parametrize(
    ("value", "scheme", "position", "view"),
    [
        ("399162004", "SCT", "", "CC"),
        ("R-10226", "SNM3", "CC", "MLO"),
        ("R-10224", "SRT", "", "ML"),
        ("399352003", "SCT", "", "LM"),
        ("1", "99LOCAL", "MLO", "MLO"),
        ("1", "99LOCAL", "AP", ""),
    ],
)
def test_the_view_is_that_of_its_code_else_of_its_position(value: str, scheme: str, position: str, view: str) -> None:
    facts = read_bytes(encode(make_mg(ViewCodeSequence=view_code(value, scheme)))).facts
    assert view_of(facts.get("ViewCodeSequence"), position) == view


@pytest.mark.parametrize(
    ("text", "breast"),
    [("L", "left"), ("r", "right"), ("B", "both"), ("L\\R", "both"), ("U", "not told"), ("", "not told")],
)
def test_a_laterality_tells_the_breast(text: str, breast: str) -> None:
    assert breast_told(text) == breast


def test_the_pixels_are_not_read() -> None:
    class Counting(BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            got = super().read(size)
            self.taken += len(got)
            return got

    data = encode(make_mg(rows=2000, columns=2000))
    file = Counting(data)
    case_image(read_instance(file, 0, len(data), EXPLICIT, PROVENANCE), DAY)
    assert file.taken < 64 * 1024 < len(data)
