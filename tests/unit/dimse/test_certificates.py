"""What keeps the files of TLS from being used, and what certificates say of themselves."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from dicom_node.dimse.certificates import TlsFiles, file_problems, read_certificates
from dicom_node.dimse.tls import client_context, server_context
from dicom_node.errors import CertificateError
from tests.certificates import Authority

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def files(authority: Authority) -> TlsFiles:
    return authority.files()


def test_good_files_have_no_problem(files: TlsFiles) -> None:
    assert list(file_problems(files, NOW)) == []
    assert server_context(files).cert_store_stats()["x509"] == 1


def test_a_certificate_tells_whose_it_is_and_when_it_ends(authority: Authority) -> None:
    (own,) = read_certificates(authority.issue("pacs.example.org", days=3)[0])
    assert own.subject == "pacs.example.org"
    assert timedelta(days=2.9) < own.ends - NOW < timedelta(days=3.1)
    assert own.begins < NOW
    (ca,) = read_certificates(authority.file)
    assert ca.subject.startswith("trustme")
    assert ca.ends > own.ends
    assert own.fingerprint != ca.fingerprint


def test_the_fingerprint_and_the_dates_are_those_that_openssl_tells(authority: Authority) -> None:
    path = authority.issue("a")[0]
    told = subprocess.run(
        ["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256", "-enddate"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (own,) = read_certificates(path)
    assert own.fingerprint in told.replace(":", "").lower()
    assert f"{own.ends:%b} {own.ends.day:2} {own.ends:%H:%M:%S %Y} GMT" in told


def cut(path: Path) -> Path:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]))
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def encrypt(key: Path) -> Path:
    encrypted = key.with_suffix(".encrypted")
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", encrypted], check=True)
    return encrypted


def expose(key: Path) -> Path:
    key.chmod(0o644)
    return key


Spoil = Callable[[TlsFiles, Authority], TlsFiles]

PROBLEMS: dict[str, tuple[Spoil, str, str]] = {
    "no certificate": (lambda f, _: replace(f, certificate=Path("/nowhere")), "certificate_file", "cannot read"),
    "no key": (lambda f, _: replace(f, key=Path("/nowhere")), "key_file", "cannot read /nowhere"),
    "no authorities": (lambda f, _: replace(f, authorities=Path("/nowhere")), "ca_file", "cannot read"),
    "no PEM": (lambda f, _: replace(f, certificate=write(f.certificate, "x")), "certificate_file", "no certificate in"),
    "damaged": (lambda f, _: replace(f, certificate=cut(f.certificate)), "certificate_file", "is damaged"),
    "key no PEM": (lambda f, _: replace(f, key=write(f.key, "x")), "key_file", "holds no private key"),
    "authorities no PEM": (lambda f, a: replace(f, authorities=write(f.key, "x")), "ca_file", "no certificate in PEM"),
    "key of another": (lambda f, a: replace(f, key=a.issue("other")[1]), "key_file", "is not the key of"),
    "encrypted": (lambda f, _: replace(f, key=encrypt(f.key)), "key_file", "is encrypted"),
    "exposed": (lambda f, _: replace(f, key=expose(f.key)), "key_file", "chmod o="),
    "expired": (
        lambda f, a: replace(f, certificate=(old := a.issue("old", days=-1, began=9))[0], key=old[1]),
        "certificate_file",
        "ended on",
    ),
    "not yet": (
        lambda f, a: replace(f, certificate=(new := a.issue("new", began=-2))[0], key=new[1]),
        "certificate_file",
        "is the clock of this machine right?",
    ),
    "weak": (
        lambda f, a: replace(f, certificate=(weak := weak_pair(a.folder))[0], key=weak[1]),
        "key_file",
        "is too weak",
    ),
    "all authorities ended": (
        lambda f, a: replace(f, authorities=a.issue("oldca", days=-1, began=9)[0]),
        "ca_file",
        "ended on",
    ),
}


def weak_pair(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "weak.crt", folder / "weak.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-days", "9", "-keyout", key,
         "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_fault_is_told_with_its_file(files: TlsFiles, authority: Authority, name: str) -> None:
    spoil, key, words = PROBLEMS[name]
    spoilt = spoil(files, authority)
    found = dict(file_problems(spoilt, NOW))
    assert words in found[key]
    path = {"certificate_file": spoilt.certificate, "key_file": spoilt.key, "ca_file": spoilt.authorities}[key]
    assert str(path) in found[key] or str(spoilt.certificate) in found[key]


@pytest.mark.parametrize(
    "name", ["no certificate", "no key", "key of another", "encrypted", "no authorities", "damaged"]
)
def test_no_context_is_made_of_such_files(files: TlsFiles, authority: Authority, name: str) -> None:
    with pytest.raises(CertificateError):
        server_context(PROBLEMS[name][0](files, authority))


def test_nobody_is_called_without_authorities(files: TlsFiles) -> None:
    with pytest.raises(CertificateError, match=r"node\.tls\.ca_file"):
        client_context(replace(files, authorities=None))


def test_an_odd_name_is_made_printable(tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("a", common_name="a\n\x1b[31mb" + "c" * 50)
    path = tmp_path / "odd.crt"
    leaf.cert_chain_pems[0].write_to_path(str(path))
    (own,) = read_certificates(path)
    assert own.subject.isprintable()
    assert own.subject.startswith("a??[31mb")
