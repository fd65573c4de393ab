"""The table of jobs and the clock that runs them: the only import of APScheduler.

The scheduler keeps no state. Each job looks often at what is due by the index and the facility's clock, so a run that
was missed is only late, a run too many does nothing, and neither a changed clock nor a day of 23 hours skips a review.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from dicom_node.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to look after every so many ``seconds``; the first time right after the start."""

    name: str
    run: Callable[[], None]
    seconds: float


class Clockwork:
    """Runs jobs in background threads, each job one run at a time. A job that fails is logged and runs again."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        """Take the jobs; nothing runs before ``start``."""
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            job_defaults={
                # The library's default drops a job that is a second late; ours must run however late.
                "misfire_grace_time": None,
                "coalesce": True,
                "max_instances": 1,
            },
        )
        for job in jobs:
            self._scheduler.add_job(
                _guarded(job),
                IntervalTrigger(seconds=job.seconds),
                id=job.name,
                name=job.name,
                next_run_time=datetime.now(UTC),
            )

    @property
    def is_alive(self) -> bool:
        """Tell whether jobs are being run."""
        return bool(self._scheduler.running)

    def start(self) -> None:
        """Begin with a first run of every job."""
        self._scheduler.start()

    def stop(self) -> None:
        """End, after the runs under way have ended."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _guarded(job: Job) -> Callable[[], None]:
    def run() -> None:
        try:
            job.run()
        except Exception:  # one job failing must not end the others, nor its own next run
            log.exception("job.failed", job=job.name)

    return run
