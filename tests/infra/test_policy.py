"""A wrong policy is found at synth, with the place in the file."""

import json
from pathlib import Path

import pytest
import yaml

from forebay.errors import PolicyError
from infra.policy import compile_policies, write_policy

CLASSES = {"kept": {"owner": "us", "zone": "clinical", "retention": "kept-1y"}}


def rule(when: str = "kind == 'dicom'", chosen: str = "kept") -> dict[str, str]:
    return {"name": "a rule", "when": when, "class": chosen}


def written(folder: Path, name: str = "classes.yaml", **document: object) -> Path:
    (folder / name).write_text(yaml.safe_dump(document), "utf-8")
    return folder


def test_the_project_s_own_policies_compile() -> None:
    policy = compile_policies()
    assert policy["classes"]
    assert policy["rules"]


def test_files_are_merged_and_the_same_policy_is_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path, classes=CLASSES)
    written(tmp_path, "rules.yaml", rules=[rule()])
    for layer in ("a", "b"):
        write_policy(tmp_path / layer, tmp_path)
    first, second = ((tmp_path / x / "python/forebay_policy/policy.json") for x in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert json.loads(first.read_text("utf-8")) == {"classes": CLASSES, "rules": [rule()]}


@pytest.mark.parametrize(
    "when, sentence",
    [
        ("kind = 'dicom'", "Syntax error"),
        ("colour == 'red'", "undeclared reference to 'colour'"),
        ("size_bytes > 'large'", "no matching overload"),
        ("size_bytes + 1", "is not a yes-or-no question"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused_with_its_place(
    tmp_path: Path, when: str, sentence: str
) -> None:
    written(tmp_path, classes=CLASSES, rules=[rule(), rule(when)])
    with pytest.raises(PolicyError) as raised:
        compile_policies(tmp_path)
    assert str(raised.value).startswith("classes.yaml, /rules/1/when: ")
    assert sentence in str(raised.value)


def test_a_rule_for_a_class_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    written(tmp_path, classes=CLASSES, rules=[rule(chosen="kpet")])
    with pytest.raises(PolicyError, match="rule 'a rule': no class 'kpet'"):
        compile_policies(tmp_path)


def test_a_class_in_a_zone_that_nothing_is_placed_in_is_refused(tmp_path: Path) -> None:
    written(tmp_path, classes={"kept": {**CLASSES["kept"], "zone": "attic"}})
    with pytest.raises(PolicyError, match="class kept: nothing is placed in a zone 'attic'"):
        compile_policies(tmp_path)


def test_two_files_may_not_set_the_same(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", classes=CLASSES)
    written(tmp_path, "b.yaml", classes=CLASSES)
    with pytest.raises(PolicyError, match=r"b\.yaml: 'classes' is already set"):
        compile_policies(tmp_path)


def test_the_schema_s_words_come_with_the_place(tmp_path: Path) -> None:
    written(tmp_path, classes=CLASSES)
    schema = {"properties": {"classes": {"additionalProperties": {"required": ["floor"]}}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema), "utf-8")
    with pytest.raises(PolicyError, match="policies, at classes/kept: 'floor' is a required"):
        compile_policies(tmp_path)


def test_no_policy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="holds no policy"):
        compile_policies(tmp_path)


def test_what_is_not_yaml_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [", "utf-8")
    with pytest.raises(PolicyError, match=r"classes\.yaml: not YAML"):
        compile_policies(tmp_path)
