from pathlib import Path

import pytest

from dicom_node.errors import ConfigError
from dicom_node.settings import Loaded, load_settings, show
from tests.unit.configs import SMALL, UNIT, write_config


def load(folder: Path, **environ: str) -> Loaded:
    channel = '[[alerts.channel]]\nname = "a"\ntype = "webhook"\nurl = "https://hooks.example.org/PLANTED"\n'
    return load_settings(write_config(folder, SMALL + UNIT + channel), environ)


def origins(loaded: Loaded) -> dict[str, tuple[str, str]]:
    return {key: (text, origin) for key, text, origin in show(loaded)}


@pytest.mark.parametrize(
    ("variable", "text", "key", "written"),
    [
        ("DICOM_NODE_NODE__PORT", "11113", "node.port", "11113"),
        ("dicom_node_node__port", "11113", "node.port", "11112"),
        ("DICOM_NODE_FACILITY__NAME", "Other Center", "facility.name", '"Other Center"'),
        ("DICOM_NODE_FACILITY__NAME", '"Other Center"', "facility.name", '"Other Center"'),
        ("DICOM_NODE_NODE__AE_TITLE", "0012", "node.ae_title", '"0012"'),
        ("DICOM_NODE_NODE__AE_TITLE", '["ONE", "TWO"]', "node.ae_title", '["ONE", "TWO"]'),
        ("DICOM_NODE_NODE__LIMITS__IDLE", "90 s", "node.limits.idle", '"90 s"'),
        ("DICOM_NODE_UNITS__PRONE1__APPLYING", "false", "units.prone1.applying", "false"),
        ("DICOM_NODE_UNITS__PRONE1__RETIRED_ON", "2026-03-01", "units.prone1.retired_on", "2026-03-01"),
        ("DICOM_NODE_UNITS__PRONE1__IDENTITY__0__HOST", "10.9.9.9", "units.prone1.identity.0.host", '"10.9.9.9"'),
        ("DICOM_NODE_ALERTS__EVALUATE_AT", "07:30", "alerts.evaluate_at", '"07:30"'),
        ("DICOM_NODE_ALERTS__CHANNEL__0__NAME", "hook", "alerts.channel.0.name", '"hook"'),
    ],
)
def test_a_variable_goes_over_the_file(tmp_path: Path, variable: str, text: str, key: str, written: str) -> None:
    shown = origins(load(tmp_path, **{variable: text}))
    assert shown[key][0] == written
    if variable.isupper():
        assert shown[key][1] == variable


def test_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    shown = origins(load(tmp_path, DICOM_NODE_NODE__PORT="104"))
    assert shown["node.port"] == ("104", "DICOM_NODE_NODE__PORT")
    assert shown["node.bind"] == ('"127.0.0.1"', "default")
    assert shown["facility.name"] == ('"Synthetic Center"', f"{tmp_path}/dicom-node.toml:3")


def test_what_is_shown_of_a_web_address_ends_behind_the_host(tmp_path: Path) -> None:
    assert origins(load(tmp_path))["alerts.channel.0.url"][0] == '"https://hooks.example.org/***"'


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("DICOM_NODE_NODE__PROT", "names no key; did you mean DICOM_NODE_NODE__PORT?"),
        ("DICOM_NODE_NOD__PORT", "names no key; did you mean DICOM_NODE_NODE?"),
        ("DICOM_NODE_UNITS__PRONE9__LABEL", "names no key; did you mean DICOM_NODE_UNITS__PRONE1?"),
        ("DICOM_NODE_ALERTS__CHANNEL__7__NAME", "known: DICOM_NODE_ALERTS__CHANNEL__0"),
        ("DICOM_NODE_NODE__PORT__X", "nothing more below this key"),
    ],
)
def test_a_variable_that_names_no_key_is_a_problem(tmp_path: Path, variable: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{variable: "x"})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}: ")
    assert words in problem


def test_a_wrong_value_names_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, DICOM_NODE_NODE__PORT="99999")
    assert caught.value.problems == ["DICOM_NODE_NODE__PORT: node.port: too large (got 99999); write at most 65535"]


def test_other_variables_are_let_be(tmp_path: Path) -> None:
    assert load(tmp_path, DICOM_NODE_CONFIG="x", DICOM_NODE_REAL_DATA="y", NODE__PORT="1").warnings == ()


def test_a_relative_path_in_a_variable_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = load(tmp_path, DICOM_NODE_STORAGE__PATH="../there").settings
    assert settings.storage.path == tmp_path / "there"


def test_the_environment_may_make_a_table_the_file_does_not_have(tmp_path: Path) -> None:
    loaded = load(tmp_path, DICOM_NODE_ALERTS__DEAD_MAN__URL="https://x.example.org/1")
    assert loaded.settings.alerts.dead_man is not None
