"""Every channel against a real receiver: first what all of them promise, then each for itself."""

import email
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email import policy
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import Channel, Result
from dicom_node.alerts.deadman import ping
from dicom_node.alerts.folder import FolderChannel
from dicom_node.alerts.log import LogChannel
from dicom_node.alerts.render import Message
from dicom_node.alerts.smtp import Security, SmtpChannel
from dicom_node.alerts.webhook import WebhookChannel
from tests.alerting import FakeChannel, make_message
from tests.receivers import Authority, raw_server, smtp_server, web_server

OPS, LEAD = "ops@example.org", "lead@example.org"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def message() -> Message:
    return make_message()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def mail_channel(port: int, **options: object) -> SmtpChannel:
    defaults: dict[str, object] = {"security": Security.NONE, "recipients": [OPS, LEAD]}
    return SmtpChannel(
        name="ops-mail", host="127.0.0.1", port=port, sender="dicom-node@example.org", **defaults | options  # type: ignore[arg-type] # options of any kind
    )  # fmt: skip


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestEveryChannel:
    """The contract of ``channels.Channel``, on the real ones and the one tests use in their place."""

    @pytest.fixture(params=["smtp", "webhook", "folder", "log", "fake"])
    def working(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Channel]:
        with ExitStack() as stack:
            makers: dict[str, Callable[[], Channel]] = {
                "smtp": lambda: mail_channel(stack.enter_context(smtp_server()).port),
                "webhook": lambda: WebhookChannel(name="hook", url=stack.enter_context(web_server()).url),
                "folder": lambda: FolderChannel(name="outbox", folder=tmp_path / "outbox"),
                "log": lambda: LogChannel(name="log"),
                "fake": FakeChannel,
            }
            yield makers[request.param]()

    @pytest.fixture(params=["smtp", "webhook", "folder"])
    def broken(self, request: pytest.FixtureRequest, tmp_path: Path) -> Channel:
        (tmp_path / "a-file").touch()
        makers: dict[str, Callable[[], Channel]] = {
            "smtp": lambda: mail_channel(closed_port()),
            "webhook": lambda: WebhookChannel(name="hook", url=f"http://127.0.0.1:{closed_port()}/"),
            "folder": lambda: FolderChannel(name="outbox", folder=tmp_path / "a-file" / "outbox"),
        }
        return makers[request.param]()

    def test_it_has_a_name_recipients_and_a_least_severity(self, working: Channel) -> None:
        assert working.name
        assert working.recipients
        assert working.min_severity is Severity.INFO

    def test_it_tells_the_outcome_of_each_recipient(self, working: Channel, message: Message) -> None:
        outcomes = working.send(message, working.recipients)
        assert {recipient: each.result for recipient, each in outcomes.items()} == dict.fromkeys(
            working.recipients, Result.DELIVERED
        )

    def test_it_takes_the_same_message_again(self, working: Channel, message: Message) -> None:
        for _ in range(2):
            outcomes = working.send(message, working.recipients[:1])
            assert [each.result for each in outcomes.values()] == [Result.DELIVERED]

    def test_a_failure_that_may_pass_is_an_outcome_with_a_reason(self, broken: Channel, message: Message) -> None:
        outcomes = broken.send(message, broken.recipients)
        assert set(outcomes) == set(broken.recipients)
        for each in outcomes.values():
            assert each.result is Result.RETRY
            assert each.reason
            assert each.reason.isprintable()


class TestSmtp:
    def test_the_mail_arrives_with_text_html_and_its_headers(self, message: Message) -> None:
        with smtp_server() as receiver:
            mail_channel(receiver.port).send(message, [OPS, LEAD])
        [mail] = receiver.mails
        assert receiver.envelopes == [(OPS, LEAD)]
        assert mail["Subject"] == message.subject
        assert mail["To"] == f"{OPS}, {LEAD}"
        assert mail["From"] == "dicom-node <dicom-node@example.org>"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["X-Dicom-Node-Alert"] == "eligibility/upright_a/clinical/2026-06-08"
        assert mail["Date"].datetime == message.at
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        assert text.get_content().splitlines() == message.text.splitlines()
        assert html.get_content().splitlines() == message.html.splitlines()

    def test_one_refused_recipient_keeps_the_mail_from_no_other(self, message: Message) -> None:
        with smtp_server(rcpt={LEAD: "550 5.1.1 no such person"}) as receiver:
            outcomes = mail_channel(receiver.port).send(message, [OPS, LEAD])
        assert outcomes[OPS].result is Result.DELIVERED
        assert outcomes[LEAD].result is Result.REFUSED
        assert outcomes[LEAD].reason == "550 5.1.1 no such person"
        assert receiver.envelopes == [(OPS,)]

    def test_a_recipient_put_off_is_tried_again_and_the_other_is_done(self, message: Message) -> None:
        with smtp_server(rcpt={LEAD: "451 4.7.1 greylisted"}) as receiver:
            outcomes = mail_channel(receiver.port).send(message, [OPS, LEAD])
        assert (outcomes[OPS].result, outcomes[LEAD].result) == (Result.DELIVERED, Result.RETRY)

    @pytest.mark.parametrize(
        ("answer", "result"),
        [("451 4.3.0 later", Result.RETRY), ("452 disk full", Result.RETRY), ("554 5.7.1 not wanted", Result.REFUSED)],
    )
    def test_the_answer_to_the_data_decides_for_all_that_were_accepted(
        self, message: Message, answer: str, result: Result
    ) -> None:
        with smtp_server(data=lambda: answer) as receiver:
            outcomes = mail_channel(receiver.port).send(message, [OPS, LEAD])
        assert {each.result for each in outcomes.values()} == {result}

    def test_when_nobody_is_accepted_nothing_is_handed_over(self, message: Message) -> None:
        with smtp_server(rcpt={OPS: "550 no", LEAD: "450 later"}) as receiver:
            outcomes = mail_channel(receiver.port).send(message, [OPS, LEAD])
        assert (outcomes[OPS].result, outcomes[LEAD].result) == (Result.REFUSED, Result.RETRY)
        assert receiver.mails == []

    def test_a_relay_that_hangs_is_left_after_the_timeout(self, message: Message) -> None:
        with smtp_server(hang=True) as receiver:
            outcomes = mail_channel(receiver.port, timeout_s=0.3).send(message, [OPS])
        assert outcomes[OPS].result is Result.RETRY

    def test_a_relay_that_drips_is_cut_off(self, message: Message) -> None:
        def drip(connection: socket.socket) -> None:
            while True:
                connection.sendall(b"220-wait\r\n")
                time.sleep(0.05)

        with raw_server(drip) as port:
            outcomes = mail_channel(port, timeout_s=5, limit_s=0.3).send(message, [OPS])
        assert outcomes[OPS].result is Result.RETRY

    def test_an_answer_that_is_lost_is_tried_again_under_the_same_message_id(self, message: Message) -> None:
        with smtp_server(lose_answer=True) as receiver:
            channel = mail_channel(receiver.port)
            assert channel.send(message, [OPS])[OPS].result is Result.RETRY
            receiver.lose_answer = False
            assert channel.send(message, [OPS])[OPS].result is Result.DELIVERED
        first, second = receiver.mails
        assert first["Message-ID"] == second["Message-ID"]
        assert first["Message-ID"].endswith("@example.org>")

    def test_something_that_is_no_mail_server_is_tried_again(self, message: Message) -> None:
        with raw_server(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
            outcomes = mail_channel(port, timeout_s=1).send(message, [OPS])
        assert outcomes[OPS].result is Result.RETRY

    def test_starttls_and_login(self, message: Message, authority: Authority) -> None:
        with smtp_server(authority.server) as receiver:
            channel = mail_channel(
                receiver.port,
                security=Security.STARTTLS,
                ca_file=authority.ca_file,
                username="dicom-node",
                password="synthetic-secret",
            )
            assert channel.send(message, [OPS])[OPS].result is Result.DELIVERED
        assert receiver.was_tls == [True]
        assert receiver.logins == ["dicom-node"]

    def test_tls_from_the_first_byte(self, message: Message, authority: Authority) -> None:
        with smtp_server(authority.server, implicit=True) as receiver:
            channel = mail_channel(receiver.port, security=Security.TLS, ca_file=authority.ca_file)
            assert channel.send(message, [OPS])[OPS].result is Result.DELIVERED
        assert len(receiver.mails) == 1

    def test_a_wrong_password_waits_for_the_operator(self, message: Message, authority: Authority) -> None:
        with smtp_server(authority.server) as receiver:
            channel = mail_channel(
                receiver.port,
                security=Security.STARTTLS,
                ca_file=authority.ca_file,
                username="dicom-node",
                password="wrong",
            )
            outcome = channel.send(message, [OPS])[OPS]
        assert outcome.result is Result.RETRY
        assert outcome.reason.startswith("535")
        assert receiver.mails == []

    @pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
    def test_a_certificate_nobody_vouches_for_stops_the_mail(
        self, message: Message, authority: Authority, security: Security
    ) -> None:
        with smtp_server(authority.server, implicit=security is Security.TLS) as receiver:
            outcome = mail_channel(receiver.port, security=security).send(message, [OPS])[OPS]
        assert outcome.result is Result.RETRY
        assert "certificate" in outcome.reason.lower()
        assert receiver.mails == []

    def test_a_relay_without_starttls_gets_nothing(self, message: Message) -> None:
        with smtp_server() as receiver:
            outcome = mail_channel(receiver.port, security=Security.STARTTLS).send(message, [OPS])[OPS]
        assert outcome.result is Result.RETRY
        assert receiver.mails == []

    def test_letters_beyond_ascii_pass_a_relay_of_seven_bits(self) -> None:
        message = make_message(label="Stereotaxie-Gerät Süd, Raum 4 – 乳房")
        with smtp_server() as receiver:
            mail_channel(receiver.port).send(message, [OPS])
        [mail] = receiver.mails
        assert "Gerät Süd" in mail["Subject"]
        assert all(
            part.get_content_maintype() == "multipart" or part["Content-Transfer-Encoding"] != "8bit"
            for part in mail.walk()
        )
        text = mail.get_body(("plain",))
        assert text is not None
        assert "乳房" in text.get_content()


class TestWebhook:
    def test_the_body_is_signed_json(self, message: Message) -> None:
        with web_server() as receiver:
            WebhookChannel(name="hook", url=receiver.url, secret="synthetic-secret").send(message, [""])
        [(method, headers, body)] = receiver.requests
        assert method == "POST"
        assert headers["Content-Type"] == "application/json"
        expected = hmac.new(b"synthetic-secret", body, hashlib.sha256).hexdigest()
        assert headers["X-Dicom-Node-Signature"] == f"sha256={expected}"
        told = json.loads(body)
        assert told["unit"] == "upright_a"
        assert told["subject"] == message.subject
        assert told["text"] == message.text
        assert told["alerts"][0]["key"] == "eligibility/upright_a/clinical/2026-06-08"

    def test_without_a_secret_there_is_no_signature(self, message: Message) -> None:
        with web_server() as receiver:
            WebhookChannel(name="hook", url=receiver.url).send(message, [""])
        assert "X-Dicom-Node-Signature" not in receiver.requests[0][1]

    def test_a_server_error_is_tried_again_with_the_same_body(self, message: Message) -> None:
        with web_server(500, 200) as receiver:
            channel = WebhookChannel(name="hook", url=receiver.url, secret="synthetic-secret")
            assert channel.send(message, [""])[""].result is Result.RETRY
            assert channel.send(message, [""])[""].result is Result.DELIVERED
        assert receiver.requests[0][2] == receiver.requests[1][2]

    @pytest.mark.parametrize(
        ("status", "result"),
        [
            (204, Result.DELIVERED),
            (400, Result.REFUSED),
            (410, Result.REFUSED),
            (429, Result.RETRY),
            (503, Result.RETRY),
        ],
    )
    def test_the_status_decides(self, message: Message, status: int, result: Result) -> None:
        with web_server(status) as receiver:
            assert WebhookChannel(name="hook", url=receiver.url).send(message, [""])[""].result is result

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_not_followed_least_of_all_to_a_file(
        self, message: Message, tmp_path: Path, status: int
    ) -> None:
        (tmp_path / "target").write_text("secret")
        with web_server(status, location=(tmp_path / "target").as_uri()) as receiver:
            outcome = WebhookChannel(name="hook", url=receiver.url).send(message, [""])[""]
        assert outcome.result is Result.REFUSED
        assert len(receiver.requests) == 1

    @pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x", "gopher://x"])
    def test_only_http_and_https_are_used(self, message: Message, url: str) -> None:
        assert WebhookChannel(name="hook", url=url).send(message, [""])[""].result is Result.RETRY

    def test_https_with_a_certificate_that_is_vouched_for(self, message: Message, authority: Authority) -> None:
        with web_server(tls=authority.server) as receiver:
            channel = WebhookChannel(name="hook", url=receiver.url, ca_file=authority.ca_file)
            assert channel.send(message, [""])[""].result is Result.DELIVERED

    def test_a_server_that_hangs_or_drips_is_left(self, message: Message) -> None:
        def drip(connection: socket.socket) -> None:
            while True:
                connection.sendall(b"H")
                time.sleep(0.02)

        for talk, limits in ((lambda connection: time.sleep(0.5), (0.2, 5.0)), (drip, (5.0, 0.3))):
            with raw_server(talk) as port:
                channel = WebhookChannel(
                    name="hook", url=f"http://127.0.0.1:{port}/", timeout_s=limits[0], limit_s=limits[1]
                )
                assert channel.send(message, [""])[""].result is Result.RETRY


class TestFolder:
    def test_the_file_is_a_mail_and_a_repeat_replaces_it(self, message: Message, tmp_path: Path) -> None:
        channel = FolderChannel(name="outbox", folder=tmp_path / "outbox")
        channel.send(message, [""])
        channel.send(message, [""])
        [path] = (tmp_path / "outbox").iterdir()
        assert path.name.startswith("2026-11-24-firing-upright_a-")
        assert path.suffix == ".eml"
        mail = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        assert mail["Subject"] == message.subject

    def test_nothing_of_a_unit_id_gets_into_the_path(self, tmp_path: Path) -> None:
        FolderChannel(name="outbox", folder=tmp_path).send(make_message(unit_id="../../x"), [""])
        assert [path.suffix for path in tmp_path.iterdir()] == [".eml"]


def test_the_log_channel_writes_one_line(message: Message) -> None:
    with capture_logs() as lines:
        LogChannel(name="log").send(message, [""])
    [line] = lines
    assert line["event"] == "alert.notice"
    assert line["subject"] == message.subject


class TestDeadMan:
    def test_it_visits_its_address(self) -> None:
        with web_server() as receiver:
            assert ping(receiver.url)
        assert [method for method, _, _ in receiver.requests] == ["GET"]

    def test_a_failure_is_logged_and_raises_nothing(self) -> None:
        with web_server(500) as receiver, capture_logs() as lines:
            assert not ping(receiver.url)
            assert not ping(f"http://127.0.0.1:{closed_port()}/")
        assert [line["event"] for line in lines] == ["dead_man.failed"] * 2
