"""Which images of an exam go into an evidence package, and in which order."""

from pydicom.dataset import Dataset

from dicom_node.accreditation.portions import Portion
from dicom_node.dicom.case_facts import case_image
from dicom_node.index.images import StoredImage
from dicom_node.services.package_parts import Chosen, Left, named, sorted_out, without_raw
from tests.factories import DAY, encode, make_mg
from tests.unit.dicom.reading import EXPLICIT, read_bytes


def stored(uid: str = "2.25.1", **values: object) -> StoredImage:
    """Return the row of an acquired clinical image, unless told otherwise."""
    row = {
        "sop_instance_uid": uid,
        "sop_class_uid": "1.2",
        "study_uid": "1.3",
        "series_uid": "1.4",
        "transfer_syntax_uid": EXPLICIT,
        "digest": "0" * 64,
        "size": 1,
        "unit_id": "prone1",
        "role": "primary",
        "portion": "clinical",
        "rule": "biopsy stage",
        "stage": "scout",
        "instance_number": "1",
        "acquisition_day": DAY,
        "day_source": "AcquisitionDate",
        "rejected": False,
    }
    return StoredImage(**row | values)  # type: ignore[arg-type]


def chosen(ds: Dataset) -> Chosen:
    """Return an image as it was read."""
    read = read_bytes(encode(ds))
    row = stored(ds.SOPInstanceUID, instance_number=str(ds.InstanceNumber))
    return Chosen(stored=row, facts=read.facts, told=case_image(read, DAY), linked_as=None)


def test_a_raw_image_is_left_out_where_its_exposure_is_there_for_presentation() -> None:
    raw = {"PresentationIntentType": "FOR PROCESSING", "stage": "PREFIRE_MINUS"}
    shown = chosen(make_mg(stage="PREFIRE_MINUS", AcquisitionTime="090130"))
    same = chosen(make_mg(AcquisitionTime="090130", **raw))
    other_exposure = chosen(make_mg(AcquisitionTime="091500", **raw))
    other_breast = chosen(make_mg(AcquisitionTime="090130", laterality="R", **raw))
    left: Left = []
    assert without_raw([shown, same, other_exposure, other_breast], left) == [shown, other_exposure, other_breast]
    assert left == [(same.stored.sop_instance_uid, "for processing; there is one for presentation")]


def test_what_of_an_exam_is_submitted_and_why_the_rest_is_not() -> None:
    kept, specimen = stored("2.25.1"), stored("2.25.2", portion="neither", stage="specimen")
    others = [
        stored("2.25.3", role="evidence", portion=""),
        stored("2.25.4", rejected=True),
        stored("2.25.5", portion="phantom", rule="phantom code 113685"),
        stored("2.25.6", portion="neither", stage="", rule="mammogram"),
    ]
    wanted, left = sorted_out([kept, specimen, *others], Portion.CLINICAL)
    assert wanted == [kept, specimen]
    assert [why for _, why in left] == [
        "no acquired image (evidence)",
        "a key object rejects it",
        "phantom: phantom code 113685",
        "counts toward nothing: mammogram",
    ]


def test_images_stand_in_the_order_of_the_biopsy_each_once() -> None:
    scout = chosen(make_mg(stage="STEREO_SCOUT", InstanceNumber=9))
    tenth, second = (chosen(make_mg(stage="STEREO_MINUS", InstanceNumber=number)) for number in (10, 2))
    plus = chosen(make_mg(stage="STEREO_PLUS", InstanceNumber=1))
    several = named(Portion.CLINICAL, [plus, tenth, scout, second, scout])
    assert [(each.name, each.stored.instance_number) for each in several] == [
        ("01-scout-L.dcm", "9"),
        ("02-stereo-minus-L.dcm", "2"),
        ("03-stereo-minus-L.dcm", "10"),
        ("04-stereo-plus-L.dcm", "1"),
    ]
