"""A short, repeatable run of the fuzzing harness; `make fuzz` runs it for longer."""

from pathlib import Path
from typing import Any

import pytest

from forebay.domain.findings import Verdict
from forebay.domain.inspection import Inspection
from fuzz import __main__ as command
from fuzz import engine
from fuzz.targets import TARGETS, Target

RUNS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_no_changed_input_breaks_a_parser(name: str) -> None:
    assert engine.run_mutations(TARGETS[name], runs=RUNS) == RUNS


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_starts_from_files_that_are_accepted(name: str) -> None:
    for seed in TARGETS[name].seeds:
        assert TARGETS[name].judge(seed, 1 << 20).record is not None


def test_the_command_knows_every_target() -> None:
    assert set(command.NAMES) == set(TARGETS)


def test_changes_are_the_same_for_the_same_seed() -> None:
    seen: list[list[bytes]] = [[], []]
    for inputs in seen:

        def judge(data: bytes, _: int, inputs: list[bytes] = inputs) -> Inspection[Any]:
            inputs.append(data)
            return Inspection(Verdict.VALID, "record")

        engine.run_mutations(Target("x", judge, (b"seed of some length",)), runs=200, seed=3)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 100


def crashing(data: bytes, _: int) -> Inspection[Any]:
    if b"!" in data:
        raise ZeroDivisionError
    return Inspection(Verdict.VALID, "record")


def by_chunk(_: bytes, chunk_bytes: int) -> Inspection[Any]:
    return Inspection(Verdict.VALID, chunk_bytes)


def without_reason(_: bytes, __: int) -> Inspection[Any]:
    return Inspection(Verdict.INVALID, None)


@pytest.mark.parametrize(
    "judge,error",
    [
        (crashing, ZeroDivisionError),
        (by_chunk, AssertionError),
        (without_reason, AssertionError),
    ],
)
def test_a_broken_parser_is_found_and_the_input_kept(
    judge: Any, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FINDINGS", tmp_path / "findings")
    with pytest.raises(error):
        engine.run_mutations(Target("broken", judge, (b" ~!"[:2] + b"#" * 9,)), runs=20_000)
    assert len(list((tmp_path / "findings").iterdir())) == 1


def test_a_machine_without_atheris_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "not installed" in engine.why_no_atheris()
