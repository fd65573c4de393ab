"""The policies that ship, and how one is chosen."""

from dataclasses import replace
from datetime import date

import pytest

from dicom_node.accreditation.policies import (
    DEFAULT_POLICY_ID,
    LATEST,
    Override,
    Policy,
    choose_policy,
    load_policies,
    newer_than,
)
from dicom_node.accreditation.portions import PORTIONS, Portion

OWN = replace(load_policies()[DEFAULT_POLICY_ID], id="our-windows-2027", revision=date(2027, 5, 1))


def test_the_default_policy_gives_six_months_to_exams_and_fourteen_to_surveys() -> None:
    policy = choose_policy(DEFAULT_POLICY_ID)
    assert policy.revision == date(2023, 3, 3)
    assert policy.months == {Portion.CLINICAL: 6, Portion.PHANTOM: 6, Portion.PHYSICIST: 14}


def test_the_revision_of_2026_gives_fourteen_months_to_the_phantom() -> None:
    policy = choose_policy("acr-sbb-2026-01-14")
    assert policy.revision == date(2026, 1, 14)
    assert policy.months == {Portion.CLINICAL: 6, Portion.PHANTOM: 14, Portion.PHYSICIST: 14}


def test_latest_is_the_newest_revision_that_ships() -> None:
    assert choose_policy(LATEST).id == "acr-sbb-2026-01-14"
    assert choose_policy(LATEST, own=(OWN,)).id == "acr-sbb-2026-01-14"


def test_a_policy_of_the_site_is_chosen_by_its_id() -> None:
    assert choose_policy("our-windows-2027", own=(OWN,)) is OWN


def test_an_unknown_policy_names_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"acr-sbb-2023-03-03.*our-windows-2027"):
        choose_policy("acr-sbb", own=(OWN,))


def test_a_site_cannot_redefine_a_policy_that_ships() -> None:
    with pytest.raises(ValueError, match="two policies"):
        choose_policy(DEFAULT_POLICY_ID, own=(replace(OWN, id=DEFAULT_POLICY_ID),))


@pytest.mark.parametrize("policy", load_policies().values(), ids=lambda policy: policy.id)
def test_every_policy_that_ships_names_its_source_in_full(policy: Policy) -> None:
    assert policy.id.endswith(policy.revision.isoformat())
    assert policy.address.startswith("https://accreditationsupport.acr.org/")
    assert policy.anchor
    assert policy.note
    assert set(policy.months) == set(PORTIONS)
    assert policy.article in policy.citation
    assert policy.revision.isoformat() in policy.citation


def test_a_newer_one_is_one_that_ships_and_whose_source_is_newer() -> None:
    newer = newer_than(choose_policy(DEFAULT_POLICY_ID))
    assert newer is not None
    assert newer.id == "acr-sbb-2026-01-14"
    assert newer_than(newer) is None
    assert newer_than(OWN) is None


def test_two_policies_judge_alike_by_id_and_windows_alone() -> None:
    override = Override(
        first=date(2020, 4, 1), last=date(2020, 9, 30), months=OWN.months, article="A", revision=date(2020, 3, 27),
        address="on file",
    )  # fmt: skip
    with_override = replace(OWN, overrides=(override,))
    assert OWN.judges_like(replace(OWN, article="another", note="more", revision=date(2028, 1, 1)))
    assert with_override.judges_like(replace(OWN, overrides=(replace(override, note="more"),)))
    assert not OWN.judges_like(replace(OWN, id="other"))
    assert not OWN.judges_like(replace(OWN, months={Portion.CLINICAL: 6, Portion.PHANTOM: 7}))
    assert not OWN.judges_like(with_override)
    assert not with_override.judges_like(replace(OWN, overrides=(replace(override, last=date(2020, 10, 1)),)))
