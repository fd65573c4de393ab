"""Names in evidence packages: of known words alone, and each of one place."""

import re
from dataclasses import fields
from datetime import date

import pytest

from dicom_node.accreditation.cases import LinkRole
from dicom_node.accreditation.pairs import Laterality, Side
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage
from dicom_node.services.package_files import Packed, manifest_table, read_sums, sums_text
from dicom_node.services.package_names import NAME, folder_name, image_name, unit_names


@pytest.mark.parametrize(
    ("units", "names"),
    [
        ([("a", "Prone table, room 2")], {"a": "prone-table-room-2"}),
        ([("a", "../../etc/passwd")], {"a": "etc-passwd"}),
        ([("a", "Зал 2\n\x1b[31m")], {"a": "2-31m"}),
        ([("a", "Зал")], {"a": "unit-a"}),
        ([("a", "Room 4"), ("b", "room-4")], {"a": "room-4-unit-a", "b": "room-4-unit-b"}),
        ([("a", "x" * 90)], {"a": "x" * 40}),
    ],
)
def test_a_unit_is_called_by_what_of_its_label_is_safe(units: list[tuple[str, str]], names: dict[str, str]) -> None:
    assert unit_names(units) == names
    for name in names.values():
        for portion in Portion.CLINICAL, Portion.PHANTOM, Portion.PHYSICIST:
            assert NAME.fullmatch(folder_name(name, portion))


@pytest.mark.parametrize(
    ("portion", "stage", "side", "linked_as", "laterality", "view", "name"),
    [
        (Portion.CLINICAL, Stage.SCOUT, None, None, Laterality.LEFT, "CC", "07-scout-L.dcm"),
        (Portion.CLINICAL, Stage.PRE_FIRE, Side.MINUS, None, Laterality.RIGHT, "", "07-prefire-minus-R.dcm"),
        (Portion.CLINICAL, None, None, None, Laterality.NOT_TOLD, "MLO", "07-image-MLO.dcm"),
        (Portion.CLINICAL, None, None, LinkRole.MAMMOGRAM, Laterality.LEFT, "CC", "07-mammogram-L-CC.dcm"),
        (Portion.CLINICAL, Stage.SPECIMEN, None, LinkRole.SPECIMEN, Laterality.NOT_TOLD, "", "07-specimen.dcm"),
        (Portion.PHANTOM, Stage.SCOUT, None, None, Laterality.BOTH, "", "07-phantom-B.dcm"),
        (Portion.CLINICAL, None, None, None, Laterality.LEFT, "../DOE^JANE", "07-image-L.dcm"),
    ],
)
def test_an_image_is_called_by_stage_side_breast_and_view(
    portion: Portion,
    stage: Stage | None,
    side: Side | None,
    linked_as: LinkRole | None,
    laterality: Laterality,
    view: str,
    name: str,
) -> None:
    made = image_name(7, portion=portion, stage=stage, side=side, linked_as=linked_as, laterality=laterality, view=view)
    assert made == name
    assert NAME.fullmatch(made)


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_a_word(stage: Stage) -> None:
    words = {"side": None, "linked_as": None, "laterality": Laterality.LEFT, "view": ""}
    assert re.fullmatch(r"01-[a-z]+-L\.dcm", image_name(1, portion=Portion.CLINICAL, stage=stage, **words))  # type: ignore[arg-type]


def test_lines_of_sums_that_the_node_does_not_write_are_told() -> None:
    good = sums_text({"a/b.dcm": "0" * 64, "c.txt": "f" * 64})
    assert read_sums(good) == ({"a/b.dcm": "0" * 64, "c.txt": "f" * 64}, [])
    bad = [f"{'0' * 64}  ../x", f"{'0' * 64}  /x", f"{'0' * 64}  a/../x", f"{'F' * 64}  x", f"{'0' * 64} *x", ""]
    for line in bad:
        assert read_sums(good + line + "\n")[1] == [3], line
    assert read_sums(good + good)[1] == [3, 4], "no file twice"


def test_a_table_has_its_headers_and_no_cell_that_is_a_formula() -> None:
    assert manifest_table([]).startswith("path,size,sha256,data_set_sha256,")
    texts = {each.name: "" for each in fields(Packed)}
    told = texts | {"size": 7, "day": date(2026, 9, 14), "confirmed_at": None, "confirmed_by": "=1+1\n@x"}
    line = manifest_table([Packed(**told)]).splitlines()[1]  # type: ignore[arg-type]
    assert line == ",7,,,,,,,,,,,,,,,2026-09-14,,,'=1+1 @x,"
