"""``dicom-node exams``: what is on file, why it counts or not, and what a person decides about it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, tzinfo
from typing import Any

import click

from dicom_node.accreditation.portions import EXAM_PORTIONS, Portion
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, by_option, known_unit, now, opened, reason_option
from dicom_node.cli.output import Cell, json_option, local, printable, write_json, write_table
from dicom_node.cli.phrases import day_words, write_facts
from dicom_node.errors import ObjectDamagedError, OperatorError
from dicom_node.index import decisions
from dicom_node.index import exams as exam_rows
from dicom_node.index.conflicts import Conflict
from dicom_node.index.decisions import Decision
from dicom_node.index.exams import ExamRecord, InstanceRecord
from dicom_node.services.conflicts import ConflictDecisions
from dicom_node.services.decisions import Verdict
from dicom_node.site import Stores

_AS_DERIVED = "derived"


@click.group("exams")
def exams() -> None:
    """List exams, see why one counts or not, and decide about it. Decisions are kept for good, with their reason."""


@exams.command("list")
@click.option("--unit", "unit_id", metavar="UNIT", help="Of one unit.")
@click.option("--portion", type=click.Choice([each.value for each in EXAM_PORTIONS]), help="Of one portion.")
@click.option("--since", type=DAY, help="Made on this day or later.")
@click.option("--until", type=DAY, help="Made on this day or earlier.")
@click.option("--all", "everything", is_flag=True, help="Also what is known to count toward nothing: mammograms.")
@json_option
@pass_app
def list_(
    app: App,
    *,
    unit_id: str | None,
    portion: str | None,
    since: date | None,
    until: date | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List exams, newest first and undated ones last."""
    with opened(app) as stores:
        with stores.index.read() as conn:
            found = exam_rows.listed(
                conn,
                unit_id=unit_id,
                portion=Portion(portion) if portion else None,
                since=since,
                until=until,
                with_neither=everything,
            )
        if unit_id is not None and not found:  # a unit that is no longer configured may have exams
            known_unit(stores, unit_id)
    if as_json:
        write_json([exam_json(each) for each in found])
        return
    write_table(
        ["Exam", "Day", "Unit", "Portion", "Images", "Counts", "Remark"],
        [
            [
                each.id,
                each.day or "-",
                each.unit_id or Cell("unknown", "yellow"),
                each.portion.value,
                each.primary_count,
                Cell("yes", "green") if each.counts else Cell("no", "yellow"),
                each.why_not or "; ".join(each.flags),
            ]
            for each in found
        ],
    )


@exams.command("show")
@click.argument("exam_id", metavar="ID")
@json_option
@pass_app
def show(app: App, *, exam_id: str, as_json: bool) -> None:
    """Show one exam: unit, day and portion, each with what it rests on, and what people decided."""
    with opened(app) as stores:
        with stores.index.read() as conn:
            exam = exam_rows.get(conn, exam_id)
            if exam is None:
                raise OperatorError(f"there is no exam {exam_id!a}; see: dicom-node exams list")
            instances = exam_rows.instances_of(conn, exam.study_uid, exam.unit_id)
            decided = decisions.of_study(conn, exam.study_uid)
        labels, zone = stores.site.labels, stores.site.zone
    if as_json:
        write_json(
            exam_json(exam)
            | {"instances": [asdict(each) for each in instances], "decisions": [asdict(each) for each in decided]}
        )
        return
    _write_exam(exam, labels, zone)
    _write_instances(instances)
    _write_decisions(decided, zone)


@exams.command("attribute")
@click.argument("exam_id", metavar="ID")
@click.option("--unit", "unit_id", metavar="UNIT", required=True, help="The unit it was made on.")
@reason_option
@by_option
@pass_app
def attribute(app: App, *, exam_id: str, unit_id: str, reason: str, by: str) -> None:
    """Say which unit an exam was made on."""
    attribute_exam(app, exam_id, unit_id, reason, by)


def attribute_exam(app: App, exam_id: str, unit_id: str, reason: str, by: str) -> None:
    """Carry out ``exams attribute``; ``unattributed resolve`` is the same."""
    with opened(app) as stores:
        _tell(stores, stores.decisions().attribute(exam_id, unit_id, _verdict(by, reason)))


@exams.command("classify")
@click.argument("exam_id", metavar="ID")
@click.option(
    "--portion",
    required=True,
    type=click.Choice([*(each.value for each in EXAM_PORTIONS), _AS_DERIVED]),
    help="What it counts toward; derived: what the images tell.",
)
@reason_option
@by_option
@pass_app
def classify(app: App, *, exam_id: str, portion: str, reason: str, by: str) -> None:
    """Say what an exam counts toward."""
    with opened(app) as stores:
        chosen = None if portion == _AS_DERIVED else Portion(portion)
        _tell(stores, stores.decisions().classify(exam_id, chosen, _verdict(by, reason)))


@exams.command("exclude")
@click.argument("exam_id", metavar="ID")
@reason_option
@by_option
@pass_app
def exclude(app: App, *, exam_id: str, reason: str, by: str) -> None:
    """Say that an exam counts toward nothing."""
    with opened(app) as stores:
        _tell(stores, stores.decisions().exclude(exam_id, _verdict(by, reason)))


@exams.command("include")
@click.argument("exam_id", metavar="ID")
@reason_option
@by_option
@pass_app
def include(app: App, *, exam_id: str, reason: str, by: str) -> None:
    """Take an exclusion back."""
    with opened(app) as stores:
        _tell(stores, stores.decisions().include(exam_id, _verdict(by, reason)))


@exams.command("conflicts")
@click.option("--all", "everything", is_flag=True, help="Also those that were decided.")
@json_option
@pass_app
def conflicts(app: App, *, everything: bool, as_json: bool) -> None:
    """List instances that came again with other content under the same SOP Instance UID."""
    with opened(app) as stores:
        service = stores.conflicts()
        found = [each for each in service.all() if each.waits or everything]
        told = [(each, _differences(service, each)) for each in found]
        zone = stores.site.zone
    if as_json:
        write_json([asdict(each) | {"waits": each.waits, "differs_in": differs} for each, differs in told])
        return
    for each, differs in told:
        click.echo(f"{each.sop_instance_uid}{'' if each.waits else ' (decided)'}")
        unknown = "nobody can tell, an object cannot be read: dicom-node verify --all"
        same = "nothing the node reads: pixels, or other elements"
        click.echo(f"  differs in: {unknown if differs is None else ', '.join(differs) or same}")
        for content in each.contents:
            state = "served" if content.served else "kept aside"
            if content.decided_at is not None:
                state += f" since {local(content.decided_at, zone)}, by {content.decided_by}: {content.reason}"
            sender = content.calling_ae or "an import"
            click.echo(
                printable(
                    f"  {content.digest[:12]}  {local(content.received_at, zone)} from {sender}, "
                    f"study {content.study_uid}; {state}"
                )
            )
    if any(each.waits for each, _ in told):
        click.echo("Decide: dicom-node exams conflict UID --keep first --reason TEXT   (or --keep 12345678...)")
    elif not told:
        click.echo("No instance waits for a decision.")


@exams.command("conflict")
@click.argument("sop_instance_uid", metavar="UID")
@click.option("--keep", required=True, metavar="first|DIGEST", help="The content to serve, by its digest's beginning.")
@reason_option
@by_option
@pass_app
def conflict(app: App, *, sop_instance_uid: str, keep: str, reason: str, by: str) -> None:
    """Decide which content of an instance is served, found and counted. The others stay in the archive."""
    with opened(app) as stores:
        decided = stores.conflicts().keep(sop_instance_uid, keep, _verdict(by, reason))
    click.echo(f"{decided.sop_instance_uid}: {decided.served.digest[:12]} is served")


def _differences(service: ConflictDecisions, conflict: Conflict) -> list[str] | None:
    """Return what differs; None when an object cannot be read."""
    try:
        return service.differences(conflict)
    except ObjectDamagedError:
        return None


def exam_json(exam: ExamRecord) -> dict[str, Any]:
    """Return an exam as JSON has it: ``exam`` is its id, ``unit`` null when nobody can tell."""
    values = asdict(exam)
    of_id, unit_id = values.pop("id"), values.pop("unit_id")
    return {"exam": of_id, "unit": unit_id or None} | values | {"why_not": exam.why_not}


def _verdict(by: str, reason: str) -> Verdict:
    return Verdict(by=by, at=now(), reason=reason)


def _tell(stores: Stores, exam: ExamRecord) -> None:
    where = stores.site.labels.get(exam.unit_id, exam.unit_id) or "no known unit"
    counts = f"counts as {exam.portion}" if exam.counts else f"counts toward nothing ({exam.why_not})"
    click.echo(printable(f"exam {exam.id}: {where}, {day_words(exam.day)}; {counts}"))


def _write_exam(exam: ExamRecord, labels: Mapping[str, str], zone: tzinfo) -> None:
    unit = f"{exam.unit_id} ({labels.get(exam.unit_id, 'no longer configured')})" if exam.unit_id else "not known"
    write_facts(
        [
            ("Exam", exam.id),
            ("Unit", f"{unit}: {exam.attribution}"),
            ("Could be", ", ".join(exam.candidates)),
            ("Day", f"{day_words(exam.day)}{f' from {exam.day_source}' if exam.day_source else ''}"),
            ("Portion", f"{exam.portion}: {exam.rule}"),
            ("Counts", "yes" if exam.counts else f"no: {exam.why_not}"),
            ("Stages", ", ".join(exam.stages)),
            ("Attachment", ", ".join(exam.attachments)),
            ("Remarks", "; ".join(exam.flags)),
            ("Study", exam.study_uid),
            ("Instances", f"{exam.instance_count}, of them {exam.primary_count} acquired images"),
            ("Received", f"{local(exam.first_received_at, zone)} to {local(exam.last_received_at, zone)}"),
        ]
    )


def _write_instances(instances: Sequence[InstanceRecord]) -> None:
    """Write the instances, alike ones in one line."""
    alike = Counter(
        (
            each.role,
            each.stage,
            f"{each.portion}: {each.rule}" if each.portion else "",
            f"{day_words(each.acquisition_day)}{f' {each.day_source}' if each.day_source else ''}",
            each.calling_ae or "(import)",
            each.attribution,
            "; ".join((*each.day_flags, *each.attribution_flags, *each.flags)),
        )
        for each in instances
    )
    click.echo()
    write_table(
        ["Number", "Role", "Stage", "Portion", "Day", "Sender", "Unit by", "Remarks"],
        [[number, *values] for values, number in alike.items()],
    )


def _write_decisions(decided: Sequence[Decision], zone: tzinfo) -> None:
    if not decided:
        return
    click.echo()
    write_table(
        ["Decided", "By", "What", "About", "Reason"],
        [
            [
                local(each.decided_at, zone),
                each.decided_by,
                f"{each.kind} {each.value}".strip(),
                each.unit_id or "unknown unit",
                each.reason,
            ]
            for each in decided
        ],
    )
