"""Which files to judge: those that were named, and those in folders that were named."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from forebay.domain.checksum_names import is_bag_manifest, is_bag_tag_file

_BAG_DECLARATION: Final = "bagit.txt"
_PAYLOAD: Final = "data"
_HIDDEN_FILE: Final = "hidden files"
_HIDDEN_FOLDER: Final = "hidden folders"
# A bag is complete, so that these are judged with it.
_HIDDEN: Final = frozenset({_HIDDEN_FILE, _HIDDEN_FOLDER})


@dataclass(frozen=True, slots=True)
class Found:
    """Files in a stable order, the folders among them that are BagIt bags, and closed folders.

    `passed_over` counts what nobody will judge, by what it is.
    """

    files: tuple[Path, ...]
    bags: tuple[Path, ...]
    unreadable: dict[Path, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def size_bytes(self) -> int:
        """The size of everything that will be read."""
        return sum(file.stat().st_size for file in self.files if file.exists())


def find_files(paths: Iterable[Path]) -> Found:
    """Walk paths; hidden files, pipes, devices and links to folders are only counted.

    A bag's manifests and BagIt's own tag files are judged with the bag, not by themselves; whatever
    else lies beside its payload is judged like any file.
    """
    files: dict[Path, None] = {}
    bags: dict[Path, None] = {}
    unreadable: dict[Path, str] = {}
    passed_over: dict[Path, str] = {}
    for path in paths:
        for file in _visible(path, unreadable, passed_over) if path.is_dir() else (path,):
            files[file] = None
            if folder := _bag_of(file, path):
                bags[folder] = None
    judged = [file for file in files if not _is_tag_file(file, bags)]
    told = Counter(
        what
        for path, what in sorted(passed_over.items())
        if not (what in _HIDDEN and any(map(path.is_relative_to, bags)))
    )
    return Found(tuple(judged), tuple(bags), unreadable, told)


def files_of_bag(folder: Path) -> dict[str, Path]:
    """Return every file of a bag by its path within, also hidden ones: a bag is complete.

    Raises OSError when a folder cannot be read.
    """
    closed: dict[Path, str] = {}
    paths = [
        parent / name
        for parent, _, names in _walk(folder, closed)
        for name in names
        if _is_file(parent / name)
    ]
    for path, reason in closed.items():
        raise OSError(f"{path}: {reason}")
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _visible(
    folder: Path, unreadable: dict[Path, str], passed_over: dict[Path, str]
) -> Iterator[Path]:
    for parent, folders, names in _walk(folder, unreadable):
        for name in folders:
            if name.startswith("."):
                passed_over[parent / name] = _HIDDEN_FOLDER
            elif (parent / name).is_symlink():
                passed_over[parent / name] = "links to folders"
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith("."):
                passed_over[parent / name] = _HIDDEN_FILE
            elif _is_file(parent / name):
                yield parent / name
            else:
                passed_over[parent / name] = "pipes or devices"


def _walk(folder: Path, unreadable: dict[Path, str]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk in a stable order; links to folders are named among these, and not followed."""

    def remember(error: OSError) -> None:
        unreadable[Path(error.filename or folder)] = error.strerror or str(error)

    for parent, folders, names in os.walk(folder, onerror=remember):
        folders.sort()
        yield Path(parent), folders, sorted(names)


def _is_file(path: Path) -> bool:
    """Tell whether it is to be judged; so is a link that leads nowhere, as unreadable."""
    return path.is_file() or not path.exists()


def _bag_of(file: Path, named: Path) -> Path | None:
    """Return the bag a file makes its folder: by declaration, or by manifest beside a payload."""
    if not named.is_dir():
        return None
    is_manifest = file.name.startswith("manifest-") and file.suffix == ".txt"
    if file.name == _BAG_DECLARATION or (is_manifest and (file.parent / _PAYLOAD).is_dir()):
        return file.parent
    return None


def _is_tag_file(file: Path, bags: Iterable[Path]) -> bool:
    if not (is_bag_manifest(file.name) or is_bag_tag_file(file.name)):
        return False
    return any(file.is_relative_to(bag) and not file.is_relative_to(bag / _PAYLOAD) for bag in bags)
