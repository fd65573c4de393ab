"""``dicom-node policies``: the rules there are, what differs between them, and who stands otherwise under another."""

from collections.abc import Sequence
from datetime import date

import click

from dicom_node.accreditation.policies import TERM_ARTICLES, Policy, load_policies
from dicom_node.accreditation.portions import PORTIONS
from dicom_node.accreditation.standing import Standing
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import by_option, now, opened, reason_option, today
from dicom_node.cli.output import Cell, json_option, jsonable, printable, write_json, write_table
from dicom_node.cli.phrases import write_sentence
from dicom_node.errors import OperatorError
from dicom_node.services.policies import Change, Difference, accept, changes, differences, terms_told
from dicom_node.site import Site


@click.group("policies")
def policies() -> None:
    """See the rules there are, compare them, and accept a changed one."""


@policies.command("list")
@json_option
@pass_app
def list_(app: App, *, as_json: bool) -> None:
    """List the policies that ship and the site's own."""
    with opened(app) as stores:
        site = stores.site
    several = site.settings.policies()
    several = {site.rules.policy.id: site.rules.policy} | several
    if as_json:
        write_json([_as_json(each, _marks(each, site)) for each in several.values()])
        return
    write_table(
        ["ID", "Article", "Revised", "Clinical", "Phantom", "Physicist report", ""],
        [
            [
                each.id,
                each.article,
                each.revision,
                *(f"{each.months[portion]} months" for portion in PORTIONS),
                ", ".join(_marks(each, site)),
            ]
            for each in several.values()
        ],
    )


@policies.command("show")
@click.argument("policy_id", metavar="ID")
@json_option
@pass_app
def show(app: App, *, policy_id: str, as_json: bool) -> None:
    """Tell everything there is about the policy ID."""
    with opened(app) as stores:
        site = stores.site
    policy = _known(site, policy_id)
    if as_json:
        write_json(_as_json(policy, _marks(policy, site)))
        return
    marks = ", ".join(_marks(policy, site))
    click.echo(printable(policy.id) + (f" ({marks})" if marks else ""))
    windows = ", ".join(f"{portion.label} {policy.months[portion]} months" for portion in PORTIONS)
    _write_field("windows", f"{windows}, counted back from {policy.anchor}")
    _write_field("source", policy.citation)
    _write_field("address", policy.address)
    for each in policy.overrides:
        months = ", ".join(f"{portion.label} {each.months[portion]} months" for portion in PORTIONS)
        _write_field("override", f"released from {each.first} to {each.last}: {months}")
        _write_field("  source", f"{each.citation}; {each.address}")
        _write_field("  note", each.note)
    for words, told in terms_told(policy).items():
        _write_field(words, told)
    _write_field("note", policy.note)


@policies.command("diff")
@click.argument("policy_id", metavar="ID")
@click.argument("other_id", metavar="[OTHER]", required=False)
@json_option
@pass_app
def diff(app: App, *, policy_id: str, other_id: str | None, as_json: bool) -> None:
    """Compare the policy in use with ID, or ID with OTHER: what they say, and every unit's standing today.

    Nothing is changed by looking.
    """
    with opened(app) as stores:
        site = stores.site
        one = site.rules.policy if other_id is None else _known(site, policy_id)
        other = _known(site, other_id or policy_id)
        stores.site = site.under(one)
        day = today(stores)
        found = changes(stores.index, stores.site.rules, other, day)
    if as_json:
        write_json(
            {
                "today": day,
                "policy": one.id,
                "other": other.id,
                "differences": differences(one, other),
                "units": [_change_json(each) for each in found],
            }
        )
        return
    _write_comparison(one, other, found, day)


@policies.command("accept")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@reason_option
@by_option
@pass_app
def accept_(app: App, *, is_sure: bool, reason: str, by: str) -> None:
    """Have standings worked out by the policy of the configuration, after showing whose standing changes.

    A running node works by it within a minute.
    """
    with opened(app) as stores:
        site, policy = stores.site, stores.site.unaccepted_policy
        if policy is None:
            click.echo(
                printable(f"Nothing to accept: standings are worked out by {site.rules.policy.id} as configured.")
            )
            return
        day = today(stores)
        found = changes(stores.index, site.rules, policy, day)
        _write_comparison(site.rules.policy, policy, found, day)
        click.echo()
        if not is_sure and not click.confirm(printable(f"Work out standings by {policy.id} from now on?")):
            click.echo("Nothing was changed.")
            raise click.exceptions.Exit(FAILED)
        accept(stores.archive, stores.index, policy, before=site.rules.policy, by=by, reason=reason, now=now())
    click.echo(printable(f"Standings are worked out by {policy.id} from now on."))


def _known(site: Site, policy_id: str) -> Policy:
    """Return a policy as it is configured; the one in use also when it no longer is."""
    known = {site.rules.policy.id: site.rules.policy} | site.settings.policies()
    if policy_id not in known:
        raise OperatorError(f"there is no policy {policy_id!a}; known are {', '.join(sorted(known))}")
    return known[policy_id]


def _marks(policy: Policy, site: Site) -> list[str]:
    in_use, waiting, shipped = site.rules.policy, site.unaccepted_policy, load_policies()
    told = {
        "in use": policy.judges_like(in_use),
        "configured, not accepted": waiting is not None and policy.id == waiting.id,
        "own": policy.id not in shipped,
        "newer": policy.id in shipped and policy.revision > in_use.revision,
        "overrides": bool(policy.overrides),
    }
    return [mark for mark, holds in told.items() if holds]


def _write_field(name: str, text: str) -> None:
    if text:
        write_sentence(f"{name}: {text}", first="  ", rest="    ")


def _write_comparison(one: Policy, other: Policy, found: Sequence[Change], day: date) -> None:
    different: Sequence[Difference] = differences(one, other)
    for each in different:
        write_sentence(f"{each.what}: {each.one} -> {each.other}", rest="  ")
    if not different:
        click.echo(printable(f"{one.id} and {other.id} say the same."))
    click.echo()
    click.echo(f"Every unit on {day}, by what is on file:")
    write_table(
        ["Unit", "Portion", "Before", "Cutoff", "Days left", "After", "Cutoff", "Days left", ""],
        [
            [
                each.unit.id,
                each.before.portion.label,
                *standing_cells(each.before),
                *standing_cells(each.after),
                Cell("changes", "yellow") if each.matters else "",
            ]
            for each in found
        ],
    )
    number = sum(each.matters for each in found)
    click.echo(f"{number} of {len(found)} standings would change." if number else "No standing would change.")


def standing_cells(standing: Standing) -> list[str | int]:
    """Return state, cutoff and days left of a standing for a table."""
    days_left = "-" if standing.days_left is None else standing.days_left
    return [standing.state.value, str(standing.cutoff or "-"), days_left]


def _as_json(policy: Policy, marks: list[str]) -> dict[str, object]:
    told = jsonable(policy)
    assert isinstance(told, dict)
    sources = {name: policy.term_source(name) for name in TERM_ARTICLES}
    return told | {"term_sources": sources, "citation": policy.citation, "marks": marks}


def _change_json(change: Change) -> dict[str, object]:
    return {
        "unit": change.unit.id,
        "portion": change.before.portion,
        "changes": change.matters,
        "before": _standing_json(change.before),
        "after": _standing_json(change.after),
    }


def _standing_json(standing: Standing) -> dict[str, object]:
    return {
        "policy": standing.policy_id,
        "state": standing.state,
        "counts_until": standing.counts_until,
        "cutoff": standing.cutoff,
        "days_left": standing.days_left,
    }
