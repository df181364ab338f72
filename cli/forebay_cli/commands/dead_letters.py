"""`forebay dead-letters`."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from itertools import islice
from typing import Any, Final

import click
from rich.padding import Padding
from rich.text import Text

from forebay.domain.dead_letters import (
    DeadLetter,
    LetterGroup,
    LetterState,
    Preview,
    Verdict,
)
from forebay.names import Step
from forebay.services.archive_dead_letters import body_of
from forebay.services.replay_dead_letters import (
    Outcome,
    Record,
    ReplayOptions,
    ResolveDeadLetters,
    Selection,
    select,
)
from forebay_cli.dead_letters import Office, advice, moment_of, state_text, unknown
from forebay_cli.failures import EXIT_FINDINGS, EXIT_TROUBLE
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.target import Target, target_options

_SHOWN: Final = 20
"""How many letters of a cause `show` lists; --json has them all."""
_STEPS: Final = [step.value for step in Step]


@click.group("dead-letters")
def dead_letters() -> None:
    """See what the steps gave up on, one line per cause, and have it done after all."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options say about which letters; names are the beginnings of ids and signatures."""

    ids: Sequence[str]
    signatures: Sequence[str]
    step: str | None
    since: datetime | None
    until: datetime | None

    @property
    def is_narrow(self) -> bool:
        """Whether it means less than all open letters."""
        return bool(self.ids or self.signatures or self.step or self.since or self.until)

    def selection(self, office: Office, *, replayed: bool = False) -> Selection:
        """Return the selection, of open letters or of those that were replayed, too."""
        return Selection(
            letter_ids=tuple(_letter(office, each).letter_id for each in self.ids),
            signatures=tuple(_group(office, each).signature for each in self.signatures),
            step=Step(self.step) if self.step else None,
            since=self.since,
            until=self.until,
            states=frozenset({LetterState.OPEN} | ({LetterState.REPLAYED} if replayed else set())),
        )


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose letters to a command, passed as one `chosen`."""

    @click.option("--id", "ids", multiple=True, help="This letter, by the beginning of its id.")
    @click.option("--signature", "signatures", multiple=True, help="The letters of this cause.")
    @click.option("--step", type=click.Choice(_STEPS), help="The letters of this step.")
    @click.option(
        "--since", callback=moment_of, default="", help="Failed last since: 2h, 1d, 2026-03-01."
    )
    @click.option("--until", callback=moment_of, default="", help="Failed last until then.")
    @wraps(command)
    def wrapped(
        *args: Any,
        ids: Sequence[str],
        signatures: Sequence[str],
        step: str | None,
        since: datetime | None,
        until: datetime | None,
        **kwargs: Any,
    ) -> Any:
        return command(*args, chosen=Chosen(ids, signatures, step, since, until), **kwargs)

    return wrapped


@dead_letters.command("list")
@click.option("--step", type=click.Choice(_STEPS), help="Only of this step.")
@click.option("--since", callback=moment_of, default="", help="Failed last since: 2h, 1d, …")
@click.option("--until", callback=moment_of, default="", help="Failed last until then.")
@click.option("--all", "everything", is_flag=True, help="Causes without open letters, too.")
@target_options
@json_option
def list_(  # noqa: PLR0913 - one parameter per option
    *,
    step: str | None,
    since: datetime | None,
    until: datetime | None,
    everything: bool,
    target: Target,
    as_json: bool,
) -> None:
    """List the causes with open letters, the latest first, and what to do about each.

    Ten thousand failures with one cause are one line.
    """
    output = Output.create(as_json=as_json)
    office = Office(target.deployment(Home.find()))
    found = [
        group
        for group in office.letters.groups()
        if (everything or group.open_letters)
        and (step is None or group.step.value == step)
        and (since is None or group.last_failed_at >= since)
        and (until is None or group.first_failed_at <= until)
    ]
    if as_json:
        output.document({"causes": [group_document(group) for group in found]})
        return
    if not found:
        output.out.print("No dead letters are open." if not everything else "No dead letters.")
        return
    for group in found:
        _print_cause(output, group)
    output.say("What a replay would do: forebay dead-letters preview --signature <signature>")


@dead_letters.command()
@click.argument("reference", metavar="SIGNATURE|ID")
@click.option("--body", "with_body", is_flag=True, help="Print a letter's message; it names keys.")
@target_options
@json_option
def show(*, reference: str, with_body: bool, target: Target, as_json: bool) -> None:
    """Show one cause with its letters, or one letter; the beginning of a name is enough."""
    output = Output.create(as_json=as_json)
    office = Office(target.deployment(Home.find()))
    group = office.group(reference)
    if group:
        _show_group(output, group, list(office.letters.letters(group.signature)))
        return
    letter = _letter(office, reference)
    body = body_of(office.store, letter) if with_body else ""
    document = letter_document(letter) | ({"body": body} if with_body else {})
    if as_json:
        output.document(document)
        return
    output.facts(_facts(letter))
    if body:
        output.out.print()
        output.out.print(body, soft_wrap=True)


@dead_letters.command()
@selection_options
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most.")
@target_options
@json_option
def preview(
    *,
    chosen: Chosen,
    limit: int,
    target: Target,
    as_json: bool,
) -> None:
    """Prove what a replay would do, letter by letter; nothing is changed.

    WOULD_ACT: the work is not done. ALREADY_DONE: it is; a replay closes the letter without sending
    it. CANNOT: replaying does not help, and why.
    """
    output = Output.create(as_json=as_json)
    office = Office(target.deployment(Home.find()))
    letters = list(islice(select(office.letters, chosen.selection(office)), limit))
    judged = [(letter, office.preview(letter)) for letter in letters]
    counts = Counter(each.verdict for _, each in judged)
    if as_json:
        documents = [_preview_document(letter, each) for letter, each in judged]
        totals = {verdict.value: counts[verdict] for verdict in Verdict}
        output.document({"letters": documents, "counts": totals})
        return
    if not judged:
        output.out.print("No open letter is meant.")
        return
    for step in dict.fromkeys(letter.step for letter in letters):
        rows = table(step.value, "verdict", "why")
        for letter, each in judged:
            if letter.step is step:
                rows.add_row(letter.letter_id, each.verdict.value, each.why)
        output.rows(rows)
        output.out.print()
    output.out.print(
        f"{counts[Verdict.WOULD_ACT]} would act, {counts[Verdict.ALREADY_DONE]} already done,"
        f" {counts[Verdict.CANNOT]} cannot."
    )
    if len(letters) == limit:
        output.say(f"Only the first {limit}; --limit shows more.")


@dead_letters.command()
@selection_options
@click.option("--rate", type=click.FloatRange(0.1, 100), default=10.0, show_default=True,
              help="Letters a second.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=None, help="At most so many letters.")
@click.option(
    "--to-version",
    default="",
    help="Call this version or alias of the function directly, instead of its queue.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@target_options
@json_option
def replay(  # noqa: PLR0913 - one parameter per option
    *,
    chosen: Chosen,
    rate: float,
    limit: int | None,
    to_version: str,
    yes: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Hand open letters to their steps again, under the AWS identity of whoever calls this.

    What is done already is closed without being sent. What fails again comes back under its cause,
    with its count. After a fix, try it on a few first: --limit 3 --to-version <version>. Every
    replay leaves a record in the ledger.

    Exit status: 0 all was sent or done · 1 some failed again at once · 2 wrong usage ·
    3 it ended early; what was not reached is still open.
    """
    output = Output.create(as_json=as_json)
    if as_json and not yes:
        raise click.UsageError("--json does not ask; say --yes.")
    office = Office(target.deployment(Home.find()))
    selection = chosen.selection(office)
    letters = list(islice(select(office.letters, selection), limit))
    if letters and not yes:
        click.confirm(f"Replay {_amount(letters)} at {rate:g} a second?", abort=True, err=True)
    if not letters:
        _print_record(output, None)
        return
    options = ReplayOptions(by=office.caller, rate=rate, to_version=to_version, selection=selection)
    done = office.replay(letters, options)
    _print_record(output, done)
    if done.stopped:
        raise SystemExit(EXIT_TROUBLE)
    if done.count(Outcome.FAILED_AGAIN):
        raise SystemExit(EXIT_FINDINGS)


@dead_letters.command()
@selection_options
@click.option("--note", default="", help="Why they need not be replayed. Name no patient.")
@click.option("--done", is_flag=True, help="Those, open or replayed, that preview says are done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@target_options
@json_option
def resolve(  # noqa: PLR0913 - one parameter per option
    *,
    chosen: Chosen,
    note: str,
    done: bool,
    yes: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Close letters without replaying them, with a note of why; a record stays in the ledger."""
    output = Output.create(as_json=as_json)
    if as_json and not yes:
        raise click.UsageError("--json does not ask; say --yes.")
    if not (done or (note and chosen.is_narrow)):
        raise click.UsageError(
            "Say which and why: --id, --signature, --step, --since or --until, with --note; "
            "or --done."
        )
    office = Office(target.deployment(Home.find()))
    letters = list(select(office.letters, chosen.selection(office, replayed=done)))
    if done:
        letters = [x for x in letters if office.preview(x).verdict is Verdict.ALREADY_DONE]
    if letters and not yes:
        click.confirm(f"Resolve {_amount(letters)}?", abort=True, err=True)
    if not letters:
        _print_record(output, None)
        return
    said = note or "Its work is done, as the catalog shows."
    record = ResolveDeadLetters(office.desk)(letters, note=said, by=office.caller)
    _print_record(output, record)


def group_document(group: LetterGroup) -> dict[str, Any]:
    """Return a cause as JSON data."""
    return {
        "signature": group.signature,
        "step": group.step.value,
        "error": group.failure.error,
        "message": group.failure.message,
        "letters": {state.value: group.counts.get(state, 0) for state in LetterState},
        "failures": group.failures,
        "first_failed_at": group.first_failed_at,
        "last_failed_at": group.last_failed_at,
        "what_to_do": advice(group.failure),
    }


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as JSON data."""
    return {
        "letter_id": letter.letter_id,
        "signature": letter.failure.signature,
        "step": letter.step.value,
        "error": letter.failure.error,
        "message": letter.failure.message,
        "state": letter.state.value,
        "state_since": letter.state_since,
        "failures": letter.failures,
        "first_failed_at": letter.first_failed_at,
        "last_failed_at": letter.last_failed_at,
        "about": letter.about,
        "about_version": letter.about_version,
        "replay_id": letter.replay_id,
        "by": letter.by,
        "note": letter.note,
        "body_uri": letter.body.uri,
        "body_version_id": letter.body.version_id,
    }


def _preview_document(letter: DeadLetter, judged: Preview) -> dict[str, Any]:
    return {
        "letter_id": letter.letter_id,
        "step": letter.step.value,
        "signature": letter.failure.signature,
        "about": letter.about,
        "verdict": judged.verdict.value,
        "why": judged.why,
    }


def _print_cause(output: Output, group: LetterGroup) -> None:
    """Print one cause: whose, how often and when; why; what to do."""
    head = Text(group.signature, style="bold")
    head.append(f"  {group.step.value}  {state_text(group)}  {_span(group)}", style="not bold")
    output.out.print(head, soft_wrap=True)
    said = f"{group.failure.error}: {group.failure.message}"
    for line in (said, f"→ {advice(group.failure)}"):
        output.out.print(Padding(line, (0, 0, 0, 2), expand=False))
    output.out.print()


def _span(group: LetterGroup) -> str:
    first, last = _short(group.first_failed_at), _short(group.last_failed_at)
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _show_group(output: Output, group: LetterGroup, letters: Sequence[DeadLetter]) -> None:
    if output.as_json:
        documents = [letter_document(letter) for letter in letters]
        output.document({"cause": group_document(group), "letters": documents})
        return
    output.facts(
        [
            ("signature", group.signature),
            ("step", group.step.value),
            ("error", group.failure.error),
            ("", group.failure.message),
            ("letters", state_text(group)),
            ("failures", group.failures),
            ("first", _when(group.first_failed_at)),
            ("last", _when(group.last_failed_at)),
            ("what to do", advice(group.failure)),
        ]
    )
    rows = table("letter", "state", "last failed", "about")
    # The latest are the most telling: their traces are still in the logs.
    for letter in list(reversed(letters))[:_SHOWN]:
        again = f" x{letter.failures}" if letter.failures > 1 else ""
        last = f"{letter.last_failed_at:%m-%d %H:%M}"
        rows.add_row(letter.letter_id, f"{letter.state.value}{again}", last, letter.about or "-")
    if rows.row_count:
        output.out.print()
        output.rows(rows)
    if len(letters) > _SHOWN:
        output.say(f"The latest {_SHOWN} of {len(letters)}; --json has them all.")


def _facts(letter: DeadLetter) -> list[tuple[str, object]]:
    version = f", version {letter.about_version}" if letter.about_version else ""
    return [
        ("letter", letter.letter_id),
        ("state", f"{letter.state.value} since {_when(letter.state_since)}"),
        ("step", letter.step.value),
        ("signature", letter.failure.signature),
        ("error", letter.failure.error),
        ("", letter.failure.message),
        ("failures", letter.failures),
        ("first", _when(letter.first_failed_at)),
        ("last", _when(letter.last_failed_at)),
        ("about", f"{letter.about}{version}" if letter.about else ""),
        ("replay", letter.replay_id),
        ("by", letter.by),
        ("note", letter.note),
        ("body", letter.body.uri),
        ("what to do", advice(letter.failure) if letter.state is LetterState.OPEN else ""),
    ]


def _print_record(output: Output, record: Record | None) -> None:
    if output.as_json:
        output.document(record.as_dict() if record else {"letters": [], "replay_id": ""})
        return
    if record is None:
        output.out.print("No letter is meant; nothing was done.")
        return
    rows = table("outcome", "letters", "for example")
    for outcome in Outcome:
        if count := record.count(outcome):
            example = next(r for r in record.results if r.outcome is outcome)
            said = example.why or (
                "It comes back if it fails again." if outcome is Outcome.SENT else ""
            )
            rows.add_row(outcome.value, str(count), f"{example.letter_id}  {said}".rstrip())
    output.rows(rows)
    if record.stopped:
        output.out.print(f"Stopped early: {record.stopped}. What was not reached is still open.")
    output.say(f"Recorded in the ledger as replays/{record.record_id}.json")


def _letter(office: Office, reference: str) -> DeadLetter:
    letter = office.letter(reference)
    if letter is None:
        raise unknown(reference)
    return letter


def _group(office: Office, reference: str) -> LetterGroup:
    group = office.group(reference)
    if group is None:
        raise unknown(reference)
    return group


def _amount(letters: Sequence[DeadLetter]) -> str:
    causes = len({letter.failure.signature for letter in letters})
    noun = "letter" if len(letters) == 1 else "letters"
    return f"{len(letters)} {noun} of {causes} {'cause' if causes == 1 else 'causes'}"


def _short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
