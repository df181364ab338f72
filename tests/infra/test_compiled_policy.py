"""What the compiled policy asks of S3, over all buckets, whoever writes the next class."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from forebay.domain.policy.classes import ObjectClass, Policy, Retention, Source
from forebay.domain.policy.lifecycle import compile_rules, rule_from_template
from forebay.errors import PolicyError
from forebay.names import Step, Tag, Zone
from infra.constructs.bucket_guard import GUARDED_ZONES, disposer_arn, evaluator_arn
from infra.policy import read_policy
from infra.settings import Profile, Settings
from infra.stacks.storage import check_classes
from infra.steps import STEPS
from tests.infra.deployed import Deployment, Resource

GATES = {Tag.TIERING, Tag.REMOVAL, Tag.REPLICATE, Tag.LANDING}
HOUSEKEEPING = {"abort-stale-uploads", "remove-expired-markers", "expire-replaced-results"}
DELETES = {"s3:DeleteObject", "s3:DeleteObjectVersion"}
LOCKS = {"s3:PutObjectLegalHold", "s3:PutObjectRetention", "s3:BypassGovernanceRetention"}
RETAGS = {
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
}
SOURCE = Source("classes.yaml", 7)


def zone_of(resource: Resource) -> Zone | None:
    found = [
        zone
        for zone in Zone
        if resource.logical_id.startswith(f"Zone{zone.name.title().replace('_', '')}Bucket")
    ]
    return found[0] if found else None


def zone_buckets(deployment: Deployment) -> Iterator[tuple[Zone, Resource]]:
    for bucket in deployment.all("AWS::S3::Bucket"):
        if zone := zone_of(bucket):
            yield zone, bucket


def rules(deployment: Deployment) -> Iterator[tuple[Resource, dict[str, Any]]]:
    for _, bucket in zone_buckets(deployment):
        for rule in bucket.properties["LifecycleConfiguration"]["Rules"]:
            yield bucket, rule


def denials(policy: Resource, *actions: str) -> Iterator[dict[str, Any]]:
    """Yield the statements that deny any of some actions to everybody, objects or bucket."""
    for statement in policy.properties["PolicyDocument"]["Statement"]:
        said = statement["Action"]
        denied = set(said if isinstance(said, list) else [said])
        if statement["Effect"] == "Deny" and denied & set(actions):
            assert statement["Principal"] == {"AWS": "*"}
            yield statement


def guarded(deployment: Deployment) -> list[Resource]:
    found = {
        zone: policy
        for policy in deployment.all("AWS::S3::BucketPolicy")
        if (zone := zone_of(policy)) in GUARDED_ZONES
    }
    wanted = set(GUARDED_ZONES) - ({Zone.ARCHIVE} if deployment.profile == "local" else set())
    assert found.keys() == wanted
    return list(found.values())


def excepted(statement: dict[str, Any]) -> list[str]:
    """The names of the roles that a denial leaves out; nothing else may be in its list."""
    callers = statement["Condition"]["ArnNotLike"]["aws:PrincipalArn"]
    texts = [json.dumps(each) for each in (callers if isinstance(callers, list) else [callers])]
    assert all("AWS::AccountId" in text for text in texts)
    roles = [text.rpartition("role/")[2].split('"')[0] for text in texts]
    return sorted({role.removesuffix("/*") for role in roles})


# ---- lifecycle


def test_templates_hold_exactly_the_compiled_rules(deployment: Deployment) -> None:
    compiled = compile_rules(read_policy())
    for zone, bucket in zone_buckets(deployment):
        declared = bucket.properties["LifecycleConfiguration"]["Rules"]
        assert tuple(map(rule_from_template, declared)) == compiled[zone], bucket


def test_every_rule_but_housekeeping_asks_for_a_gate(deployment: Deployment) -> None:
    for bucket, rule in rules(deployment):
        tags = {tag["Key"] for tag in rule.get("TagFilters", [])}
        assert (len(tags & GATES) == 1) is (rule["Id"] not in HOUSEKEEPING), f"{bucket} {rule}"
        assert "Transitions" not in rule or Tag.LANDING not in tags, f"{bucket} {rule}"
        if rule["Id"] in HOUSEKEEPING:
            assert not {"Transitions", "ExpirationInDays"} & rule.keys(), f"{bucket} {rule}"


def test_no_rule_asks_for_a_gate_that_is_shut(deployment: Deployment) -> None:
    for bucket, rule in rules(deployment):
        assert "none" not in {tag["Value"] for tag in rule.get("TagFilters", [])}, bucket


def test_no_rule_moves_what_is_below_128_kb(deployment: Deployment) -> None:
    moving = [rule for _, rule in rules(deployment) if "Transitions" in rule]
    assert moving
    for rule in moving:
        assert int(rule["ObjectSizeGreaterThan"]) >= 128 * 1024 - 1, rule


def test_no_bucket_has_more_rules_than_s3_takes_nor_two_of_a_name(deployment: Deployment) -> None:
    for _, bucket in zone_buckets(deployment):
        names = [rule["Id"] for rule in bucket.properties["LifecycleConfiguration"]["Rules"]]
        assert len(names) <= 1000, bucket
        assert len(names) == len(set(names)), bucket


# ---- replication


def test_replication_asks_for_the_tag_and_copies_no_delete_markers(cloud: Deployment) -> None:
    replicated = [
        rule
        for _, bucket in zone_buckets(cloud)
        if "ReplicationConfiguration" in bucket.properties
        for rule in bucket.properties["ReplicationConfiguration"]["Rules"]
    ]
    assert len(replicated) == 2
    for rule in replicated:
        assert rule["Filter"] == {"TagFilter": {"Key": Tag.REPLICATE, "Value": "yes"}}
        assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}


# ---- who may delete, lock, retag


def test_placed_objects_are_deleted_by_one_role_and_their_bucket_by_nobody(
    deployment: Deployment,
) -> None:
    for policy in guarded(deployment):
        (denial,) = denials(policy, *DELETES)
        assert set(denial["Action"]) == DELETES, policy
        assert excepted(denial) == ["forebay-dispose-objects"], policy
        assert json.dumps(denial["Resource"]).endswith('/*"]]}'), policy
        (bucket,) = denials(policy, "s3:DeleteBucket")
        assert "Condition" not in bucket, policy


def test_holds_are_lifted_by_policy_and_held_objects_tagged_by_steps_alone(
    deployment: Deployment,
) -> None:
    for policy in guarded(deployment):
        (locks,) = denials(policy, "s3:PutObjectLegalHold")
        # People repair the archive with retentions; nobody shortens one without the bypass.
        kept = LOCKS - ({"s3:PutObjectRetention"} if policy.stack == "archive" else set())
        assert set(locks["Action"]) == kept, policy
        (tags,) = denials(policy, "s3:PutObjectTagging")
        assert set(tags["Action"]) == RETAGS, policy
        held = {"s3:ExistingObjectTag/forebay:hold": "legal"}
        assert tags["Condition"]["StringEquals"] == held, policy
        assert excepted(locks) == ["forebay-dispose-objects", "forebay-evaluate-policy"], policy
        # Any step may refuse readers what late evidence convicts; people may not.
        assert excepted(tags) == ["forebay-*"], policy


def test_only_the_local_cloud_compares_sessions(cloud: Deployment, local: Deployment) -> None:
    for deployment, wanted in ((cloud, False), (local, True)):
        for policy in guarded(deployment):
            (denial,) = denials(policy, *DELETES)
            assert ("assumed-role" in json.dumps(denial)) is wanted


@pytest.mark.parametrize("step", [Step.EVALUATE_POLICY, Step.DISPOSE_OBJECTS])
def test_the_roles_that_bucket_policies_name_have_those_names(
    deployment: Deployment, step: Step
) -> None:
    arn = {Step.EVALUATE_POLICY: evaluator_arn, Step.DISPOSE_OBJECTS: disposer_arn}[step]
    assert step in STEPS, "the bucket policies speak of a role that no stack builds"
    names = [role.properties.get("RoleName") for role in deployment.all("AWS::IAM::Role")]
    assert arn(Settings()).rpartition("/")[2] in names


# ---- what a deployment refuses


def refused(settings: Settings, region: str, **changes: Any) -> str:
    values = {"owner": "us", "zone": Zone.CLINICAL, "retention": Retention("r"), **changes}
    chosen = ObjectClass("kept", **values, source=SOURCE)
    with pytest.raises(PolicyError) as raised:
        check_classes(Policy({"kept": chosen}, ()), settings, region)
    assert str(raised.value).startswith("classes.yaml:7: class kept: ")
    return str(raised.value)


CLOUD = Settings(replica_region="eu-west-1")


def test_a_key_that_is_not_the_zone_s_is_refused() -> None:
    assert "key clinical, not genomics" in refused(CLOUD, "eu-central-1", key="genomics")
    assert "key archive, not clinical" in refused(
        CLOUD, "eu-central-1", key="clinical", zone=Zone.ARCHIVE
    )


def test_a_region_outside_a_class_s_residency_is_refused() -> None:
    told = refused(CLOUD, "us-east-1", residency=("eu-central-1",))
    assert "deployed to us-east-1; its residency allows eu-central-1" in told
    told = refused(CLOUD, "eu-central-1", residency=("eu-central-1",), replicate=True)
    assert "replicated to eu-west-1" in told
    told = refused(CLOUD, "eu-central-1", residency=("eu-central-1",), zone=Zone.ARCHIVE)
    assert "deployed to eu-west-1" in told


def test_replication_of_a_zone_that_has_no_replica_is_refused() -> None:
    told = refused(CLOUD, "eu-central-1", zone=Zone.DERIVED, replicate=True)
    assert "only clinical and genomics are" in told


def test_a_region_that_is_not_known_or_stands_for_another_is_not_judged() -> None:
    chosen = ObjectClass(
        "kept", "us", Zone.CLINICAL, Retention("r"), residency=("eu-central-1",), source=SOURCE
    )
    policy = Policy({"kept": chosen}, ())
    check_classes(policy, Settings(), "${Token[AWS.Region.4]}")
    check_classes(policy, Settings(profile=Profile.LOCAL), "us-east-1")
