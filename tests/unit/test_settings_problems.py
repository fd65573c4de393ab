import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from dicom_node.accreditation.portions import Portion
from dicom_node.errors import ConfigError
from dicom_node.settings import Loaded, find_config, load_settings, protection
from tests.unit.configs import SMALL, UNIT, write_config


def load(folder: Path, text: str, **environ: str) -> Loaded:
    return load_settings(write_config(folder, text), environ)


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    """Return every problem without the folder in front."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def only_problem(folder: Path, text: str, **environ: str) -> str:
    found = problems(folder, text, **environ)
    assert len(found) == 1, found
    return found[0]


def test_the_least_configuration_loads_with_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL + UNIT).settings
    assert settings.node.ae_title == ("SBB_NODE",)
    assert (settings.node.bind, settings.node.port) == ("127.0.0.1", 11112)
    assert settings.storage.path == tmp_path / "data"
    assert settings.database_url().render_as_string() == f"sqlite:///{tmp_path}/data/node.db"
    assert settings.policy().id == "acr-sbb-2023-03-03"


BAD = """\
config_version = 1
[facility]
nam = "Synthetic Center"
time_zone = "America/Chicgo"
[node]
port = "11112"
ae_title = ["SBB_NODE", "TITLE_THAT_IS_TOO_LONG"]
limits = { idle = 30, max_connections = 0 }
[storage]
path = "data"
min_free = "20 GB"
[units.prone1]
label = "Prone table"
kind = "pron"
identity = [
  { ae_title = "PRONE" },
  { ae_title = "PRONE", host = "10.20.30.11/24" },
]
[attachments.addon1]
label = 5
[[attachments.addon1.attribute]]
keyword = "StationName"
map = { "UPR-A" = "upright_a" }
[accreditation]
policy = "acr-sbb-2020"
remind.clinical = [1, 2]
[[alerts.channel]]
name = "ops-mail"
type = "smtp"
password = "PLANTED"
"""


def test_all_problems_are_told_at_once_with_line_key_and_remedy(tmp_path: Path) -> None:
    found = problems(tmp_path, BAD, DICOM_NODE_NODE__BIND="here", DICOM_NODE_NODE__PROT="1")
    places = [": ".join(problem.split(": ")[:2]).removeprefix("dicom-node.toml:") for problem in found]
    assert places == [
        "2: facility.name",
        "3: facility.nam",
        "4: facility.time_zone",
        "6: node.port",
        "7: node.ae_title.1",
        "8: node.limits.idle",
        "8: node.limits.max_connections",
        "11: storage.min_free",
        "14: units.prone1.kind",
        "16: units.prone1.identity.0",
        "17: units.prone1.identity.1.host.0",
        "20: attachments.addon1.label",
        "23: attachments.addon1.attribute.0.map.UPR-A",
        "25: accreditation.policy",
        "26: accreditation.remind.clinical",
        "27: alerts.channel.0.host",
        "27: alerts.channel.0.from",
        "27: alerts.channel.0.to",
        "30: alerts.channel.0.password",
        "DICOM_NODE_NODE__BIND: node.bind",
        "DICOM_NODE_NODE__PROT: names no key; did you mean DICOM_NODE_NODE__PORT?",
    ]
    told = "\n".join(found)
    for words in (
        'missing; write name = "St Example Breast Center"',
        "unknown key; did you mean 'name'?",
        "did you mean 'America/Chicago'?",
        "22 characters, DICOM allows 16 (got 'TITLE_THAT_IS_TOO_LONG')",
        'write "prone" or "upright"',
        "write the address alone or '10.20.30.0/24'",
        "unit 'upright_a' does not exist (known: prone1)",
        "(known: latest, acr-sbb-2023-03-03, acr-sbb-2026-01-14)",
        "write password_file",
    ):
        assert words in told
    assert "PLANTED" not in told


def test_a_syntax_error_is_told_with_its_line_alone(tmp_path: Path) -> None:
    found = only_problem(tmp_path, 'config_version = 1\n[facility]\nname "x"\n')
    assert re.fullmatch(r"dicom-node\.toml:3: column 6: not TOML: Expected '=' .*; mend this line .*", found)


def test_a_file_that_breaks_off_is_a_syntax_error_on_its_last_line(tmp_path: Path) -> None:
    assert only_problem(tmp_path, 'config_version = 1\nname = """x\n\n').startswith(
        "dicom-node.toml:4: end of the file"
    )


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"config_version = 1\n# K\xf6ln\n")
    with pytest.raises(ConfigError, match=r"latin\.toml:2: not UTF-8"):
        load_settings(path, {})


def test_a_file_that_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read"):
        load_settings(tmp_path / "gone.toml", {})


@pytest.mark.parametrize("text", ["", "units = 5\nalerts = []\nrules = {}\nnode = 1\npeers = { x = 2 }\n"])
def test_a_file_of_the_wrong_shape_is_told_and_breaks_nothing(tmp_path: Path, text: str) -> None:
    assert any("config_version" in problem for problem in problems(tmp_path, text))


TWO = """\
[units.upright_a]
label = "A"
kind = "upright"
identity = [{{ {a} }}]
[units.upright_b]
label = "B"
kind = "upright"
identity = [{{ {b} }}]
"""


def two(a: str, b: str) -> str:
    return SMALL + TWO.format(a=a, b=b)


def test_two_units_that_call_alike_from_one_address_are_a_problem(tmp_path: Path) -> None:
    text = two('ae_title = "X", host = "10.0.0.1"', 'ae_title = "X", host = "10.0.0.0/24"')
    found = only_problem(tmp_path, text)
    assert found.startswith("dicom-node.toml:14: units.upright_b.identity.0.ae_title: 'X' from this address is units.u")


def test_two_units_that_call_alike_may_be_told_apart_by_their_serial(tmp_path: Path) -> None:
    text = two(
        'ae_title = "X", host = "10.0.0.1", device_serial = "1"',
        'ae_title = "X", host = "10.0.0.1", device_serial = "2"',
    )
    assert load(tmp_path, text).warnings == ()


def test_units_that_share_a_serial_are_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, two('device_serial = "S1"', 'device_serial = "s1"')).warnings
    assert (
        "dicom-node.toml:14: units.upright_b.identity.0.device_serial: units.upright_a and units.upright_b" in warning
    )


def test_a_configuration_without_units_is_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, SMALL).warnings
    assert "write a table [units.ID]" in warning


def test_an_attachment_that_nothing_ties_to_a_unit_is_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, SMALL + UNIT + '[attachments.a]\nlabel = "A"\n').warnings
    assert ": attachments.a: nothing ties it to a unit; write [[attachments.a.assigned]]" in warning


TLS = '[node.tls]\ncertificate_file = "node.crt"\nkey_file = "node.key"\n'


def test_a_public_address_without_tls_is_an_error_unless_it_is_said(tmp_path: Path) -> None:
    public = SMALL + UNIT + '[node]\nbind = "8.8.8.8"\n'
    for more in ("", TLS + 'ca_file = "ca.pem"\n'):
        (problem,) = problems(tmp_path, public + more)
        assert "node.bind: a public address, and associations are not encrypted" in problem
    assert load(tmp_path, public + "allow_unencrypted = true\n").warnings == ()
    assert load(tmp_path, public + TLS + 'ca_file = "ca.pem"\nonly = true\n').warnings == ()


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
def test_every_address_is_public_where_one_of_the_machine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bind: str
) -> None:
    def has(address: str) -> None:
        monkeypatch.setattr(protection.fcntl, "ioctl", lambda *_: bytes(20) + ip_address(address).packed + bytes(232))

    monkeypatch.setattr(protection, "_IPV6_ADDRESSES", tmp_path / "none")
    text = SMALL + UNIT + f'[node]\nbind = "{bind}"\n'
    has("10.20.30.2")
    assert load(tmp_path, text).warnings == ()
    has("8.8.8.8")
    (problem,) = problems(tmp_path, text)
    assert "node.bind: 8.8.8.8 is a public address" in problem
    if bind == "::":
        has("10.20.30.2")
        (tmp_path / "none").write_text("20014860486000000000000000008888 02 40 00 80 eth0\n")
        (problem,) = problems(tmp_path, text)
        assert "node.bind: 2001:4860:4860::8888 is a public address" in problem


def test_what_nobody_would_be_asked_for_is_an_error(tmp_path: Path) -> None:
    peer = '[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\nport = 1\ntls = true\ncertificate = "p"\nusername = "p"\n'
    told = " ".join(problems(tmp_path, SMALL + UNIT + peer))
    assert "peers.p.certificate: nobody is asked for a certificate" in told
    assert "peers.p.username: a username is taken by TLS alone" in told
    assert "peers.p.tls: nobody could tell whose certificate is shown" in told
    loaded = load(tmp_path, SMALL + UNIT + peer + TLS + 'ca_file = "ca.pem"\n')
    (destination,) = loaded.settings.destinations()
    assert (destination.tls, destination.certificates) == (True, ("p",))


def test_tls_without_authorities_is_a_warning_and_the_same_port_an_error(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, SMALL + UNIT + TLS).warnings
    assert "node.tls: no ca_file: callers need no certificate" in warning
    (problem,) = problems(tmp_path, SMALL + UNIT + TLS + "port = 11112\n")
    assert "node.tls.port: node.port is the same" in problem


def test_a_passcode_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    peer = '[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\nusername = "u"\npasscode_file = "code"\n'
    text = SMALL + UNIT + TLS + 'ca_file = "ca.pem"\n' + peer
    (problem,) = problems(tmp_path, text)
    assert "peers.p.passcode_file: cannot read" in problem
    (tmp_path / "code").write_text("Geheim\n")
    (tmp_path / "code").chmod(0o600)
    caller = {each.ae_title: each for each in load(tmp_path, text).settings.callers()}["P"]
    assert (caller.username, caller.passcode) == ("u", "Geheim")
    assert "Geheim" not in repr(caller)


def test_a_peer_that_may_call_from_everywhere_is_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, SMALL + UNIT + '[peers.p]\nae_title = "P"\nhost = "0.0.0.0/0"\n').warnings
    assert "peers.p.host: every address may query" in warning


RULE = '[[rules]]\nname = "r"\nwhen = {{ {when} }}\n{sets}\n'


@pytest.mark.parametrize(
    ("when", "sets", "words"),
    [
        ('StationName = "A"', "", "sets nothing"),
        ('StationName = "A"', 'unit = "prone9"', "unit 'prone9' does not exist (known: prone1)"),
        ('StationName = "A"', 'attachment = "a"', "attachment 'a' does not exist"),
        ('StationName = "A"', 'portion = "clinicl"', 'write "clinical", "phantom", "neither" or "unclear"'),
        ("", 'unit = "prone1"', "empty; write at least one"),
        ('StationName = { regex = "(" }', 'unit = "prone1"', "not a regular expression"),
        ('StationName = { folded = "a", present = true }', 'unit = "prone1"', "a condition makes one test"),
        ("StationName = 5", 'unit = "prone1"', "not text (got 5)"),
        ('stationName = "A"', 'unit = "prone1"', "names no attribute"),
    ],
)
def test_a_rule_that_cannot_work_is_told(tmp_path: Path, when: str, sets: str, words: str) -> None:
    assert words in only_problem(tmp_path, SMALL + UNIT + RULE.format(when=when, sets=sets))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[database]\nurl = "postgresql://u:PLANTED@db/x"\n', "has a password in it"),
        ('[database]\nurl = "mysql://db/x"\n', "mysql is no database of this program"),
        ('[database]\nurl = "sqlite://"\n', "needs a file to live in"),
        ('[database]\nurl = "PLANTED"\n', "not a database URL"),
        ("[node.limits]\nmax_connections = 8\n", "less than max_associations; write at least 256"),
        ('[node]\nprivate_sop_classes = ["1.2.03"]\n', "not a UID"),
        ("[node]\nworkers = 0\n", 'neither "auto" nor a whole number from 1 to 64 (got 0)'),
        ("[node]\nworkers = true\n", 'neither "auto" nor a whole number from 1 to 64 (got True)'),
        ('[node]\nworkers = "many"\n', "neither \"auto\" nor a whole number from 1 to 64 (got 'many')"),
        ("[web]\nport = 8080\n", "web: unknown key; known: config_version, facility, node"),
        ('[[alerts.channel]]\nname = "a"\n', 'missing; write "smtp", "webhook" or "log"'),
        ('[[alerts.channel]]\nname = "a"\ntype = "sms"\n', "no such kind of channel (got 'sms')"),
        ('[[alerts.channel]]\nname = "a"\ntype = "log"\nhost = "x"\n', "unknown key; known: name, min_severity, type"),
        ('[[alerts.channel]]\nname = "a"\ntype = "webhook"\nurl = "ftp://PLANTED"\n', "not a web address"),
        ('[alerts.dead_man]\nurl = "https://u:PLANTED@x/"\n', "a web address with a password in it"),
        ('[audit.syslog]\nhost = "a.example"\ncertificate = "a.crt"\n', "certificate and private_key belong together"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\nallow = ["write"]\n', '"echo"'),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.0/8"\nport = 104\n', "host is not one address"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\ntls = true\n', "port is missing"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\nallow = ["move-destination"]\n', "without port"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\npasscode_file = "dicom-node.toml"\n', "without username"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\ncertificate = "sha256:12"\n', "names no certificate"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\ncertificate = ["a\\nb"]\n', "names no certificate"),
        ('[senders.s]\nrole = "router"\ndevice_serial = "1"\nusername = "u"\n', "ae_title is missing"),
        ('[peers.p]\nae_title = "P"\nhost = "10.0.0.1"\nport = 1\naddress = "pacs"\n', "not an IP address"),
        ('[units."a b"]\nlabel = "A"\nkind = "prone"\nidentity = [{device_serial = "1"}]\n', "'a b' is no id"),
        ('[units.x]\nlabel = "A"\nkind = "prone"\nidentity = [{manufacturer = "M"}]\n', "tells no device"),
        ('[units.x]\nlabel = "A"\nkind = "prone"\nidentity = []\n', "empty; write at least one"),
    ],
)
def test_a_wrong_value_is_told_in_words(tmp_path: Path, text: str, words: str) -> None:
    found = only_problem(tmp_path, SMALL + UNIT + text)
    assert words in found
    assert "PLANTED" not in found


CHANNEL = """\
[[alerts.channel]]
name = "ops-mail"
type = "smtp"
host = "localhost"
username = "node"
password_file = "{file}"
from = "node@example.org"
to = ["ops@example.org"]
{more}
"""


def test_a_secret_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    found = only_problem(tmp_path, SMALL + UNIT + CHANNEL.format(file="gone", more=""))
    assert f"alerts.channel.0.password_file: cannot read {tmp_path}/gone (No such file or directory)" in found


def test_a_secret_that_everyone_may_read_is_a_warning(tmp_path: Path) -> None:
    secret = write_config(tmp_path, "PLANTED\n", "secret")
    secret.chmod(0o644)
    (warning,) = load(tmp_path, SMALL + UNIT + CHANNEL.format(file="secret", more="")).warnings
    assert f"everyone on this machine may read {secret}" in warning
    secret.chmod(0o600)
    assert load(tmp_path, SMALL + UNIT + CHANNEL.format(file="secret", more="")).warnings == ()


def test_a_credential_of_systemd_is_missed_in_the_service_alone(tmp_path: Path) -> None:
    text = SMALL + UNIT + CHANNEL.format(file="$CREDENTIALS_DIRECTORY/smtp", more="")
    (warning,) = load(tmp_path, text).warnings
    assert "$CREDENTIALS_DIRECTORY is not set" in warning
    assert "$CREDENTIALS_DIRECTORY is not set" in only_problem(tmp_path, text, INVOCATION_ID="1")
    write_config(tmp_path, "PLANTED\n", "smtp").chmod(0o600)
    assert load(tmp_path, text, CREDENTIALS_DIRECTORY=str(tmp_path)).warnings == ()


def test_a_password_never_travels_in_clear(tmp_path: Path) -> None:
    write_config(tmp_path, "PLANTED\n", "secret").chmod(0o600)
    text = SMALL + UNIT + CHANNEL.format(file="secret", more='security = "none"')
    assert "the password would travel in clear" in only_problem(tmp_path, text)


def test_the_database_password_is_taken_from_its_file(tmp_path: Path) -> None:
    write_config(tmp_path, "s@cret\n", "secret").chmod(0o600)
    database = '[database]\nurl = "postgresql://node@db.example.org/node"\npassword_file = "secret"\n'
    url = load(tmp_path, SMALL + UNIT + database).settings.database_url()
    assert url.password == "s@cret"


def test_a_relative_sqlite_file_starts_at_the_folder_of_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL + UNIT + '[database]\nurl = "sqlite:///index/x.db"\n').settings
    assert settings.database_url().database == f"{tmp_path}/index/x.db"


def test_names_of_rules_and_channels_are_used_once(tmp_path: Path) -> None:
    channel = '[[alerts.channel]]\nname = "a"\ntype = "log"\n'
    assert "'a' is the name of alerts.channel.0 too" in only_problem(tmp_path, SMALL + UNIT + channel + channel)
    rule = RULE.format(when='StationName = "A"', sets='unit = "prone1"')
    assert "'r' is the name of rules.0 too" in only_problem(tmp_path, SMALL + UNIT + rule + rule)


POLICY = """\
[accreditation]
policy = "{chosen}"
[[accreditation.policies]]
id = "{name}"
program = "P"
article = "Letter"
revision = 2026-02-01
address = "on file"
months = {{ clinical = 8, phantom = 14 }}
"""


def test_a_site_may_write_and_choose_its_own_policy(tmp_path: Path) -> None:
    policy = load(tmp_path, SMALL + UNIT + POLICY.format(chosen="ours", name="ours")).settings.policy()
    assert (policy.id, policy.months) == ("ours", {"clinical": 8, "phantom": 14, "physicist": 14})


def test_the_months_of_surveys_are_those_of_the_acr_unless_they_are_written(tmp_path: Path) -> None:
    text = SMALL + UNIT + POLICY.format(chosen="ours", name="ours")
    override = """\
[[accreditation.overrides]]
from = 2026-03-01
to = 2026-05-31
months = { clinical = 9, phantom = 14 }
article = "Letter"
revision = 2026-02-01
address = "on file"
"""
    policy = load(tmp_path, text + override).settings.policy()
    assert "Quality Control: Stereotactic Breast Biopsy" in policy.source(Portion.PHYSICIST)
    assert policy.overrides[0].months[Portion.PHYSICIST] == 14
    own = text.replace("phantom = 14 }", "phantom = 14, physicist = 12 }")
    policy = load(tmp_path, own + override).settings.policy()
    assert policy.months[Portion.PHYSICIST] == policy.overrides[0].months[Portion.PHYSICIST] == 12
    assert policy.source(Portion.PHYSICIST) == "P, Letter, revised 2026-02-01; on file"


def test_no_rule_makes_an_exam_of_the_physicist_report(tmp_path: Path) -> None:
    rule = RULE.format(when='StationName = "A"', sets='portion = "physicist"')
    assert "no such choice" in only_problem(tmp_path, SMALL + UNIT + rule)


def test_a_site_may_not_take_the_id_of_a_policy_that_ships(tmp_path: Path) -> None:
    text = SMALL + UNIT + POLICY.format(chosen="latest", name="acr-sbb-2026-01-14")
    assert "'acr-sbb-2026-01-14' is taken" in only_problem(tmp_path, text)


def test_the_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dicom_node.settings.load.SEARCHED", (Path("config/a.toml"), tmp_path / "b.toml"))
    with pytest.raises(ConfigError, match=r"no configuration at config/a\.toml or .*b\.toml; write one there"):
        find_config(None, {})
    (tmp_path / "b.toml").touch()
    assert find_config(None, {}) == tmp_path / "b.toml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.toml").touch()
    assert find_config(None, {}) == Path("config/a.toml")
    assert find_config(None, {"DICOM_NODE_CONFIG": "c.toml"}) == Path("c.toml")
    assert find_config(Path("d.toml"), {"DICOM_NODE_CONFIG": "c.toml"}) == Path("d.toml")


def test_a_unit_is_not_retired_before_it_was_installed(tmp_path: Path) -> None:
    days = "retired_on = 2026-02-01\ninstalled_on = 2026-02-02\n"
    found = only_problem(tmp_path, SMALL + UNIT.replace("[[units.prone1.identity", days + "[[units.prone1.identity"))
    assert found.endswith("units.prone1: retired_on 2026-02-01 is before installed_on 2026-02-02; mend one of them")


def test_a_keyword_that_no_attribute_has_is_a_warning(tmp_path: Path) -> None:
    rule = RULE.format(when='StationNam = "A"', sets='unit = "prone1"')
    (warning,) = load(tmp_path, SMALL + UNIT + rule).warnings
    assert (
        "rules.0.when.StationNam: no attribute the node reads has this keyword; did you mean 'StationName'?" in warning
    )


@pytest.mark.parametrize(
    "name",
    [
        "StationName",
        "GantryID",
        "calling_ae",
        "ContributingSourcesSequence.DeviceSerialNumber",
        "DateTimeStarted",
        "X:1269,0a",
    ],
)
def test_a_rule_may_look_at_whatever_is_read_from_a_header(tmp_path: Path, name: str) -> None:
    rule = RULE.format(when=f'"{name}" = "A"', sets='unit = "prone1"')
    loaded = load(tmp_path, SMALL + UNIT + rule)
    assert loaded.warnings == ()
    assert loaded.settings.registry().rules[0].conditions[0].name == name.replace("0a", "0A")


OVERRIDE = """\
[[accreditation.overrides]]
{policy}
from = {first}
to = {last}
months = {{ clinical = 9, phantom = 9 }}
article = "Letter"
revision = 2020-03-27
address = "on file"
"""


def test_overrides_belong_to_the_policy_in_use_or_to_the_one_they_name(tmp_path: Path) -> None:
    named = OVERRIDE.format(policy='policy = "acr-sbb-2026-01-14"', first="2020-04-01", last="2020-09-30")
    later, earlier = (
        OVERRIDE.format(policy="", first=first, last=last)
        for first, last in (("2020-10-01", "2020-12-31"), ("2020-04-01", "2020-09-30"))
    )
    settings = load(tmp_path, SMALL + UNIT + later + named + earlier).settings
    assert [each.first.isoformat() for each in settings.policy().overrides] == ["2020-04-01", "2020-10-01"]
    assert [len(policy.overrides) for policy in settings.policies().values()] == [2, 1]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (("", "2020-09-30", "2020-10-31"), "overrides.1.from: some of its days are those of accreditation.overrides.0"),
        (('policy = "acr-sbb-2023-03-03"', "2020-09-01", "2020-09-02"), "some of its days are those of"),
        (("", "2020-12-02", "2020-12-01"), "to 2020-12-01 is before from 2020-12-02; mend one of them"),
        (
            ('policy = "acr"', "2020-12-01", "2020-12-02"),
            "overrides.1.policy: policy 'acr' does not exist (known: acr-",
        ),
    ],
)
def test_what_is_wrong_with_an_override_is_told(tmp_path: Path, second: tuple[str, str, str], told: str) -> None:
    first = OVERRIDE.format(policy="", first="2020-04-01", last="2020-09-30")
    policy, begins, ends = second
    text = SMALL + UNIT + first + OVERRIDE.format(policy=policy, first=begins, last=ends)
    assert told in only_problem(tmp_path, text)
