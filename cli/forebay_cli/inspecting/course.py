"""The course of an inspection: find, read lists, judge in parallel, compare."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from forebay.domain.integrity import Algorithm
from forebay_cli.inspecting.declared import compare, read_declarations
from forebay_cli.inspecting.finding_files import find_files
from forebay_cli.inspecting.judging import Judged, crashed, judge_bag, judge_file, limit_memory

Progress = Callable[[int], None]
DEFAULT_ALGORITHMS = frozenset({Algorithm.MD5, Algorithm.SHA256})


def total_bytes(paths: Iterable[Path]) -> int:
    """Return the size of everything that will be read."""
    return sum(file.stat().st_size for file in find_files(paths).files if file.exists())


def inspect_paths(paths: Iterable[Path], *, jobs: int, progress: Progress) -> Iterator[Judged]:
    """Yield the judgement of every file and bag, in the order they were found.

    Files that a checksum list speaks of are read even when they were not named, since the list
    cannot be judged otherwise; they are not reported.
    """
    found = find_files(paths)
    declarations = read_declarations(file for file in found.files if file.is_file())
    files = [*found.files, *(declarations.targets() - set(found.files))]
    wanted = {file: DEFAULT_ALGORITHMS | declarations.algorithms_of(file) for file in files}
    judged = dict(_in_parallel(wanted, jobs, progress))
    after = compare(judged, declarations)
    yield from (after[file] for file in found.files)
    yield from (judge_bag(bag) for bag in found.bags)


def _in_parallel(
    wanted: dict[Path, frozenset[Algorithm]], jobs: int, progress: Progress
) -> Iterator[tuple[Path, Judged]]:
    """Judge files in worker processes; one that kills its worker is judged for that.

    A dead worker takes its pool along, and the pool cannot say whose fault it was: what was under
    way is tried again one by one.
    """
    left = dict(wanted)
    workers = jobs
    while left:
        suspects = []
        with ProcessPoolExecutor(workers, get_context("forkserver"), limit_memory) as pool:
            futures: dict[Future[Judged], Path] = {
                pool.submit(judge_file, file, algorithms): file
                for file, algorithms in _next(left, alone=workers == 1)
            }
            for future in as_completed(futures):
                file = futures[future]
                try:
                    judged = future.result()
                except BrokenProcessPool:
                    suspects.append(file)
                    continue
                left.pop(file)
                progress(judged.size_bytes)
                yield file, judged
        if suspects and workers == 1:
            left.pop(suspects[0])
            yield suspects[0], crashed(suspects[0])
        workers = 1 if suspects or workers == 1 else jobs


def _next(
    left: dict[Path, frozenset[Algorithm]], *, alone: bool
) -> list[tuple[Path, frozenset[Algorithm]]]:
    items = list(left.items())
    return items[:1] if alone else items
