import pytest
from pynetdicom.presentation import AllStoragePresentationContexts

from dicom_node.accreditation.signals import Role
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, is_uid, role_of

ROOT = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize(
    "text",
    [
        "1.2",
        "0.0",
        "1.2.840.10008.1.1",
        "2.25." + "9" * 59,
        "1.2.3.0.5",
        "2.25.340282366920938463463374607431768211455",
    ],
)
def test_a_conformant_uid_is_one(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "1", ".", "1.", ".1", "1..2", "1.02", "01.2", "1.2.", "1.2\n", "1.2\0", "1.2 ", " 1.2", "1.2/3", "1.2\\1.3",
        "1.a", "1.-2", "1.+2", "1.2_3", "2.25." + "9" * 60, "1.\u0662", "1.²", "../1.2", "1.2\r\n1.3",
    ],
)  # fmt: skip
def test_anything_else_is_no_uid(text: str) -> None:
    assert not is_uid(text)


def test_every_storage_class_of_the_library_is_accepted_and_named() -> None:
    assert {context.abstract_syntax for context in AllStoragePresentationContexts} <= STORAGE_SOP_CLASSES.keys()
    assert all(entry.name and entry.name != uid and is_uid(uid) for uid, entry in STORAGE_SOP_CLASSES.items())


def test_a_class_newer_than_the_dictionary_goes_by_its_keyword() -> None:
    assert STORAGE_SOP_CLASSES[ROOT + "66.7"].name


def test_retired_classes_are_accepted_but_not_those_of_other_standards() -> None:
    assert ROOT + "6" in STORAGE_SOP_CLASSES
    assert not any("DICOS" in entry.name or "Eddy" in entry.name for entry in STORAGE_SOP_CLASSES.values())


def test_transfer_syntaxes_begin_with_explicit_little_endian_and_hold_the_default() -> None:
    assert TRANSFER_SYNTAXES[:2] == ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
    assert len(set(TRANSFER_SYNTAXES)) == len(TRANSFER_SYNTAXES) == 16


@pytest.mark.parametrize(
    ("uid", "role"),
    [
        ("1.2", Role.PRIMARY),
        ("2", Role.SECONDARY),
        ("1.2.1", Role.PRIMARY),
        ("13.1.3", Role.PRIMARY),
        ("13.1.4", Role.PRIMARY),
        ("13.1.5", Role.PRIMARY),
        ("1.1", Role.PRIMARY),
        ("1.1.1", Role.PRIMARY),
        ("1", Role.PRIMARY),
        ("7", Role.SECONDARY),
        ("88.67", Role.EVIDENCE),
        ("88.76", Role.EVIDENCE),
        ("88.50", Role.SECONDARY),
        ("88.59", Role.CONTROL),
        ("11.1", Role.SECONDARY),
        ("104.1", Role.SECONDARY),
        ("4", Role.SECONDARY),
    ],
)
def test_the_class_tells_the_role(uid: str, role: Role) -> None:
    assert STORAGE_SOP_CLASSES[ROOT + uid].role is role
    assert role_of(ROOT + uid, {}) is role


@pytest.mark.parametrize("uid", ["7", "7.1", "7.2", "7.3", "7.4"])
def test_a_secondary_capture_is_primary_only_when_it_is_an_original_mammogram(uid: str) -> None:
    assert role_of(ROOT + uid, {"Modality": "MG", "ImageType": "ORIGINAL\\PRIMARY"}) is Role.PRIMARY
    assert role_of(ROOT + uid, {"Modality": "MG", "ImageType": "DERIVED\\PRIMARY"}) is Role.SECONDARY
    assert role_of(ROOT + uid, {"Modality": "OT", "ImageType": "ORIGINAL\\PRIMARY"}) is Role.SECONDARY


def test_a_ct_image_of_modality_mg_is_a_tomosynthesis_slice() -> None:
    assert role_of(ROOT + "2", {"Modality": "MG"}) is Role.PRIMARY
    assert role_of(ROOT + "2", {"Modality": "CT"}) is Role.SECONDARY


def test_a_private_class_counts_toward_nothing() -> None:
    assert role_of("1.3.6.1.4.1.99999.1", {"Modality": "MG", "ImageType": "ORIGINAL"}) is Role.SECONDARY
