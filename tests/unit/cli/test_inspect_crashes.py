"""A parser that takes its process down. Apart, because workers import this module as well."""

import os
import signal
from collections.abc import Collection
from pathlib import Path, PurePath

import pytest

from forebay.domain.integrity import Algorithm
from forebay_cli.inspecting import course
from forebay_cli.inspecting.course import judge_in_parallel
from forebay_cli.inspecting.judging import Judged


def judge_or_die(path: Path, _: Collection[Algorithm]) -> Judged:
    if path.name.startswith("bomb"):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name.startswith("bug"):
        raise ZeroDivisionError
    return Judged(str(path), "fastq", "valid", size_bytes=1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_kills_its_worker_is_a_verdict_and_no_other_file_suffers(
    monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(course, "judge_path", judge_or_die)
    names = ["a", "bomb-1", "b", "c", "bug", "d", "e", "bomb-2", "f", "g"]
    progress: list[int] = []
    wanted: dict[PurePath, frozenset[Algorithm]] = {Path(name): frozenset() for name in names}
    done = dict(judge_in_parallel(wanted, jobs=jobs, progress=progress.append))
    assert {str(path): each.verdict for path, each in done.items()} == {
        name: {"bo": "invalid", "bu": "unsupported"}.get(name[:2], "valid") for name in names
    }
    bomb = done[Path("bomb-2")].document(with_identifiers=True)
    assert [reason["code"] for reason in bomb["reasons"]] == ["LIMIT_EXCEEDED"]
    # A bug of ours is neither a verdict on the file nor the end of the session.
    assert "ZeroDivisionError" in done[Path("bug")].trouble
    assert sum(progress) == 7
