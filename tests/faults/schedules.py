"""Telling one schedule, and making the plan of one that broke something smaller."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.faults.invariants import check
from tests.faults.plans import Plan
from tests.faults.simulator import BrokenError, Simulation, numbered_anew
from tests.faults.workload import workload

SHRINK_TRIES = 1500
RETOLD = 8


@dataclass(frozen=True)
class Told:
    """One schedule and what was broken at its end, None when everything held."""

    seed: int
    plan: Plan
    simulation: Simulation
    broken: BrokenError | None

    def __str__(self) -> str:
        """Tell the whole story, for whoever has to find the cause."""
        return "\n".join(
            [
                f"{self.broken}",
                f"seed {self.seed}, {self.plan}",
                *self.simulation.story,
                f"again: .venv/bin/python -m tests.faults {self.seed}",
            ]
        )


def told(seed: int, plan: Plan | None = None) -> Told:
    """Let one schedule happen and ask for every invariant."""
    plan = plan or Plan.of(seed)
    with numbered_anew(seed):
        simulation = Simulation(seed, plan)
        try:
            simulation.run(workload(seed, plan))
            check(simulation)
        except BrokenError as broken:
            return Told(seed, plan, simulation, broken)
    return Told(seed, plan, simulation, None)


def shrunk(found: Told) -> Told:
    """Return the same breach with as few actions and faults as it takes."""
    smallest, tries = found, SHRINK_TRIES
    while tries > 0:
        for plan in _simpler(smallest.plan):
            tries -= 1
            again = told(found.seed, plan)
            if again.broken and found.broken and again.broken.name == found.broken.name:
                smallest = again
                break
        else:
            return smallest
    return smallest


def _simpler(plan: Plan) -> Iterator[Plan]:
    for retold in range(RETOLD):
        for simpler in plan.simpler():
            yield replace(simpler, retold=retold)
