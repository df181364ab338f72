"""The language of `policies/`: everything that is wrong is told at once, each with its line."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forebay.adapters.compiled_policy import data_of, policy_of
from forebay.adapters.policy_source import check_folder, compile_folder
from forebay.domain.policy.classes import (
    NOWHERE,
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Retention,
    Rule,
    Since,
    Site,
    Source,
    Tier,
)
from forebay.domain.policy.soundness import Regions
from forebay.domain.policy.storage_classes import SMALLEST_MOVED_BYTES, StorageClass
from forebay.errors import PolicyError
from forebay.names import Zone

POLICIES = Path(__file__).resolve().parents[2] / "policies"

CLASSES = """\
retentions:
  kept: {at_least: 1y, at_most: 2y, then: review}
  short: {at_least: 0d, at_most: 60d, then: expire}
classes:
  hot:
    description: In use.
    owner: us
    zone: clinical
    key: clinical
    first_byte_within: 1s
    tiers:
      - {to: STANDARD_IA, when_idle_for: 30d}
      - {to: GLACIER_IR, when_idle_for: 90d}
    retention: kept
  staging:
    description: Arrivals.
    owner: us
    zone: landing-imaging
    key: clinical
    first_byte_within: 1s
    retention: short
"""
RULES = """\
rules:
  - name: images
    when: kind == 'dicom'
    class: hot
  - name: all others
    when: 'true'
    class: hot
"""
SITES = """\
sites:
  "*":
    owner: us
    residency: any
"""


def written(folder: Path, classes: str = CLASSES, rules: str = RULES, sites: str = SITES) -> Path:
    (folder / "classes.yaml").write_text(classes, "utf-8")
    (folder / "classification.yaml").write_text(rules, "utf-8")
    (folder / "sites.yaml").write_text(sites, "utf-8")
    return folder


def problems(folder: Path, **regions: str) -> list[str]:
    return [str(each) for each in check_folder(folder, Regions(**regions)).problems]


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def test_a_good_policy_has_no_problems_and_every_part_knows_its_line(tmp_path: Path) -> None:
    policy = check_folder(written(tmp_path)).policy

    assert policy
    hot = policy.classes["hot"]
    assert hot.source == Source("classes.yaml", 5)
    assert [tier.source.line for tier in hot.tiers] == [12, 13]
    assert hot.retention == Retention(
        "kept", 366, ceiling_days=731, removal=Removal.REVIEW, source=Source("classes.yaml", 2)
    )
    assert [str(rule.source) for rule in policy.rules] == [
        "classification.yaml:2",
        "classification.yaml:5",
    ]
    assert policy.sites["*"].source == Source("sites.yaml", 2)


@pytest.mark.parametrize(
    "old, new, problem",
    [
        (
            "to: GLACIER_IR",
            "to: GLACER",
            (
                "13: classes/hot/tiers/1/to: expected one of STANDARD_IA, GLACIER_IR, GLACIER,"
                ' DEEP_ARCHIVE, found "GLACER"'
            ),
        ),
        (
            "when_idle_for: 30d",
            "when_idle_for: 30 days",
            (
                "12: classes/hot/tiers/0/when_idle_for: expected days, weeks or years, as 30d, 6w"
                ' or 10y, found "30 days"'
            ),
        ),
        (
            ", when_idle_for: 30d",
            "",
            (
                "12: classes/hot/tiers/0: expected a tier: `to`, and one of `when_older_than` and"
                " `when_idle_for`, found `to`"
            ),
        ),
        ("zone: clinical", "zone: attic", "8: classes/hot/zone: expected one of landing-imaging,"),
        ("description: In use.", "about: x", "6: classes/hot/about: expected one of description,"),
        ("description: In use.", "", "5: classes/hot: expected `description`, found nothing"),
        ("description: In use.", "description:", "6: classes/hot/description: expected a text,"),
        ("  hot:", "  Hot:", "5: classes/Hot: expected a name of lower-case letters, digits and"),
        (
            "zone: clinical",
            "zone: clinical\n    zone: genomics",
            ("9: classes/hot/zone: expected it once, found it in line 8, too"),
        ),
        (
            "zone: clinical",
            "zone: clinical\n    residency: [Berlin]",
            ('9: classes/hot/residency/0: expected an AWS region, as eu-central-1, found "Berlin"'),
        ),
        (
            "zone: clinical",
            "zone: clinical\n    residency: none",
            ("9: classes/hot/residency: expected `any`, or a list"),
        ),
        (
            "zone: clinical",
            "zone: clinical\n    replicate: maybe",
            ('9: classes/hot/replicate: expected true or false, found "maybe"'),
        ),
        (
            "retention: kept",
            "retention: kpet",
            (
                "14: classes/hot/retention: expected the name of a"
                ' retention, found "kpet"; did you mean "kept"?'
            ),
        ),
        (
            "to: GLACIER_IR",
            "to: STANDARD_IA",
            (
                "13: classes/hot/tiers/1/to: expected a storage class"
                " that is colder than STANDARD_IA, the tier before, found STANDARD_IA"
            ),
        ),
        (
            "when_idle_for: 90d",
            "when_idle_for: 59d",
            (
                "13: classes/hot/tiers/1/when_idle_for:"
                " expected at least 60d, since STANDARD_IA is charged for 30 days, found 59d"
            ),
        ),
        (
            "when_idle_for: 30d",
            "when_older_than: 29d",
            (
                "12: classes/hot/tiers/0/when_older_than:"
                " expected at least 30d, before which S3 moves nothing to STANDARD_IA, found 29d"
            ),
        ),
        (
            "to: GLACIER_IR",
            "to: GLACIER",
            (
                "13: classes/hot/tiers/1/to: expected a storage class"
                " that is read within 1 s, as `first_byte_within` promises, found GLACIER, which"
            ),
        ),
        (
            "retention: kept",
            "retention: short",
            (
                "13: classes/hot/tiers/1/when_idle_for: expected 90"
                " days in GLACIER_IR, which are charged, before short expires after 60, found 90d"
            ),
        ),
        (
            "at_most: 2y",
            "at_most: 300d",
            (
                "2: retentions/kept/at_most: expected at least 366 days,"
                " as `at_least` promises, found 300"
            ),
        ),
        (
            "at_most: 2y, then: review",
            "then: review",
            ("2: retentions/kept: expected `at_most`, after which to review"),
        ),
        (
            "then: review",
            "then: never",
            ("2: retentions/kept/at_most: expected none with `then: never`"),
        ),
        ("then: review", "then: burn", "2: retentions/kept/then: expected one of never, expire,"),
    ],
)
def test_what_is_wrong_with_a_class_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    found = problems(written(tmp_path, classes=changed(CLASSES, old, new)))

    assert [each for each in found if each.startswith(f"classes.yaml:{problem}")], found


def test_two_keys_for_one_zone_are_told(tmp_path: Path) -> None:
    classes = CLASSES + CLASSES[CLASSES.index("  hot:") : CLASSES.index("  staging:")].replace(
        "hot:", "warm:"
    ).replace("key: clinical", "key: research")

    assert problems(written(tmp_path, classes=classes)) == [
        (
            'classes.yaml:26: classes/warm/key: expected "clinical", with which hot encrypts the'
            ' same zone, found "research"'
        )
    ]


@pytest.mark.parametrize(
    "old, new, problem",
    [
        (
            "kind == 'dicom'",
            "kind = 'dicom'",
            ("3: rules/0/when: expected CEL, found at character 6: Syntax error"),
        ),
        (
            "kind == 'dicom'",
            "colour == 'red'",
            (
                "3: rules/0/when: expected CEL, found at character"
                " 1: undeclared reference to 'colour'"
            ),
        ),
        (
            "kind == 'dicom'",
            "size_bytes > 'large'",
            ("3: rules/0/when: expected CEL, found at character 12: found no matching overload"),
        ),
        (
            "kind == 'dicom'",
            "size_bytes + 1",
            (
                "3: rules/0/when: expected a question with the answer"
                " yes or no, found one with another: INT"
            ),
        ),
        ("kind == 'dicom'", "'1 == 2'", "3: rules/0/when: expected a condition that some object"),
        (
            "kind == 'dicom'",
            "kind == 'dicom' || true",
            ("5: rules/1: expected none after rules/0, which holds for all objects"),
        ),
        ("'true'", "kind == 'dicom'", "6: rules/1/when: expected another condition than that of"),
        (
            "'true'",
            "kind != 'fastq'",
            (
                "1: rules: expected a rule for every object, found none for"
                " one of which nothing but kind 'fastq' is known"
            ),
        ),
        (
            "name: all others",
            "name: images",
            ('5: rules/1/name: expected each name once, found "images" as in rules/0'),
        ),
        (
            "'true'\n    class: hot",
            "'true'\n    class: hto",
            ('7: rules/1/class: expected the name of a class, found "hto"; did you mean "hot"?'),
        ),
        (
            "'true'\n    class: hot",
            "'true'\n    class: staging",
            (
                "7: rules/1/class: expected a"
                " class of a zone that objects are placed in (clinical, derived, genomics), found"
                ' "staging", which is of landing-imaging'
            ),
        ),
        ("'true'\n    class: hot", "'true'", "5: rules/1: expected `class`, found nothing"),
        (
            "kind == 'dicom'",
            "modality == 'CT' && source_system.matches('[')",
            (
                "3: rules/0/when: expected a condition that can be asked of some object, found:"
                " invalid regular expression: missing ]"
            ),
        ),
        (
            "kind == 'dicom'",
            "kind == 'dicom' && study_age_days / 0 >= 5",
            (
                "3: rules/0/when: expected a condition that can be asked of some object, found:"
                " divide by zero"
            ),
        ),
        (
            "kind == 'dicom'",
            "metadata.SliceThickness",
            "3: rules/0/when: expected a question with the answer yes or no",
        ),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    found = problems(written(tmp_path, rules=changed(RULES, old, new)))

    assert [each for each in found if each.startswith(f"classification.yaml:{problem}")], found


@pytest.mark.parametrize(
    "condition", ["int(modality) > 3", "metadata.a.b == 2", "study_age_days / read_count > 2"]
)
def test_what_only_some_objects_cannot_answer_is_no_fault(tmp_path: Path, condition: str) -> None:
    rules = changed(RULES, "kind == 'dicom'", condition)

    assert problems(written(tmp_path, rules=rules)) == []


@pytest.mark.parametrize("sites", ["", "# nothing agreed yet\n"])
def test_sites_that_say_nothing_are_told(tmp_path: Path, sites: str) -> None:
    (found,) = problems(written(tmp_path, sites=sites))
    assert "expected `sites` (in sites.yaml; `sites: {}` where nothing was agreed)" in found
    assert problems(written(tmp_path, sites="sites: {}\n")) == []


def test_more_lifecycle_rules_than_a_bucket_takes_are_told(tmp_path: Path) -> None:
    many = yaml.safe_load(CLASSES)
    aged = many["classes"]["hot"] | {"tiers": [{"to": "STANDARD_IA", "when_older_than": "30d"}]}
    many["classes"] |= {f"aged-{number}": aged for number in range(1_001)}
    text = yaml.dump(many, Dumper=_WithoutAliases)
    (found,) = problems(written(tmp_path, classes=text))
    assert "lifecycle rules; a bucket has at most 1000" in found


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def test_a_complementary_pair_of_conditions_is_a_rule_for_every_object(tmp_path: Path) -> None:
    rules = changed(RULES, "'true'", "kind != 'dicom'")

    assert problems(written(tmp_path, rules=rules)) == []


@pytest.mark.parametrize(
    "text, problem",
    [
        ("sites: [", "sites.yaml:1: not YAML: while parsing a flow node, expected the node"),
        ("sites:\n\tx: 1", "sites.yaml:2: not YAML: while scanning for the next token, found char"),
        ("sites: \x07", "sites.yaml:1: not YAML: unacceptable character"),
        ("- sites", "sites.yaml:1: expected a mapping at the top"),
        ("a: &x 1\nb: *x", "sites.yaml:2: expected the value written out, found the alias *x"),
        (
            "rules: []",
            (
                "sites.yaml:1: rules: expected one file to say it, found it in"
                " classification.yaml:1, too"
            ),
        ),
        (
            "colours: {}",
            (
                "sites.yaml:1: colours: expected one of classes, retentions, rules, sites,"
                ' found "colours"'
            ),
        ),
        ("sites: {x: 2026-99-99}", "sites.yaml:1: sites/x: expected a value, found"),
        ("sites: {[x]: 1}", "sites.yaml:1: sites: expected a name before the colon"),
        (
            "sites: {x: {owner: us, residency: [eu-west-1]}, x y: {owner: us}}",
            "sites.yaml:1: sites/x y: expected a site's name as in its keys, or `*`",
        ),
    ],
)
def test_a_file_that_is_none_of_a_policy_is_told(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(written(tmp_path, sites=text))

    assert [each for each in found if each.startswith(problem)], found


def test_a_file_that_cannot_be_read_is_the_only_problem_it_makes(tmp_path: Path) -> None:
    found = problems(written(tmp_path, classes="classes: ["))

    assert len(found) == 1


def test_regions_of_the_deployment_must_be_allowed(tmp_path: Path) -> None:
    classes = changed(
        CLASSES, "    tiers:", "    replicate: true\n    residency: [eu-west-1]\n    tiers:"
    )
    folder = written(tmp_path, classes=classes)

    assert problems(folder) == []
    assert problems(folder, home="eu-west-1", replica="us-east-1") == [
        (
            "classes.yaml:12: classes/hot/residency: expected us-east-1 among them, where this"
            " deployment keeps bytes, found eu-west-1"
        )
    ]


def test_a_site_that_allows_no_region_of_a_class_is_told(tmp_path: Path) -> None:
    classes = changed(CLASSES, "    tiers:", "    residency: [eu-west-1]\n    tiers:")
    sites = changed(SITES, "residency: any", "residency: [us-east-1]")

    assert problems(written(tmp_path, classes=classes, sites=sites)) == [
        (
            "sites.yaml:4: sites/*/residency: expected a region that class hot allows, too, found"
            " us-east-1"
        )
    ]


def test_everything_wrong_is_told_at_once_in_the_order_of_the_files(tmp_path: Path) -> None:
    classes = changed(CLASSES, "GLACIER_IR", "GLACER").replace("then: review", "then: never")
    rules = changed(RULES, "kind == 'dicom'", "colour == 1")
    folder = written(tmp_path, classes=classes, rules=rules)

    with pytest.raises(PolicyError) as raised:
        compile_folder(folder)

    told = str(raised.value).splitlines()
    assert [line.split(": ")[0] for line in told] == [
        "classes.yaml:2",
        "classes.yaml:13",
        "classification.yaml:3",
    ]


def test_a_folder_without_files_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="holds no policy"):
        check_folder(tmp_path)


def test_smallest_object_worth_moving_follows_from_the_dearest_price_table(tmp_path: Path) -> None:
    policy = check_folder(written(tmp_path)).policy
    priced = check_folder(POLICIES).policy

    assert policy
    assert priced
    assert policy.classes["hot"].tiers[0].min_bytes == SMALLEST_MOVED_BYTES
    assert priced.classes["clinical-warm"].tiers[0].min_bytes > SMALLEST_MOVED_BYTES


@pytest.mark.parametrize(
    "name",
    [
        "clinical-hot",
        "clinical-warm",
        "clinical-archive",
        "research-active",
        "research-archive",
        "instrument-staging",
        "imaging-staging",
        "genomics-raw",
        "genomics-intermediate",
        "genomics-final",
        "genomics-manifest",
        "derived",
        "dr-backup",
        "quarantine",
    ],
)
def test_the_default_classes_promise_everything(name: str) -> None:
    said = yaml.safe_load((POLICIES / "classes.yaml").read_text("utf-8"))["classes"][name]

    assert set(said) >= {
        "description",
        "owner",
        "zone",
        "key",
        "first_byte_within",
        "tiers",
        "retention",
        "replicate",
        "residency",
        "needs_consent",
    }


# Any sound policy, and how it is written.

_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
_RESIDENCY = st.sampled_from([(), ("eu-west-1",), ("eu-west-1", "us-east-1")])
_LADDERS = st.sampled_from(
    [
        (),
        (("STANDARD_IA", 30),),
        (("GLACIER_IR", 1), ("DEEP_ARCHIVE", 91)),
        (("STANDARD_IA", 45), ("GLACIER_IR", 80), ("GLACIER", 200), ("DEEP_ARCHIVE", 300)),
    ]
)


@st.composite
def _retentions(draw: st.DrawFn, name: str) -> Retention:
    floor = draw(st.integers(0, 4000))
    removal = draw(st.sampled_from(Removal))
    if removal is Removal.NEVER:
        return Retention(name, floor)
    ceiling = draw(st.integers(max(floor, 600), 9000))
    since = draw(st.sampled_from(Since))
    return Retention(name, floor, ceiling_days=ceiling, removal=removal, since=since)


@st.composite
def _classes(draw: st.DrawFn, name: str) -> ObjectClass:
    return ObjectClass(
        name,
        draw(_TEXTS),
        zone=Zone.CLINICAL,
        retention=draw(_retentions(f"for-{name}")),
        description=draw(_TEXTS),
        latency_seconds=draw(st.integers(12 * 3600, 99_999)),
        tiers=tuple(
            Tier(days, draw(st.sampled_from(Measure)), storage_class=StorageClass(to))
            for to, days in draw(_LADDERS)
        ),
        replicate=draw(st.booleans()),
        residency=draw(_RESIDENCY),
        key="clinical",
        needs_consent=draw(st.booleans()),
        needs_sender_digest=draw(st.booleans()),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    names = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    classes = {name: draw(_classes(name)) for name in names}
    asked = draw(st.lists(st.integers(0, 99), max_size=4, unique=True))
    rules = [
        Rule(f"rule {size}", f"size_bytes > {size}", draw(st.sampled_from(names))) for size in asked
    ]
    rules.append(Rule("the rest", "true", draw(st.sampled_from(names))))
    sites = {name: Site(name, draw(_TEXTS), draw(_RESIDENCY)) for name in draw(st.sets(_NAMES))}
    return Policy(classes, tuple(rules), sites)


def _residency(regions: tuple[str, ...]) -> object:
    return list(regions) or "any"


def _retention_text(each: Retention) -> dict[str, Any]:
    said = {"at_least": f"{each.floor_days}d", "then": each.removal.value}
    if each.ceiling_days is not None:
        said |= {"at_most": f"{each.ceiling_days}d", "counted_from": each.since.value}
    return said


def _class_text(each: ObjectClass) -> dict[str, Any]:
    when = {Measure.AGE: "when_older_than", Measure.IDLE: "when_idle_for"}
    return {
        "description": each.description,
        "owner": each.owner,
        "zone": each.zone.value,
        "key": each.key,
        "first_byte_within": f"{each.latency_seconds}s",
        "tiers": [
            {"to": tier.storage_class.value, when[tier.measure]: f"{tier.after_days}d"}
            for tier in each.tiers
        ],
        "retention": each.retention.name,
        "replicate": each.replicate,
        "residency": _residency(each.residency),
        "needs_consent": each.needs_consent,
        "needs_sender_digest": each.needs_sender_digest,
    }


def _texts(policy: Policy) -> Mapping[str, Any]:
    retentions = [each.retention for each in policy.classes.values()]
    return {
        "classes.yaml": {
            "retentions": {each.name: _retention_text(each) for each in retentions},
            "classes": {name: _class_text(each) for name, each in policy.classes.items()},
        },
        "classification.yaml": {
            "rules": [
                {"name": rule.name, "when": rule.condition, "class": rule.object_class}
                for rule in policy.rules
            ]
        },
        "sites.yaml": {
            "sites": {
                name: {"owner": site.owner, "residency": _residency(site.residency)}
                for name, site in policy.sites.items()
            }
        },
    }


def without_sources(policy: Policy) -> Policy:
    classes = {
        name: replace(
            each,
            source=NOWHERE,
            retention=replace(each.retention, source=NOWHERE),
            tiers=tuple(replace(tier, source=NOWHERE) for tier in each.tiers),
        )
        for name, each in policy.classes.items()
    }
    rules = tuple(replace(rule, source=NOWHERE) for rule in policy.rules)
    sites = {name: replace(site, source=NOWHERE) for name, site in policy.sites.items()}
    return Policy(classes, rules, sites)


@given(policies())
def test_a_policy_that_is_written_and_compiled_is_the_same_policy(policy: Policy) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, said in _texts(policy).items():
            (folder / file).write_text(yaml.safe_dump(said, allow_unicode=True), "utf-8")
        checked = check_folder(folder)
        compiled = compile_folder(folder)

    assert checked.problems == ()
    assert checked.policy == policy_of(compiled)
    assert without_sources(policy_of(compiled)) == policy


@given(policies())
def test_a_compiled_policy_is_read_as_it_was(policy: Policy) -> None:
    again = policy_of(data_of(policy))

    assert again == replace(policy, digest=again.digest)
    assert len(again.digest) == 16


def test_another_policy_has_another_digest_and_the_same_one_the_same() -> None:
    data = compile_folder(POLICIES)
    other = data | {"rules": data["rules"][1:]}

    assert policy_of(data).digest == policy_of(compile_folder(POLICIES)).digest
    assert policy_of(data).digest != policy_of(other).digest
