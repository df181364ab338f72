"""Which files to judge: those that were named, and those in folders that were named."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from forebay.domain.checksum_names import is_bag_manifest, is_bag_tag_file

_BAG_DECLARATION: Final = "bagit.txt"
_PAYLOAD: Final = "data"


@dataclass(frozen=True, slots=True)
class Found:
    """Files in a stable order, the folders among them that are BagIt bags, and closed folders."""

    files: tuple[Path, ...]
    bags: tuple[Path, ...]
    unreadable: dict[Path, str] = field(default_factory=dict)


def find_files(paths: Iterable[Path]) -> Found:
    """Walk paths; hidden files, pipes, devices and links to folders are left out.

    A bag's manifests and BagIt's own tag files are judged with the bag, not by themselves; whatever
    else lies beside its payload is judged like any file.
    """
    files: dict[Path, None] = {}
    bags: dict[Path, None] = {}
    unreadable: dict[Path, str] = {}
    for path in paths:
        for file in _walk(path, unreadable) if path.is_dir() else (path,):
            files[file] = None
            if folder := _bag_of(file, path):
                bags[folder] = None
    judged = [file for file in files if not _is_tag_file(file, bags)]
    return Found(tuple(judged), tuple(bags), unreadable)


def files_of_bag(folder: Path) -> dict[str, Path]:
    """Return every file of a bag by its path within, also hidden ones: a bag is complete.

    Raises OSError when a folder cannot be read.
    """
    closed: dict[Path, str] = {}
    paths = list(_walk(folder, closed, with_hidden=True))
    for path, reason in closed.items():
        raise OSError(f"{path}: {reason}")
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _walk(
    folder: Path, unreadable: dict[Path, str], *, with_hidden: bool = False
) -> Iterator[Path]:
    def remember(error: OSError) -> None:
        unreadable[Path(error.filename or folder)] = error.strerror or str(error)

    for parent, folders, names in os.walk(folder, onerror=remember):
        folders[:] = sorted(name for name in folders if with_hidden or not name.startswith("."))
        for name in sorted(names):
            file = Path(parent) / name
            if (with_hidden or not name.startswith(".")) and (file.is_file() or not file.exists()):
                yield file


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
