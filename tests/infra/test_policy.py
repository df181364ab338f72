"""A wrong policy is found at synth, with its line, and a good one is the layer's JSON."""

import json
from pathlib import Path

import pytest

from forebay.adapters.price_table import deployed_prices, prices_for
from forebay.errors import PolicyError
from forebay.names import Zone
from infra.policy import POLICIES, compile_policies, read_policy, write_policy


def copied(folder: Path, name: str = "", old: str = "", new: str = "") -> Path:
    """Copy the project's policy, with a change in one of its files."""
    for source in POLICIES.glob("*.yaml"):
        text = source.read_text("utf-8")
        changed = text.replace(old, new, 1) if source.name == name else text
        assert (changed != text) is (source.name == name)
        (folder / source.name).write_text(changed, "utf-8")
    return folder


def test_the_project_s_own_policies_compile() -> None:
    policy = compile_policies()

    assert policy["classes"]
    assert policy["rules"]
    assert policy["sites"]


def test_the_same_policy_is_the_same_bytes_and_all_that_functions_need(tmp_path: Path) -> None:
    for layer in ("a", "b"):
        write_policy(tmp_path / layer)

    first, second = ((tmp_path / x / "python/forebay_policy/policy.json") for x in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert json.loads(first.read_text("utf-8")) == compile_policies()


@pytest.mark.parametrize(
    "name, old, new, problem",
    [
        ("classes.yaml", "zone: clinical\n", "zone: attic\n", "/zone: expected one of"),
        ("classification.yaml", "kind == 'report'", "kind = 'report'", "Syntax error"),
        ("classification.yaml", "class: derived", "class: drived", 'did you mean "derived"?'),
        ("sites.yaml", "owner: data-governance", "owner:", "sites/*/owner: expected a text"),
    ],
)
def test_a_wrong_policy_is_refused_with_file_and_line(
    tmp_path: Path, name: str, old: str, new: str, problem: str
) -> None:
    folder = copied(tmp_path, name, old, new)
    line = (POLICIES / name).read_text("utf-8").partition(old)[0].count("\n") + 1

    with pytest.raises(PolicyError) as raised:
        write_policy(tmp_path / "layer", folder)

    first = str(raised.value).splitlines()[0]
    assert first.startswith(f"{name}:{line}: ")
    assert problem in first
    assert not (tmp_path / "layer" / "python" / "forebay_policy" / "policy.json").exists()


def test_every_zone_but_the_ledger_has_a_class() -> None:
    zones = {chosen.zone for chosen in read_policy().classes.values()}

    assert zones == set(Zone) - {Zone.LEDGER}


def test_no_policy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="holds no policy"):
        compile_policies(tmp_path)


def test_the_layer_tells_functions_the_prices_that_the_files_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_policy(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "python"))

    for region in ("eu-central-1", "eu-west-1", "us-east-1"):
        assert deployed_prices(region) == prices_for(region, POLICIES)
    assert deployed_prices("moon-1") is None
