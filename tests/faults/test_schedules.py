"""Thousands of schedules in which everything goes wrong, and what must hold after each."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from forebay.domain.duplicates import Standing
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.standing import scopes_of
from forebay.services import judging, place_object, relay_changes
from forebay.services.inspecting import Inspector
from forebay.services.place_object import PlaceObject
from forebay.services.ports import Change
from forebay.services.register_object import RegisterObject
from tests.faults import schedules
from tests.faults.invariants import INVARIANTS
from tests.faults.plans import Plan
from tests.faults.schedules import Told, shrunk, told
from tests.unit.fakes import FakeCatalog

SCHEDULES = 2000
CHUNK = 50
MANY = int(os.environ.get("FOREBAY_SCHEDULES", "20000"))


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_nothing_is_lost_and_nothing_done_twice(first: int) -> None:
    hold(range(first, first + CHUNK))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_nothing_is_lost_and_nothing_done_twice_in_schedules_nobody_saw_before(part: int) -> None:
    first = secrets.randbelow(10**12)
    sys.stderr.write(f"\npart {part}: seeds from {first}\n")
    hold(range(first, first + max(MANY // 20, 1)))


def hold(seeds: range) -> None:
    for seed in seeds:
        found = told(seed)
        if found.broken:
            pytest.fail(str(shrunk(found)), pytrace=False)


def test_without_faults_nothing_is_left_to_repair() -> None:
    for seed in range(60):
        found = told(seed, Plan(actions=12, demands_digest=bool(seed % 2)))
        assert found.broken is None, found
        assert not found.simulation.faults


def test_same_seed_tells_the_same_story_in_another_process() -> None:
    seed = next(seed for seed in range(100) if told(seed).simulation.faults > 20)
    command = [sys.executable, "-m", "tests.faults", str(seed)]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert there == f"{told(seed)}\n"


def test_schedules_reach_every_kind_of_fault_and_end() -> None:
    stories = "\n".join("\n".join(told(seed).simulation.story) for seed in range(120))
    for what in (
        "the worker dies before",
        "the worker dies after",
        "throttled: no effect",
        "its answer was lost",
        "asked again and was refused",
        "lost: S3's ObjectCreated",
        "twice: place_object",
        "goes on",
        "gave up on",
        "set its batch aside",
        "loses a bit",
        "a sender deletes its upload",
        "lifecycle takes",
        "reconcile found: missing-in-catalog",
        "decide replace",
        "letter",
    ):
        assert what in stories, what


# A simulator that finds nothing proves nothing: each of these is a bug somebody could make.


def forget_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(catalog: FakeCatalog, change: Change) -> Any:
        fewer = Change(
            change.before, change.after, change.claims, None, change.counts_on, change.also
        )
        return APPLY(catalog, fewer)

    monkeypatch.setattr(FakeCatalog, "_apply", careless)


def trust_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place_object, "is_equal", lambda record, copy: True)


def settle_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(service: PlaceObject, record: ObjectRecord, *, redelivered: bool) -> Any:
        service._settle_landing(record)
        return SETTLED(service, record, redelivered=redelivered)

    monkeypatch.setattr(PlaceObject, "_settled", early)


def leave_arrivals_untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_changes, "_is_change", lambda change: change.before is not None)


def overlook_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(inspector: Inspector, before: Any, after: Any, _: Any, declared: Any) -> Any:
        return VERIFY(inspector, before, after, [], declared)

    monkeypatch.setattr(Inspector, "verify", careless)


def ignore_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(service: RegisterObject, event: Any, *, redelivered: bool = False) -> Any:
        return REGISTER(service, event, redelivered=False)

    monkeypatch.setattr(RegisterObject, "__call__", careless)


def forget_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place_object, "standing_of", lambda original: Standing.KEPT)


def believe_what_was_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inspector, "_check", lambda *_: None)


def hold_no_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "scopes_reaching", lambda _, record: scopes_of(record))


APPLY: Callable[..., Any] = FakeCatalog._apply
SETTLED: Callable[..., Any] = PlaceObject._settled
VERIFY: Callable[..., Any] = Inspector.verify
REGISTER: Callable[..., Any] = RegisterObject.__call__
BUGS = (
    forget_declarations,
    trust_copies,
    settle_too_early,
    leave_arrivals_untold,
    overlook_claims,
    ignore_what_is_gone,
    forget_originals,
    believe_what_was_damaged,
    hold_no_derivatives,
)


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert any(found.broken for found in stories())


def test_breach_is_shrunk_to_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "RETOLD", 2)
    trust_copies(monkeypatch)
    found = next(found for found in stories() if found.broken)

    smallest = shrunk(found)

    assert smallest.broken
    assert found.broken
    assert smallest.broken.name == found.broken.name
    assert len(smallest.simulation.story) <= len(found.simulation.story)
    assert smallest.plan.actions - len(smallest.plan.skipped) <= 5
    assert f"seed {found.seed}" in str(smallest)


def stories() -> Iterator[Told]:
    for seed in range(300):
        drawn = Plan.of(seed)
        demands = bool(seed % 3)
        yield told(
            seed, replace(drawn, actions=8, hurry=0.4, interleave=0.8, demands_digest=demands)
        )


def test_every_invariant_says_what_it_promises() -> None:
    for invariant in INVARIANTS:
        assert invariant.__doc__, invariant.__name__
    assert len({invariant.__name__ for invariant in INVARIANTS}) == len(INVARIANTS)
