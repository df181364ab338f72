"""What is in the layers, for Lambda and for this machine; built from the registry, twice."""

import importlib.util
import marshal
import shutil
import sys
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType

import pytest

from forebay.errors import ConfigurationError
from infra.bundling import (
    RUNTIME_PACKAGES,
    Target,
    build,
    build_fresh,
    cloud_target,
    export_pins,
    local_target,
)
from infra.native import compile_sources, host_machine
from infra.policy import write_policy
from infra.settings import ROOT
from infra.steps import STEPS, Layer, StepSpec

LIMIT_BYTES = 250 * 1024 * 1024
"""Lambda's bound on a function and its layers, unzipped."""


@dataclass
class Built:
    target: Target
    folder: Path

    def layer(self, name: str) -> Path:
        return self.folder / name

    @cached_property
    def contents(self) -> dict[str, dict[str, bytes]]:
        return {name: contents(self.layer(name)) for name in Layer.ALL}

    def size(self, *names: str) -> int:
        return sum(len(data) for name in names for data in self.contents[name].values())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def build_all(sources: Path, target: Target, folder: Path) -> Built:
    for name in Layer.ALL:
        build_fresh(sources / name, folder / name, target)
    write_policy(folder / Layer.POLICY)
    return Built(target, folder)


def the_target(name: str) -> Target:
    return cloud_target() if name == "cloud" else local_target(Path(sys.executable))


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: somebody may be editing the code while its layers are built twice."""
    folder = tmp_path_factory.mktemp("sources") / "layers"
    shutil.copytree(ROOT / "layers", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session", params=["cloud", "local"])
def built(
    request: pytest.FixtureRequest, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    folder = tmp_path_factory.mktemp(request.param)
    return build_all(sources, the_target(request.param), folder)


def test_two_builds_are_byte_identical(built: Built, sources: Path, tmp_path: Path) -> None:
    again = build_all(sources, built.target, tmp_path)
    for name in Layer.ALL:
        assert again.contents[name].keys() == built.contents[name].keys(), name
        before, after = built.contents[name], again.contents[name]
        changed = [path for path in after if after[path] != before[path]]
        assert changed == [], name


def test_no_top_level_package_is_in_two_layers(built: Built) -> None:
    seen: dict[str, str] = {}
    for name in Layer.ALL:
        for entry in (built.layer(name) / "python").iterdir():
            if entry.name != "__pycache__":
                assert entry.name not in seen, f"{entry.name}: {name} and {seen[entry.name]}"
                seen[entry.name] = name


def test_no_layer_ships_what_the_runtime_brings(built: Built) -> None:
    brought = {name.replace("python-", "") for name in RUNTIME_PACKAGES} | {"awscrt"}
    for name in Layer.ALL:
        shipped = {entry.name.split("-")[0] for entry in (built.layer(name) / "python").iterdir()}
        assert not shipped & brought, name


@pytest.mark.parametrize("spec", STEPS.values(), ids=lambda spec: spec.step.value)
def test_each_function_with_its_layers_stays_below_the_limit(built: Built, spec: StepSpec) -> None:
    assert built.size(*spec.layers) < LIMIT_BYTES
    assert len(spec.layers) <= 5


def test_layers_carry_bytecode_for_their_runtime_that_names_paths_under_opt(built: Built) -> None:
    if built.target.compiler is None:
        pytest.skip(f"no Python {built.target.python_version} on this machine")
    tag = f"cpython-{built.target.python_version.replace('.', '')}"
    module = built.layer("common") / "python/forebay/__pycache__" / f"names.{tag}.pyc"
    data = module.read_bytes()
    assert int.from_bytes(data[4:8], "little") == 0b01, "hash-based, unchecked"
    if data[:4] == importlib.util.MAGIC_NUMBER:
        code = marshal.loads(data[16:])  # noqa: S302 - our own build
        assert isinstance(code, CodeType)
        assert code.co_filename == "/opt/python/forebay/names.py"


def test_native_code_is_for_the_target(built: Built) -> None:
    native = [path for path in built.contents[Layer.GENOMICS] if ".cpython-" in path]
    native = [path for path in native if path.endswith(".so")]
    assert native
    wanted = "aarch64" if built.target.name == "cloud" else built.target.name.split("-")[1]
    assert all(wanted in path or "arm64" in path for path in native), native


def test_our_own_native_code_is_for_the_target_and_without_its_source(built: Built) -> None:
    folder = "python/forebay/formats/"
    library = built.contents[Layer.COMMON][f"{folder}fastq_kernel.native"]
    machine = {"aarch64": 0xB7, "x86_64": 0x3E}  # e_machine of ELF
    wanted = "aarch64" if built.target.name == "cloud" else built.target.name.split("-")[1]
    assert (library[:4], library[18]) == (b"\x7fELF", machine[wanted])
    assert f"{folder}fastq_kernel.c" not in built.contents[Layer.COMMON]


def test_a_source_that_does_not_compile_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.c").write_text("int broken(void) { return missing; }\n", "ascii")
    with pytest.raises(ConfigurationError, match=r"broken\.c could not be compiled:\n.*missing"):
        compile_sources(tmp_path, host_machine())


def test_layers_carry_neither_tests_nor_stubs(built: Built) -> None:
    for name in Layer.ALL:
        for path in built.contents[name]:
            assert "/tests/" not in path, path
            assert not path.endswith((".pyi", "/RECORD", ".h")), path


def test_every_layer_can_be_zipped(built: Built) -> None:
    """A zip cannot carry a time before 1980, nor should a build depend on when it ran."""
    for name in Layer.ALL:
        for path in built.layer(name).rglob("*.py"):
            if "forebay_policy" not in path.parts:  # written after the build, at synth
                zipfile.ZipInfo.from_file(path)
                assert path.stat().st_mtime == 315_532_800, path


def test_the_cache_gives_what_a_fresh_build_gives(
    built: Built, sources: Path, tmp_path: Path
) -> None:
    build(sources / Layer.COMMON, tmp_path, built.target)
    assert contents(tmp_path) == built.contents[Layer.COMMON]


@pytest.mark.parametrize("name", [Layer.POWERTOOLS, Layer.GENOMICS, Layer.POLICY])
def test_pins_are_those_of_the_lock(name: str, tmp_path: Path) -> None:
    source = ROOT / "layers" / name
    copy = tmp_path / name
    copy.mkdir()
    (copy / "requirements.in").write_bytes((source / "requirements.in").read_bytes())
    export_pins(copy)
    now = (source / "requirements.txt").read_text("utf-8")
    assert (copy / "requirements.txt").read_text("utf-8") == now, "run: python -m infra.bundling"


def test_without_an_interpreter_of_the_runtime_s_version_it_says_so_and_ships_sources(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_fresh(sources / Layer.COMMON, tmp_path / "common", Target("cloud", "3.99", "any", None))
    assert not list(tmp_path.rglob("*.pyc"))
    assert "no Python 3.99 found: the layer ships without bytecode" in capsys.readouterr().err
