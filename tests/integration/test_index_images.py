"""Stored instances one by one: where their bytes are, and what the rules made of them."""

from dicom_node.accreditation.portions import Portion
from dicom_node.index import images
from dicom_node.index.engine import Index
from tests.entries import make_derivation, make_entry


def test_the_instances_of_an_exam_each_with_the_content_that_is_served(index: Index) -> None:
    first = make_entry(sop_instance_uid="1.2.1", content="first", derivation=make_derivation("prone1"))
    several = [
        first,
        make_entry(sop_instance_uid="1.2.1", content="other", derivation=make_derivation("prone1"), seconds=5),
        make_entry(sop_instance_uid="1.2.2", derivation=make_derivation("prone1", stage="pre-fire")),
        make_entry(sop_instance_uid="1.2.3", derivation=make_derivation("upright_a")),
        make_entry(sop_instance_uid="1.2.4", study_uid="1.9", derivation=make_derivation("prone1")),
        make_entry(sop_instance_uid="1.2.5", derivation=make_derivation("prone1", portion=None),
                   rejected_uids=("1.2.2",)),
    ]  # fmt: skip
    for entry in several:
        index.record(entry)
    with index.read() as conn:
        found = images.of_exam(conn, "1.2.3", "prone1")
        some = images.with_uids(conn, ["1.2.4", "1.2.3", "1.2.99"])
        contents = images.contents_of(conn, ["1.2.1", "1.2.2", "1.2.99"])
    assert [(each.sop_instance_uid, each.stage, each.portion, each.rejected) for each in found] == [
        ("1.2.1", "scout", Portion.CLINICAL, False),
        ("1.2.2", "pre-fire", Portion.CLINICAL, True),
        ("1.2.5", "", "", False),
    ]
    assert found[0].digest == first.digest
    assert [(each.sop_instance_uid, each.unit_id) for each in some] == [("1.2.3", "upright_a"), ("1.2.4", "prone1")]
    assert contents == {"1.2.1": {first.digest, several[1].digest}, "1.2.2": {several[2].digest}}
