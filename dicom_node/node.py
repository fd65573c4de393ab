"""The node: composed from one configuration, started, reloaded, drained and stopped."""

import contextlib
import secrets
import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from types import FrameType
from typing import Protocol

from dicom_node import __version__, notify
from dicom_node.accreditation.policies import Policy
from dicom_node.alerts.deadman import ping
from dicom_node.dimse.access import Destination
from dicom_node.dimse.capacity import Places
from dicom_node.dimse.reporting import Reporter
from dicom_node.errors import ConfigError, NodeError
from dicom_node.logs import get_logger
from dicom_node.reception import Ports, Reception, capacity_of
from dicom_node.scheduling.jobs import Clockwork, Job
from dicom_node.services import audit
from dicom_node.services.audit_forwarding import Forwarder
from dicom_node.services.audit_recovery import recover_transfers
from dicom_node.services.audit_witness import witness
from dicom_node.services.dispatch import Dispatcher
from dicom_node.services.policies import accept_first, choose_in_force
from dicom_node.services.recover import recover
from dicom_node.services.review import daily, is_review_wanted, last_review, review, review_settled
from dicom_node.settings import Settings
from dicom_node.settings.model import TlsTable
from dicom_node.site import Site, Stores, utc_now
from dicom_node.workers import Workers

log = get_logger(__name__)

REVIEW_LOOK, SETTLE_LOOK, DISPATCH_LOOK, COMMITMENT_LOOK = 20.0, 2.0, 5.0, 2.0
"""Seconds between two looks at whether a review, a settled exam, a delivery, a report of commitment is due."""

FORWARD_LOOK, WITNESS_LOOK = 5.0, 60.0
"""Seconds between two looks for lines of the audit trail to forward, and between two notes of its end."""

IDLE_TURN = 1.0
"""Seconds between two looks of the main thread at the signals."""


class Front(Protocol):
    """Whoever receives and answers for the node: itself, or processes beside it."""

    @property
    def associations(self) -> int:
        """Number of associations under way."""

    @property
    def is_listening(self) -> bool:
        """Tell whether connections are accepted."""

    @property
    def is_well(self) -> bool:
        """Tell whether all of it accepts connections."""

    def start(self) -> None:
        """Accept connections from now on; returns when that is so. Raises NodeError when it does not come to it."""

    def take(self, site: Site) -> None:
        """Work by another configuration; returns when all of it does."""

    def stop(self, grace: float, hurry: threading.Event) -> None:
        """Stop accepting, let associations end for up to ``grace`` seconds or until ``hurry``, then cut them."""


class Node:
    """A running node; ``run`` serves until it is told to stop."""

    def __init__(self, stores: Stores, *, now: Callable[[], datetime] = utc_now) -> None:
        """Compose the node around open stores and bind its address.

        Raises NodeError when that is taken or another node runs on the archive.
        """
        self._stores = stores
        stores.archive.claims.run_node()
        self._now = now
        settings = stores.site.settings
        self._own_title = secrets.token_hex(8)  # nobody else can know it, so a refusal of it is no news
        self._ports = Ports.open(settings)
        plain, self.tls_port = self._ports.numbers
        self.port = next(port for port in (plain, self.tls_port) if port is not None)
        """The DICOM port that is listened on; that of TLS where there is no other."""
        self._front = self._make_front(settings)
        self._reporter = Reporter(
            stores.commitments(now),
            destinations=self._destinations,
            tls=lambda destination: self._site.tls_to(destination),  # noqa: PLW0108 - the site may be replaced
        )
        self._jobs = (
            Job(name="review", run=self._review_if_due, seconds=REVIEW_LOOK),
            Job(name="settle", run=self._review_settled, seconds=SETTLE_LOOK),
            Job(name="dispatch", run=self._dispatch, seconds=DISPATCH_LOOK),
            Job(name="commitment", run=self._reporter.run, seconds=COMMITMENT_LOOK),
            Job(name="forward", run=self._forward, seconds=FORWARD_LOOK),
            Job(name="witness", run=self._witness, seconds=WITNESS_LOOK),
        )
        self._clockwork = Clockwork(self._jobs)
        self._dispatcher = self._make_dispatcher()
        self._forwarder = self._make_forwarder()
        self._dispatching = threading.Lock()
        self._changing = threading.Lock()
        """Held by whoever replaces the site."""
        self._reviewed_at_start = False
        self._since, self._told_listening = now(), False
        self._stopping, self._hurry, self._reload_wanted = threading.Event(), threading.Event(), threading.Event()

    @property
    def ports(self) -> str:
        """The ports in words."""
        by_tls = f"port {self.tls_port} by TLS"
        if self.tls_port is None:
            return f"port {self.port}"
        return by_tls if self.port == self.tls_port else f"port {self.port}, {by_tls}"

    def run(self, *, reload: Callable[[], Settings], announce: Callable[["Node"], None]) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal cuts the draining short.

        SIGHUP calls ``reload`` for a new configuration; one with errors changes nothing. ``announce`` is called when it
        listens. To be called in the main thread.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self.start()
        announce(self)
        notify.ready(f"listening on {self.ports}")
        patience = notify.watchdog_seconds()
        # Half the watchdog's time, so that one late turn is no alarm; without one the loop still sees the signals.
        turn = min(patience / 2, IDLE_TURN) if patience else IDLE_TURN
        while not self._stopping.wait(turn):
            self._tell_listening()
            if self._reload_wanted.is_set():
                self._reload_wanted.clear()
                self._reload(reload)
            if patience and self._is_well():
                notify.alive()
        notify.stopping("draining")
        self.stop()

    def start(self, *, by_clock: bool = True) -> None:
        """Put right what a crash left, then listen, review and send.

        Without ``by_clock`` the node reviews and sends only when ``look`` is called, for a time that does not run by
        itself.
        """
        stores = self._stores
        self._tell(listening=False)
        accept_first(stores.site.rules.policy, stores.archive.journal, by=audit.process_user(), now=self._now())
        self._tell_policy()
        stores.decisions().replay()
        recovered = recover(stores.archive, stores.index, stores.indexer)
        stores.conflicts().replay()
        stores.commitments(self._now).free_all()
        transfers = recover_transfers(stores.archive.audit, stores.index)
        log.info(
            "node.recovered",
            indexed=recovered.indexed,
            missing=recovered.missing,
            unreadable=recovered.unreadable,
            transfers=transfers,
        )
        audit.node_started(stores.archive.audit, version=__version__, port=self.port)
        self._front.start()
        if by_clock:
            self._clockwork.start()
        self._since = self._now()
        self._tell(listening=True)
        node = stores.site.settings.node
        log.info(
            "node.started",
            ae_title=node.ae_title[0],
            bind=node.bind,
            port=self.port,
            version=__version__,
            **({"tls_port": self.tls_port} if self.tls_port is not None else {}),
        )

    def look(self) -> None:
        """Look once after each job: review what is due or settled, and send what waits."""
        for job in self._jobs:
            job.run()

    def stop(self) -> None:
        """Stop accepting, let associations end, then the jobs, then close."""
        grace = self._stores.site.settings.node.drain
        log.info("node.draining", seconds=grace, associations=self._front.associations)
        self._tell(listening=False)
        self._front.stop(grace, self._hurry)
        self._reporter.stop()
        if self._forwarder is not None:
            self._forwarder.stop()
        self._clockwork.stop()
        audit.node_stopped(self._stores.archive.audit)
        with contextlib.suppress(NodeError):  # the next look is at the next start
            self._witness()
        self._stores.close()
        log.info("node.stopped")

    def _tell(self, *, listening: bool) -> None:
        """Tell other processes of this machine what they cannot see of the node."""
        facts: dict[str, object] = {}
        if listening:
            facts = {
                "port": self.port,
                "tls_port": self.tls_port,
                "since": self._since.isoformat(),
                "version": __version__,
            }
        self._stores.archive.claims.tell({"listening": listening, **facts})
        self._told_listening = listening

    def _tell_listening(self) -> None:
        if self._front.is_listening != self._told_listening:
            self._tell(listening=not self._told_listening)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_wanted.set()

    def _reload(self, read: Callable[[], Settings]) -> None:
        """Take a new configuration as a whole, or keep the one in force."""
        notify.reloading()
        try:
            wanted = read()
            site = Site.of(_hold(wanted, self._site.settings))
        except ConfigError as error:
            for problem in error.problems:
                log.error("config.problem", problem=problem)
            log.error("config.rejected", problems=len(error.problems))
            audit.config_rejected(self._stores.archive.audit, problems=len(error.problems))
        else:
            held = [name for name, value in _fixed(wanted).items() if value != _fixed(site.settings)[name]]
            if held:
                log.warning("config.needs_restart", keys=held)
            audit.config_reloaded(self._stores.archive.audit, changed=_changed(self._site.settings, site.settings))
            with self._changing:
                self._replace(site)
            self._forwarder = self._make_forwarder()
            self._reviewed_at_start = False  # units, policy or ladders may have changed
            log.info("config.reloaded")
            self._tell_policy()
        notify.ready(f"listening on {self.ports}")

    def _replace(self, site: Site) -> None:
        """Work by another site, by the policy that is accepted now. To be called with ``_changing`` held."""
        self._stores.site = site = site.under(self._policy(site))
        self._front.take(site)
        self._dispatcher = self._make_dispatcher()

    def _take_policy(self) -> None:
        """Work by the policy somebody accepted since."""
        with self._changing:
            before = self._site.rules.policy
            if self._policy(self._site) != before:
                self._replace(self._site)
                log.info("policy.taken", old=before.id, new=self._site.rules.policy.id)

    def _policy(self, site: Site) -> Policy:
        """Return the policy that is accepted now."""
        journal = self._stores.archive.journal
        return choose_in_force(site.settings.policy(), journal, now=self._site.rules.policy)

    def _tell_policy(self) -> None:
        """Tell that the configured policy waits for somebody to accept it."""
        waiting = self._site.unaccepted_policy
        if waiting is not None:
            log.warning("policy.not_accepted", old=self._site.rules.policy.id, new=waiting.id)

    # Jobs.

    def _review_if_due(self) -> None:
        now = self._now()
        with self._stores.index.read() as conn:
            last, is_wanted = last_review(conn), is_review_wanted(conn)
        if self._reviewed_at_start and last is not None and not is_wanted and not self._is_due(last, now):
            return
        self._take_policy()
        site = self._site
        result = review(
            self._stores.index,
            site.rules,
            site.channels,
            today=site.day(now),
            now=now,
            digest=site.settings.alerts.digest.value,
        )
        self._reviewed_at_start = True
        dead_man = site.settings.alerts.dead_man
        if dead_man is not None:
            ping(dead_man.url, ca_file=str(dead_man.ca_file or ""))
        if result.queued:
            self._dispatch()

    def _is_due(self, last: datetime, now: datetime) -> bool:
        """Tell whether the daily review's time has come since the last review, in the facility's zone."""
        due, _ = daily(now.astimezone(self._site.zone), self._site.settings.alerts.evaluate_at)
        return last < due or last > now + timedelta(minutes=5)  # a clock that was set back must not stop reviews

    def _review_settled(self) -> None:
        now, site = self._now(), self._site
        result = review_settled(
            self._stores.index,
            site.rules,
            site.channels,
            today=site.day(now),
            now=now,
            settle=timedelta(seconds=site.settings.alerts.settle),
        )
        if result is not None and result.queued:
            self._dispatch()

    def _dispatch(self) -> None:
        with self._dispatching:
            self._dispatcher.run()

    def _destinations(self) -> tuple[Destination, ...]:
        return self._site.settings.destinations()

    def _forward(self) -> None:
        if self._forwarder is not None:
            self._forwarder.run()

    def _witness(self) -> None:
        witness(self._stores.archive.audit, self._stores.index)

    def _make_forwarder(self) -> Forwarder | None:
        site = self._site
        syslog = site.settings.audit.syslog
        if syslog is None:
            return None
        return Forwarder(self._stores.archive.audit, syslog.repository(), site.audit_source)

    def _make_dispatcher(self) -> Dispatcher:
        site, index = self._site, self._stores.index

        def recheck(unit_id: str) -> None:
            now = self._now()
            review(index, site.rules, site.channels, today=site.day(now), now=now, unit_ids=[unit_id])

        return Dispatcher(
            index,
            site.channels,
            site=site.speaker,
            labels=site.labels,
            recheck=recheck,
            ahead=site.rules.ahead,
            quiet_hours=site.settings.alerts.quiet_hours,
            clock=self._now,
        )

    def _make_front(self, settings: Settings) -> Front:
        number = settings.node.number_of_workers()
        if number > 1:
            return Workers(self._stores, self._ports, number=number, own_title=self._own_title)
        places = Places.alone(capacity_of(settings))
        return Reception(self._stores, self._ports, places=places, own_title=self._own_title, now=self._now)

    @property
    def _site(self) -> Site:
        return self._stores.site

    def _is_well(self) -> bool:
        """Check what a restart could mend: who accepts connections, the jobs, and the database's answer."""
        try:
            with self._stores.index.read() as conn:
                last_review(conn)
        except NodeError as error:
            log.error("node.unwell", reason=str(error))
            return False
        return self._front.is_well and self._clockwork.is_alive and self._ports.answer(self._own_title)


_FIXED = ("storage", "database", "log")
_FIXED_NODE = ("bind", "port", "max_associations", "workers")
_FIXED_TLS = ("port", "only")
_FIXED_LIMITS = (
    "max_connections",
    "max_connections_per_address",
    "max_associations_per_address",
    "max_associations_per_ae_title",
    "kept",
    "waiting",
    "max_matches",
)


def _fixed(settings: Settings) -> dict[str, object]:
    """Return the keys that only a restart changes."""
    return {
        **{f"node.{name}": getattr(settings.node, name) for name in _FIXED_NODE},
        **{f"node.tls.{name}": getattr(settings.node.tls, name, None) for name in _FIXED_TLS},
        **{f"node.limits.{name}": getattr(settings.node.limits, name) for name in _FIXED_LIMITS},
        **{name: getattr(settings, name) for name in _FIXED},
    }


def _changed(old: Settings, new: Settings) -> list[str]:
    """Return the names of the tables of the file that differ."""
    return [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]


def _hold(settings: Settings, old: Settings) -> Settings:
    """Return settings with the keys that only a restart changes as they were."""
    limits = {name: getattr(old.node.limits, name) for name in _FIXED_LIMITS}
    node = {name: getattr(old.node, name) for name in _FIXED_NODE}
    node["tls"] = _hold_tls(settings.node.tls, old.node.tls)
    node["limits"] = settings.node.limits.model_copy(update=limits)
    whole = {name: getattr(old, name) for name in _FIXED}
    return settings.model_copy(update={**whole, "node": settings.node.model_copy(update=node)})


def _hold_tls(tls: TlsTable | None, old: TlsTable | None) -> TlsTable | None:
    """Return the table with the ports as they are: TLS is neither begun nor ended while the node runs."""
    if tls is None or old is None:
        return old
    return tls.model_copy(update={name: getattr(old, name) for name in _FIXED_TLS})
