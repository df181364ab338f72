"""The course of an inspection on a disk: find, judge in parallel, hold against checksum lists."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path, PurePath
from typing import Final

from forebay.domain.integrity import Algorithm
from forebay_cli.inspecting import judging
from forebay_cli.inspecting.companions import hold_together
from forebay_cli.inspecting.declared import Wanted, judge_with_lists
from forebay_cli.inspecting.finding_files import Found
from forebay_cli.inspecting.judging import (
    Judged,
    crashed,
    failed,
    judge_path,
    limit_memory,
    unreadable,
)

Progress = Callable[[int], None]
_LIST_MAX_BYTES: Final = 64 << 20


def inspect_found(found: Found, *, jobs: int, progress: Progress) -> Iterator[Judged]:
    """Yield the judgement of every file and bag, in the order they were found.

    Files that a checksum list or an index speaks of are read even when they were not named; they
    are not reported.
    """

    def judge_all(wanted: Wanted) -> Iterator[tuple[PurePath, Judged]]:
        return judge_in_parallel(wanted, jobs=jobs, progress=progress)

    judged = judge_with_lists(
        found.files, judge_all=judge_all, read_list=_read_list, exists=_exists
    )
    judged = hold_together(judged, judge_all=judge_all, exists=_exists)
    yield from (judged[file] for file in found.files)
    bags: dict[PurePath, frozenset[Algorithm]] = dict.fromkeys(found.bags, frozenset())
    of_bags = dict(judge_in_parallel(bags, jobs=jobs, progress=lambda _: None))
    yield from (of_bags[bag] for bag in found.bags)
    yield from (unreadable(str(folder), reason) for folder, reason in found.unreadable.items())


def judge_in_parallel(
    wanted: Mapping[PurePath, frozenset[Algorithm]], *, jobs: int, progress: Progress
) -> Iterator[tuple[PurePath, Judged]]:
    """Judge files in worker processes; one that kills its worker is judged for that.

    A dead worker takes its pool along, and the pool cannot say whose fault it was. Files are taken
    in order, so it was one of the first that are left: these are tried again one by one.
    """
    left = dict(wanted)
    while left:
        for path, done in _judge_together(left, jobs):
            if done is not None:
                del left[path]
                progress(done.size_bytes)
                yield path, done
        for path in list(left)[: 2 * jobs]:
            (_, judged), *_ = *_judge_together({path: left.pop(path)}, 1), (path, None)
            judged = judged or crashed(path)
            progress(judged.size_bytes)
            yield path, judged


def _judge_together(
    wanted: Mapping[PurePath, frozenset[Algorithm]], jobs: int
) -> Iterator[tuple[PurePath, Judged | None]]:
    """Judge files in one pool; None for those that were not done when it broke."""
    context = get_context("forkserver")
    # One process imports the parsers, and every worker is a copy of it.
    context.set_forkserver_preload([judging.__name__])
    with ProcessPoolExecutor(jobs, context, limit_memory) as pool:
        futures: dict[Future[Judged], PurePath] = {}
        try:
            for path, algorithms in wanted.items():
                futures[pool.submit(judge_path, Path(path), algorithms)] = path
        except BrokenProcessPool:
            pass  # what was not submitted is left for the next pool
        for future in as_completed(futures):
            path = futures[future]
            problem = future.exception()
            if problem is None:
                yield path, future.result()
            else:
                yield (
                    path,
                    None if isinstance(problem, BrokenProcessPool) else failed(path, problem),
                )


def _exists(path: PurePath) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False  # a list may name what no disk can hold: too long, or with a NUL


def _read_list(path: PurePath) -> bytes | None:
    file = Path(path)
    try:
        if file.is_file() and file.stat().st_size <= _LIST_MAX_BYTES:
            return file.read_bytes()
    except OSError:
        return None  # it is judged by itself, and told there
    return None
