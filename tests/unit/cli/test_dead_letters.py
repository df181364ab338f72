"""`forebay dead-letters` over a world in which steps gave up."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from forebay.domain.dead_letters import NO_ANSWER, DeadLetter, Failure, LetterState
from forebay.domain.states import State
from forebay.names import Step
from forebay_cli.commands import dead_letters
from forebay_cli.dead_letters import Office, advice, moment_of
from forebay_cli.deployment import Account
from forebay_cli.main import main
from forebay_cli.target import Target
from tests.unit.cli.test_local_cloud import a_cloud
from tests.unit.fakes import NOON, any_dead_letter, any_dicom_body, any_failure
from tests.unit.world import Message, World, message_of

Run = Callable[..., Result]


class WorldOffice(Office):
    """An office whose services are those of a world."""

    def __init__(self, world: World) -> None:
        self.__dict__ |= {
            "letters": world.letters,
            "store": world.store,
            "desk": world.desk,
            "preview": world.preview_dead_letter,
            "replay": world.replay_dead_letters,
        }

    @property
    def caller(self) -> str:
        return "arn:aws:iam::111122223333:user/steward"


@pytest.fixture
def world() -> World:
    """Give a world in which three registrations and one placement were given up."""
    world = World()
    for _ in range(3):
        world.image(any_dicom_body(), f"site-a/{len(world.dead_letters)}.dcm")
        message = world.queue.pop()
        cause = Failure.of(message.step, "AccessDenied (HeadObject)", "may not read 123")
        world.letters.leave(message.message_id, cause, NOON)
        world.dead_letters.append(message)
    world.image(any_dicom_body(), "site-a/Doe.dcm")
    while world.queue[0].step is not Step.PLACE_OBJECT:
        world.work_off(world.queue.popleft())
        world.relay()
    world.dead_letters.append(world.queue.popleft())
    world.archive_dead_letters()
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(dead_letters, "Office", lambda _: WorldOffice(world))
    monkeypatch.setattr(Target, "deployment", lambda *_: None)

    def invoke(*arguments: str, answer: str = "") -> Result:
        return CliRunner().invoke(main, ["dead-letters", *arguments], input=answer)

    return invoke


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def letters(world: World, step: Step) -> list[DeadLetter]:
    return [letter for letter in world.letters.by_id.values() if letter.step is step]


def test_list_shows_one_line_per_cause_with_what_to_do(run: Run) -> None:
    result = run("list")

    assert result.exit_code == 0
    assert result.stdout.count("AccessDenied (HeadObject): may not read <value>") == 1
    assert "A grant is missing: deploy it, then replay." in result.stdout
    assert "forebay logs place_object" in result.stdout
    assert "Doe" not in result.output


def test_list_as_json_counts_letters_by_state(run: Run) -> None:
    causes = document(run("list", "--json"))["causes"]

    assert {(c["step"], c["letters"]["OPEN"]) for c in causes} == {
        ("register_object", 3),
        ("place_object", 1),
    }
    (cause,) = document(run("list", "--step", "place_object", "--json"))["causes"]
    assert cause["error"] == "NoAnswer"
    assert document(run("list", "--since", "2999-01-01", "--json"))["causes"] == []
    assert document(run("list", "--until", "2001-01-01", "--json"))["causes"] == []


def test_beginnings_of_names_are_enough(run: Run, world: World) -> None:
    (letter,) = letters(world, Step.PLACE_OBJECT)

    by_id = document(run("show", letter.letter_id[:8], "--json"))
    assert by_id["letter_id"] == letter.letter_id
    assert by_id["about"] == letter.about
    by_signature = document(run("show", letter.failure.signature[:6], "--json"))
    assert [each["letter_id"] for each in by_signature["letters"]] == [letter.letter_id]
    assert letter.letter_id in run("show", letter.failure.signature).stdout
    assert "what to do" in run("show", letter.letter_id).stdout


def test_message_is_shown_only_when_asked_for(run: Run, world: World) -> None:
    (letter,) = letters(world, Step.PLACE_OBJECT)

    assert "Doe" not in run("show", letter.letter_id).output
    assert "Doe" in run("show", letter.letter_id, "--body").stdout
    assert "Doe" in document(run("show", letter.letter_id, "--body", "--json"))["body"]


def test_unknown_and_ambiguous_names_are_sentences(run: Run, world: World) -> None:
    unknown = run("show", "nothing")
    assert unknown.exit_code == 3
    assert "No dead letter and no signature begins with nothing" in unknown.stderr
    assert run("preview", "--signature", "nothing").exit_code == 3
    one = any_dead_letter(letter_id="a" * 23 + "b")
    other = any_dead_letter(letter_id="a" * 24)
    for letter in (one, other):
        world.letters.put(None, letter)
    ambiguous = run("show", "aaaa")
    assert ambiguous.exit_code == 2
    assert one.letter_id in ambiguous.stderr


def test_preview_proves_what_would_act(run: Run, world: World) -> None:
    counts = document(run("preview", "--json"))["counts"]
    assert counts == {"WOULD_ACT": 4, "ALREADY_DONE": 0, "CANNOT": 0}
    before = dict(world.catalog.records)

    text = run("preview", "--step", "register_object", "--limit", "2")

    assert "2 would act, 0 already done, 0 cannot." in text.stdout
    assert "in storage and not in the catalog" in text.stdout
    assert world.catalog.records == before


def test_replay_asks_then_sends_and_says_where_it_is_recorded(run: Run, world: World) -> None:
    declined = run("replay", answer="n\n")
    assert declined.exit_code == 1
    assert "Replay 4 letters of 2 causes at 10 a second?" in declined.stderr
    assert not world.queue

    done = run("replay", "--rate", "50", answer="y\n")

    assert done.exit_code == 0
    assert "replays/" in done.stderr
    world.run()
    assert {record.state for record in world.catalog.records.values()} == {State.PLACED}
    assert "No dead letters are open." in run("list").stdout
    assert "4 replayed" not in run("list", "--all").stdout
    shown = {letter.by for letter in world.letters.by_id.values()}
    assert shown == {"arn:aws:iam::111122223333:user/steward"}


def test_fix_is_tried_on_one_letter_first(run: Run, world: World) -> None:
    done = document(
        run(
            "replay",
            "--limit",
            "1",
            "--to-version",
            "7",
            "--yes",
            "--json",
            "--step",
            "place_object",
        )
    )

    assert [letter["outcome"] for letter in done["letters"]] == ["acted"]
    (letter,) = letters(world, Step.PLACE_OBJECT)
    assert letter.state is LetterState.RESOLVED


def test_letters_that_fail_again_at_once_are_findings(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.replay_dead_letters.functions, "invoke", lambda *_, **__: None)

    result = run("replay", "--to-version", "7", "--yes")

    assert result.exit_code == 1
    assert "failed again" in result.stdout


def test_replay_that_ended_early_is_trouble(run: Run, world: World) -> None:
    world.effects.fail_at = len(world.effects.calls) + 3

    result = run("replay", "--yes")

    assert result.exit_code == 3
    assert "Stopped early" in result.stdout


def test_resolution_needs_a_selection_and_a_note(run: Run, world: World) -> None:
    assert run("resolve", "--yes").exit_code == 2
    assert run("resolve", "--note", "why", "--yes").exit_code == 2
    assert run("resolve", "--step", "place_object", "--yes").exit_code == 2

    done = run("resolve", "--step", "place_object", "--note", "sent again by the site", "--yes")

    assert done.exit_code == 0
    (letter,) = letters(world, Step.PLACE_OBJECT)
    assert (letter.state, letter.note) == (LetterState.RESOLVED, "sent again by the site")


def test_what_is_done_is_resolved_and_the_rest_stays(run: Run, world: World) -> None:
    first, *others = letters(world, Step.REGISTER_OBJECT)
    body = json.loads(world.store.body(first.body))["body"]
    world.call(message_of(Step.REGISTER_OBJECT, body, "m"))

    done = document(run("resolve", "--done", "--yes", "--json"))

    assert [letter["letter_id"] for letter in done["letters"]] == [first.letter_id]
    assert {world.letters.by_id[x.letter_id].state for x in others} == {LetterState.OPEN}


def test_json_never_asks(run: Run) -> None:
    assert run("replay", "--json").exit_code == 2
    assert run("resolve", "--json", "--done").exit_code == 2


def test_nothing_meant_is_nothing_done(run: Run) -> None:
    assert "nothing was done" in run("replay", "--since", "2999-01-01", "--yes").stdout
    assert "No open letter" in run("preview", "--since", "2999-01-01").stdout
    assert "nothing was done" in run("resolve", "--step", "relay_changes", "--note", "x").stdout


@pytest.mark.parametrize(
    "error, said",
    [
        (NO_ANSWER[0], "timeouts and memory"),
        ("EventBridge NO_PERMISSIONS", "could not be reached"),
        ("AccessDenied (GetObject)", "grant"),
        ("MessageError", "--to-version"),
        ("ThrottlingException (PutItem)", "--rate"),
        ("ValueError", "Preview"),
    ],
)
def test_every_cause_has_advice(error: str, said: str) -> None:
    assert said in advice(any_failure(error=error))


def test_times_are_durations_ago_or_dates_in_utc() -> None:
    def moment(text: str) -> datetime | None:
        return moment_of(None, None, text)  # type: ignore[arg-type]

    assert moment("") is None
    assert moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    before = datetime.now(UTC)
    then = moment("2h") or NOON
    assert before <= then + timedelta(hours=2) <= datetime.now(UTC)
    with pytest.raises(click.BadParameter):
        moment("yesterday")


def test_messages_of_a_world_survive_their_own_text(world: World) -> None:
    for letter in world.letters.by_id.values():
        body = json.loads(world.store.body(letter.body))["body"]
        assert isinstance(message_of(letter.step, body, "m"), Message)
        assert replace(letter, note="x").note == "x"


def test_call_of_a_function_waits_as_long_as_one_may_run() -> None:
    account = Account.of_local(a_cloud())

    config: Any = account.functions.meta.config
    assert config.read_timeout > 900
    assert account.functions.meta.endpoint_url == account.sqs.meta.endpoint_url
