"""What holds for every resource of a kind, whoever adds the next one."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.policy.decision import Violation
from forebay.names import FOLDERS, Step
from infra.runbooks import Runbook
from infra.settings import ROOT, Profile
from infra.stacks.ingest import STEPS_OF_THE_FLOW
from infra.stacks.policy import STEPS_OF_POLICY
from infra.stacks.upkeep import ARCHIVED, STEPS_OF_UPKEEP
from infra.steps import (
    STEPS,
    VISIBILITY_FACTOR,
    Queue,
    Schedule,
    Stream,
    dead_letter_name,
    trigger_of,
)
from tests.infra.deployed import Deployment

SNAPSHOT = Path(__file__).with_name("stateful_logical_ids.json")

STATEFUL = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key")

# Actions for which AWS knows no resource; each is acknowledged where it is granted.
RESOURCELESS = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "dynamodb:ListStreams",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def names(value: Any) -> str:
    """The logical id that a Ref or GetAtt names."""
    if "Ref" in value:
        return str(value["Ref"])
    if "Fn::GetAtt" in value:
        return str(value["Fn::GetAtt"][0])
    # Of another stack: its ARN is built, and ends with the physical name.
    return str(value["Fn::Join"][1][-1]).rpartition(":")[2]


def refuses_plain_http(statement: dict[str, Any]) -> bool:
    return (
        statement["Effect"] == "Deny"
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        and statement["Principal"] in ({"AWS": "*"}, "*")
    )


def queues_refusing_plain_http(deployment: Deployment) -> set[str]:
    return {
        names(queue)
        for policy in deployment.all("AWS::SQS::QueuePolicy")
        if any(map(refuses_plain_http, deployment.statements(policy)))
        for queue in policy.properties["Queues"]
    }


def dead_letter_queues(deployment: Deployment) -> set[str]:
    redriven = {
        names(queue.properties["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in deployment.all("AWS::SQS::Queue")
        if "RedrivePolicy" in queue.properties
    }
    failed = {
        names(source.properties["DestinationConfig"]["OnFailure"]["Destination"])
        for source in deployment.all(
            "AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"
        )
        if "DestinationConfig" in source.properties
    }
    by_name = {
        queue.properties["QueueName"]: queue.logical_id
        for queue in deployment.all("AWS::SQS::Queue")
    }
    return {by_name.get(name, name) for name in redriven | failed}


def resting_queues(deployment: Deployment) -> set[str]:
    """Where a message ends: nothing takes it up, and it does not move on."""
    return {
        queue.logical_id
        for queue in deployment.all("AWS::SQS::Queue")
        if "RedrivePolicy" not in queue.properties
    }


def alarms(deployment: Deployment, metric: str) -> list[dict[str, Any]]:
    return [
        alarm.properties
        for alarm in deployment.all("AWS::CloudWatch::Alarm")
        if alarm.properties["MetricName"] == metric
    ]


def dimensions(alarm: dict[str, Any]) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in alarm["Dimensions"]}


def alarmed_queues(deployment: Deployment, metric: str) -> set[str]:
    return {
        names(dimension["Value"])
        for alarm in deployment.all("AWS::CloudWatch::Alarm")
        if alarm.properties["MetricName"] == metric
        for dimension in alarm.properties["Dimensions"]
        if dimension["Name"] == "QueueName"
    }


# ---- what must outlive the code


def test_every_bucket_is_versioned_encrypted_and_closed_to_the_public(
    deployment: Deployment,
) -> None:
    for bucket in deployment.all("AWS::S3::Bucket"):
        rules = bucket.properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        default = rules[0]["ServerSideEncryptionByDefault"]
        is_access_log = bucket.logical_id.startswith("AccessLog")
        assert default["SSEAlgorithm"] == ("AES256" if is_access_log else "aws:kms"), bucket
        assert is_access_log or rules[0]["BucketKeyEnabled"] is True, bucket
        assert bucket.properties["VersioningConfiguration"]["Status"] == "Enabled", bucket
        assert set(bucket.properties["PublicAccessBlockConfiguration"].values()) == {True}, bucket
        ownership = bucket.properties["OwnershipControls"]["Rules"]
        assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}], bucket


def test_every_bucket_refuses_plain_http(deployment: Deployment) -> None:
    secure = {
        (policy.stack, names(policy.properties["Bucket"]))
        for policy in deployment.all("AWS::S3::BucketPolicy")
        if any(map(refuses_plain_http, deployment.statements(policy)))
    }
    buckets = {(b.stack, b.logical_id) for b in deployment.all("AWS::S3::Bucket")}
    assert buckets == secure


def test_every_bucket_aborts_stale_uploads(deployment: Deployment) -> None:
    for bucket in deployment.all("AWS::S3::Bucket"):
        days = [
            rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
            for rule in bucket.properties["LifecycleConfiguration"]["Rules"]
            if "AbortIncompleteMultipartUpload" in rule
        ]
        assert len(days) == 1, bucket
        assert 2 <= days[0] <= 7, bucket


def test_every_cloud_zone_writes_access_logs(cloud: Deployment) -> None:
    for bucket in cloud.all("AWS::S3::Bucket"):
        if not bucket.logical_id.startswith("AccessLog"):
            assert "LoggingConfiguration" in bucket.properties, bucket


def test_landing_expires_only_what_is_settled(deployment: Deployment) -> None:
    landing = [b for b in deployment.all("AWS::S3::Bucket") if "Landing" in b.logical_id]
    assert len(landing) == 2
    for bucket in landing:
        expiring = [
            rule
            for rule in bucket.properties["LifecycleConfiguration"]["Rules"]
            if {"ExpirationInDays", "NoncurrentVersionExpiration"} & rule.keys()
        ]
        tags = [{"Key": "forebay:landing", "Value": "settled"}]
        assert [rule["TagFilters"] for rule in expiring] == [tags], bucket


def test_zones_tell_eventbridge_without_a_custom_resource(deployment: Deployment) -> None:
    telling = {
        b.logical_id[:-14].removeprefix("Zone").removesuffix("Bucket")
        for b in deployment.all("AWS::S3::Bucket")
        if "NotificationConfiguration" in b.properties
    }
    copies = {"Quarantine", "Clinical", "Genomics", "Derived"}
    logs = set() if deployment.profile == "local" else {"AccessLog"}
    assert {name.split("Bucket")[0] for name in telling} == {
        "LandingImaging",
        "LandingGenomics",
        *copies,
        *logs,
    }
    types = Counter(
        body["Type"] for t in deployment.templates.values() for body in t["Resources"].values()
    )
    assert not [kind for kind in types if kind.startswith("Custom::")]
    assert types["AWS::Lambda::Function"] == len(Step)


def test_ledger_and_archive_are_locked_by_default_and_what_is_placed_is_lockable(
    cloud: Deployment,
) -> None:
    for bucket in cloud.all("AWS::S3::Bucket"):
        locked = any(part in bucket.logical_id for part in ("Ledger", "Archive"))
        placed = ("ZoneClinical", "ZoneGenomics", "ZoneDerived", "ZoneResearch")
        lockable = locked or bucket.logical_id.startswith(placed)
        assert bucket.properties.get("ObjectLockEnabled", False) is lockable, bucket
        assert ("ObjectLockConfiguration" in bucket.properties) is locked, bucket


def test_every_table_recovers_to_a_point_in_time_and_has_a_key_of_ours(
    deployment: Deployment,
) -> None:
    for table in deployment.all("AWS::DynamoDB::Table"):
        recovery = table.properties["PointInTimeRecoverySpecification"]
        assert recovery["PointInTimeRecoveryEnabled"] is True, table
        assert table.properties["SSESpecification"]["SSEEnabled"] is True, table
        assert "KMSMasterKeyId" in table.properties["SSESpecification"], table
        assert table.properties["BillingMode"] == "PAY_PER_REQUEST", table
        protected = table.properties.get("DeletionProtectionEnabled", False)
        assert protected is (deployment.profile == "cloud"), table


def test_every_stateful_resource_is_kept_in_the_cloud_and_deleted_locally(
    deployment: Deployment,
) -> None:
    wanted = "Retain" if deployment.profile == "cloud" else "Delete"
    for resource in deployment.all(*STATEFUL):
        assert resource.body["DeletionPolicy"] == wanted, resource
        assert resource.body["UpdateReplacePolicy"] == wanted, resource


def test_every_symmetric_key_rotates(deployment: Deployment) -> None:
    for key in deployment.all("AWS::KMS::Key"):
        symmetric = "KeyUsage" not in key.properties
        assert key.properties.get("EnableKeyRotation", False) is symmetric, key


def test_logical_ids_of_stateful_resources_do_not_change(cloud: Deployment) -> None:
    """A new logical id is a new, empty bucket: CloudFormation would replace the old one."""
    now = {
        stack: sorted(r.logical_id for r in cloud.all(*STATEFUL) if r.stack == stack)
        for stack in sorted(cloud.templates)
    }
    now = {stack: ids for stack, ids in now.items() if ids}
    assert now == json.loads(SNAPSHOT.read_text("utf-8"))


# ---- queues


def test_every_queue_is_encrypted_and_refuses_plain_http(deployment: Deployment) -> None:
    secure = queues_refusing_plain_http(deployment)
    for queue in deployment.all("AWS::SQS::Queue"):
        assert queue.properties["SqsManagedSseEnabled"] is True, queue
        assert queue.logical_id in secure, queue


def test_every_queue_hands_on_what_fails_or_is_where_failures_rest(
    deployment: Deployment,
) -> None:
    dead = dead_letter_queues(deployment)
    resting = resting_queues(deployment)
    assert resting < dead
    for queue in deployment.all("AWS::SQS::Queue"):
        assert queue.properties["MessageRetentionPeriod"] == 14 * 86_400, queue
    # Each archived step's dead letters; the archive's own; each schedule's.
    schedules = [spec for spec in STEPS.values() if isinstance(spec.trigger, Schedule)]
    assert len(resting) == 1 + len(schedules)
    assert len(dead) == len(ARCHIVED) + len(resting)


def test_poison_cannot_circle_between_dead_letters_and_their_archive(
    deployment: Deployment,
) -> None:
    queues = {q.properties["QueueName"]: q for q in deployment.all("AWS::SQS::Queue")}
    last = queues[dead_letter_name("forebay", Step.ARCHIVE_DEAD_LETTERS)]
    for step in ARCHIVED:
        redrive = queues[dead_letter_name("forebay", step)].properties["RedrivePolicy"]
        target = names(redrive["deadLetterTargetArn"])
        assert target in (last.logical_id, last.properties["QueueName"])
        assert redrive["maxReceiveCount"] == 10
    assert "RedrivePolicy" not in last.properties
    sources = json.dumps(
        [m.properties["EventSourceArn"] for m in deployment.all("AWS::Lambda::EventSourceMapping")]
    )
    for queue in resting_queues(deployment):
        assert queue not in sources
    assert dead_letter_name("forebay", Step.ARCHIVE_DEAD_LETTERS) not in sources


def test_every_step_s_dead_letters_are_archived(deployment: Deployment) -> None:
    sources = json.dumps(
        [
            m.properties["EventSourceArn"]
            for m in deployment.all("AWS::Lambda::EventSourceMapping")
            if m.stack == "upkeep"
        ]
    )
    working = [s for s, spec in STEPS.items() if isinstance(spec.trigger, Queue | Stream)]
    assert set(working) == set(ARCHIVED)
    for step in working:
        assert f":{dead_letter_name('forebay', step)}" in sources


def test_every_queue_has_an_age_alarm_and_every_resting_queue_a_depth_alarm(
    deployment: Deployment,
) -> None:
    queues = {queue.logical_id for queue in deployment.all("AWS::SQS::Queue")}
    assert alarmed_queues(deployment, "ApproximateAgeOfOldestMessage") == queues
    visible = alarmed_queues(deployment, "ApproximateNumberOfMessagesVisible")
    assert visible == resting_queues(deployment)


def test_the_stream_has_an_age_alarm(deployment: Deployment) -> None:
    (alarm,) = alarms(deployment, "IteratorAge")
    assert alarm["Threshold"] == trigger_of(Step.RELAY_CHANGES, Stream).age_alarm_s * 1000
    assert names(alarm["Dimensions"][0]["Value"]).startswith("RelayChanges")


def test_every_alarm_tells_the_encrypted_topic_says_what_it_means_and_names_its_runbook(
    deployment: Deployment,
) -> None:
    (topic,) = deployment.all("AWS::SNS::Topic")
    assert "KmsMasterKeyId" in topic.properties
    for alarm in deployment.all("AWS::CloudWatch::Alarm"):
        for actions in ("AlarmActions", "OKActions"):
            (action,) = alarm.properties[actions]
            assert topic.logical_id in action["Fn::ImportValue"], alarm
        meaning, _, page = alarm.properties["AlarmDescription"].partition(" Runbook: ")
        assert meaning.endswith((".", "why.")), alarm
        assert (ROOT / page).is_file(), f"{alarm}: no page {page}"
        assert "Metrics" not in alarm.properties, f"{alarm}: MiniStack knows no metric math"


def test_every_runbook_is_some_alarm_s_and_in_the_index(cloud: Deployment) -> None:
    named = {
        alarm.properties["AlarmDescription"].rpartition("/")[2].removesuffix(".md")
        for alarm in cloud.all("AWS::CloudWatch::Alarm")
    }
    assert named == {page.value for page in Runbook}
    pages = {path.name for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README.md"}
    index = (ROOT / "docs/runbooks/README.md").read_text("utf-8")
    assert {name for name in pages if f"]({name})" in index} == pages
    assert {f"{name}.md" for name in named} <= pages


def test_what_must_never_happen_alarms_at_once(deployment: Deployment) -> None:
    at_once = ("DeadLetters", "Differences", "Errors", "ExecutionsFailed", "Overdue")
    for metric in at_once:
        for alarm in alarms(deployment, metric):
            assert alarm["Threshold"] == 0, alarm
            assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] == 1, alarm
            assert alarm["TreatMissingData"] == "notBreaching", alarm
    said = {dimensions(alarm)["step"] for alarm in alarms(deployment, "DeadLetters")}
    assert said == {step.value for step in ARCHIVED}


def test_every_schedule_that_stands_still_is_an_alarm(deployment: Deployment) -> None:
    profile = Profile(deployment.profile)
    found = {
        names(dimensions(alarm)["FunctionName"]).split("Function")[0]: alarm
        for alarm in alarms(deployment, "Invocations")
    }
    schedules = {
        step.value.title().replace("_", ""): spec.trigger
        for step, spec in STEPS.items()
        if isinstance(spec.trigger, Schedule)
    }
    assert found.keys() == schedules.keys()
    for name, trigger in schedules.items():
        alarm = found[name]
        assert alarm["Period"] == trigger.every(profile) * 60
        assert alarm["EvaluationPeriods"] == alarm["DatapointsToAlarm"] == trigger.missed
        assert alarm["ComparisonOperator"] == "LessThanThreshold"
        assert alarm["TreatMissingData"] == "breaching"


def test_every_scheduled_function_keeps_what_failed_and_never_runs_twice_at_a_time(
    deployment: Deployment,
) -> None:
    kept = {
        names(each.properties["FunctionName"]): names(
            each.properties["DestinationConfig"]["OnFailure"]["Destination"]
        )
        for each in deployment.all("AWS::Lambda::EventInvokeConfig")
    }
    for rule in deployment.all("AWS::Events::Rule"):
        if "ScheduleExpression" not in rule.properties:
            continue
        (target,) = rule.properties["Targets"]
        function = names(target["Arn"])
        assert names(target["DeadLetterConfig"]["Arn"]) == kept[function], rule
        assert "RetryPolicy" in target, rule
    functions = {f.logical_id: f for f in deployment.all("AWS::Lambda::Function")}
    for logical_id in kept:
        reserved = functions[logical_id].properties["ReservedConcurrentExecutions"]
        assert reserved <= 2, logical_id
    assert functions
    (sweep,) = [f for f in functions.values() if f.logical_id.startswith("SweepDeadlines")]
    assert sweep.properties["ReservedConcurrentExecutions"] == 1


def test_the_topic_takes_alarms_of_this_account_and_refuses_plain_http(
    deployment: Deployment,
) -> None:
    (policy,) = deployment.all("AWS::SNS::TopicPolicy")
    allowed = [s for s in deployment.statements(policy) if s["Effect"] == "Allow"]
    assert [s["Principal"] for s in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]
    assert "aws:SourceAccount" in json.dumps(allowed[0]["Condition"])
    assert any(map(refuses_plain_http, deployment.statements(policy)))


def test_every_rule_keeps_what_it_cannot_deliver(deployment: Deployment) -> None:
    for rule in deployment.all("AWS::Events::Rule"):
        for target in rule.properties["Targets"]:
            assert names(target["DeadLetterConfig"]["Arn"]) in dead_letter_queues(deployment), rule


def test_a_message_stays_hidden_long_enough_for_its_function(deployment: Deployment) -> None:
    functions = {f.logical_id: f for f in deployment.all("AWS::Lambda::Function")}
    queues = {q.logical_id: q for q in deployment.all("AWS::SQS::Queue")}
    factor = VISIBILITY_FACTOR[Profile(deployment.profile)]
    for mapping in deployment.all("AWS::Lambda::EventSourceMapping"):
        source = mapping.properties["EventSourceArn"]
        if mapping.properties.get("StartingPosition"):
            continue  # the catalog's stream
        timeout = functions[names(mapping.properties["FunctionName"])].properties["Timeout"]
        if "Fn::GetAtt" in source:
            hidden = queues[names(source)].properties["VisibilityTimeout"]
        else:  # of another stack: by its name
            name = str(source["Fn::Join"][1][-1]).rpartition(":")[2]
            (queue,) = [q for q in queues.values() if q.properties["QueueName"] == name]
            hidden = queue.properties["VisibilityTimeout"]
        assert hidden == timeout * factor <= 43_200, mapping


def test_every_event_source_reports_partial_failures(deployment: Deployment) -> None:
    for mapping in deployment.all("AWS::Lambda::EventSourceMapping"):
        types = mapping.properties["FunctionResponseTypes"]
        assert types == ["ReportBatchItemFailures"], mapping


# ---- functions


def test_every_step_is_one_function(deployment: Deployment) -> None:
    deployed = {f.properties["FunctionName"] for f in deployment.all("AWS::Lambda::Function")}
    assert deployed == {f"forebay-{step.replace('_', '-')}" for step in Step}
    assert set(STEPS) == set(Step)
    assert sorted((*STEPS_OF_THE_FLOW, *STEPS_OF_UPKEEP, *STEPS_OF_POLICY)) == sorted(Step)


def test_every_function_has_its_own_role(deployment: Deployment) -> None:
    functions = deployment.all("AWS::Lambda::Function")
    roles = {names(function.properties["Role"]) for function in functions}
    assert len(roles) == len(functions)


def test_every_function_logs_json_to_a_group_with_retention(deployment: Deployment) -> None:
    groups = {g.logical_id: g for g in deployment.all("AWS::Logs::LogGroup")}
    used = []
    for function in deployment.all("AWS::Lambda::Function"):
        logging = function.properties["LoggingConfig"]
        assert logging["LogFormat"] == "JSON", function
        used.append(names(logging["LogGroup"]))
    assert len(set(used)) == len(used)
    assert set(used) <= set(groups)
    for group in groups.values():
        assert group.properties["RetentionInDays"] == 90, group


def test_every_function_is_traced_without_the_xray_sdk(deployment: Deployment) -> None:
    for function in deployment.all("AWS::Lambda::Function"):
        assert function.properties["TracingConfig"] == {"Mode": "Active"}, function
        variables = function.properties["Environment"]["Variables"]
        assert variables["POWERTOOLS_TRACE_DISABLED"] == "true", function


def test_every_function_has_bounded_concurrency(deployment: Deployment) -> None:
    bounded = {
        names(mapping.properties["FunctionName"])
        for mapping in deployment.all("AWS::Lambda::EventSourceMapping")
        if mapping.properties.get("ScalingConfig", {}).get("MaximumConcurrency")
        or mapping.properties.get("ParallelizationFactor")
    }
    for function in deployment.all("AWS::Lambda::Function"):
        reserved = function.properties.get("ReservedConcurrentExecutions")
        assert (function.logical_id in bounded) is not bool(reserved), function


def test_cloud_functions_run_on_graviton_with_the_runtime_their_layers_are_for(
    cloud: Deployment,
) -> None:
    for function in cloud.all("AWS::Lambda::Function"):
        assert function.properties["Architectures"] == ["arm64"], function
        assert function.properties["Runtime"] == "python3.13", function
    for layer in cloud.all("AWS::Lambda::LayerVersion"):
        assert layer.properties["CompatibleArchitectures"] == ["arm64"], layer
        assert layer.properties["CompatibleRuntimes"] == ["python3.13"], layer


# ---- permissions


def test_no_role_has_a_managed_policy(deployment: Deployment) -> None:
    for role in deployment.all("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role.properties, role


def test_no_policy_has_a_wildcard_action(deployment: Deployment) -> None:
    for policy, statement in deployment.role_statements():
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{policy}: {action}"


def test_only_actions_without_a_resource_are_allowed_on_all(deployment: Deployment) -> None:
    for policy, statement in deployment.role_statements():
        if "*" in as_list(statement["Resource"]):
            assert set(as_list(statement["Action"])) <= RESOURCELESS, f"{policy}: {statement}"


def test_every_grant_on_a_data_key_goes_through_a_service(deployment: Deployment) -> None:
    for policy, statement in deployment.role_statements():
        actions = set(as_list(statement["Action"]))
        directly = {"kms:GenerateMac"}, {"kms:Sign"}
        if any(action.startswith("kms:") for action in actions) and actions not in directly:
            assert "kms:ViaService" in json.dumps(statement["Condition"]), f"{policy}: {statement}"


@pytest.mark.parametrize(
    "action, allowed",
    [
        ("s3:DeleteObject", set()),
        ("s3:DeleteObjectVersion", set()),
        ("s3:BypassGovernanceRetention", set()),
        (
            "s3:PutObject",
            {
                "ArchiveDeadLetters",
                "IssueReceipt",
                "PlaceObject",
                "RecheckObjects",
                "ReconcileStorage",
                "RelayChanges",
                "RunReadQc",
            },
        ),
        ("s3:PutObjectVersionTagging", {"PlaceObject", "RecheckObjects"}),
        ("dynamodb:DeleteItem", {"InspectGenomics", "PlaceObject", "SweepDeadlines"}),
        ("dynamodb:Scan", set()),
        ("kms:GenerateMac", {"InspectDicom"}),
        ("kms:Sign", {"IssueReceipt"}),
        ("kms:GetPublicKey", set()),
        (
            "sqs:SendMessage",  # all but the sweeper: to their own failure queue
            {"RecheckObjects", "ReconcileStorage", "RelayChanges", "SweepDeadlines"},
        ),
        ("events:PutEvents", {"RelayChanges"}),
        ("states:StartExecution", {"SubmitPipeline"}),
        ("lambda:InvokeFunction", {"PipelineReadQc"}),
    ],
)
def test_an_action_is_only_for_those_who_need_it(
    cloud: Deployment, action: str, allowed: set[str]
) -> None:
    holders = {
        policy.logical_id.split("Function")[0].split("Role")[0]
        for policy, statement in cloud.role_statements()
        if policy.stack in ("ingest", "upkeep") and action in as_list(statement["Action"])
    }
    assert holders == allowed


def test_receipts_are_signed_in_one_way_only(cloud: Deployment) -> None:
    signing = [s for _, s in cloud.role_statements() if "kms:Sign" in as_list(s["Action"])]
    how = {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}
    assert len(signing) == 2  # receipts, and certificates of deletion
    assert all(each["Condition"] == {"StringEquals": how} for each in signing)


def test_only_disposal_deletes_objects_and_it_cannot_read_or_bypass_a_lock(
    cloud: Deployment,
) -> None:
    deletes = {"s3:DeleteObject", "s3:DeleteObjectVersion"}
    statements = list(cloud.role_statements())
    holders = {p.logical_id for p, s in statements if deletes & set(as_list(s["Action"]))}
    (holder,) = holders
    assert holder.startswith("DisposeObjects")
    mine = [s for p, s in statements if p.logical_id == holder]
    actions = {action for s in mine for action in as_list(s["Action"])}
    assert "s3:DeleteObject" not in actions  # it would only hide a version behind a marker
    assert not {each for each in actions if "Bypass" in each or each.startswith("s3:PutObjectL")}
    where = [json.dumps(s["Resource"]) for s in mine if deletes & set(as_list(s["Action"]))]
    assert not [each for each in where if "ledger" in each]
    keys = [s for s in mine if "kms:Decrypt" in as_list(s["Action"])]
    # Its own table's and the ledger's; not those of clinical data or genomics.
    assert len({json.dumps(s["Resource"]) for s in keys}) == 1


def test_a_site_may_only_put_below_its_own_prefix(cloud: Deployment) -> None:
    policies = [p for p in cloud.all("AWS::IAM::ManagedPolicy") if p.stack == "storage"]
    assert len(policies) == 2
    for policy in policies:
        site = policy.properties["ManagedPolicyName"].removeprefix("forebay-site-")
        objects, _ = cloud.statements(policy)
        assert set(objects["Action"]) == {
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        }
        for resource in objects["Resource"]:
            assert json.dumps(resource).endswith(f'/{site}/*"]]}}'), resource


# ---- the flow


def test_the_relay_takes_only_objects_and_runs_and_never_gives_up_silently(
    deployment: Deployment,
) -> None:
    (relay,) = [
        mapping.properties
        for mapping in deployment.all("AWS::Lambda::EventSourceMapping")
        if "StartingPosition" in mapping.properties
    ]
    (only,) = relay["FilterCriteria"]["Filters"]
    wanted = {"dynamodb": {"NewImage": {"entity": {"S": ["object", "pipeline_run"]}}}}
    assert json.loads(only["Pattern"]) == wanted
    assert relay["StartingPosition"] == "TRIM_HORIZON"
    assert relay["BisectBatchOnFunctionError"] is True
    assert relay["MaximumRetryAttempts"] > 0
    assert 0 < relay["MaximumRecordAgeInSeconds"] < 24 * 3600
    assert "OnFailure" in relay["DestinationConfig"]


def test_no_step_is_woken_by_two_rules_and_none_by_its_own_result(cloud: Deployment) -> None:
    rules = [r for r in cloud.all("AWS::Events::Rule") if "EventPattern" in r.properties]
    patterns = {
        rule.logical_id.split("Queue")[0]: rule.properties["EventPattern"]
        for rule in rules
        if "CopiesRule" not in rule.logical_id
    }
    assert patterns["InspectDicom"]["detail"] == {"kind": ["dicom"]}
    assert patterns["InspectGenomics"]["detail"] == {"kind": [{"anything-but": ["dicom"]}]}
    assert patterns["SubmitPipeline"]["detail-type"] == ["ObjectPlaced"]
    assert "ObjectPlaced" not in patterns["PlaceObject"]["detail-type"]
    (log,) = patterns["LearnAccess"]["detail"]["bucket"]["name"]
    assert "forebay-access-log-" in json.dumps(log)
    prefixes = [each["prefix"] for each in patterns["LearnAccess"]["detail"]["object"]["key"]]
    assert prefixes == ["clinical/", "genomics/", "derived/"]
    assert len(patterns) == len(rules) - 1 == 7


def test_what_we_write_into_zones_wakes_nobody(deployment: Deployment) -> None:
    (copies,) = [
        rule.properties["EventPattern"]
        for rule in deployment.all("AWS::Events::Rule")
        if "CopiesRule" in rule.logical_id
    ]
    buckets = json.dumps(copies["detail"]["bucket"]["name"])
    for zone in ("clinical", "genomics", "derived", "quarantine"):
        assert f"forebay-{zone}-" in buckets
    assert "landing" not in buckets
    assert "Object Deleted" in copies["detail-type"]
    for routine in ("Object Created", "Object Tags Added", "Object Tags Deleted"):
        assert routine not in copies["detail-type"]


def test_the_cloud_archives_events_for_replay_and_the_local_profile_cannot(
    cloud: Deployment, local: Deployment
) -> None:
    archives = {a.properties["ArchiveName"]: a for a in cloud.all("AWS::Events::Archive")}
    assert archives.keys() == {"forebay-changes", "forebay-arrivals"}
    for archive in archives.values():
        assert archive.properties["RetentionDays"] == 30, archive
    types = {body["Type"] for t in local.templates.values() for body in t["Resources"].values()}
    assert "AWS::Events::Archive" not in types


def test_every_zone_that_is_reconciled_is_inventoried_in_the_cloud(
    cloud: Deployment, local: Deployment
) -> None:
    listed = {
        bucket.logical_id.split("Bucket")[0]
        for bucket in cloud.all("AWS::S3::Bucket")
        for inventory in bucket.properties.get("InventoryConfigurations", [])
        if inventory["Enabled"] and inventory["IncludedObjectVersions"] == "All"
    }
    zones = ("LandingImaging", "LandingGenomics", "Quarantine", "Clinical", "Genomics", "Derived")
    assert listed == {f"Zone{zone}" for zone in zones}
    for bucket in local.all("AWS::S3::Bucket"):
        assert "InventoryConfigurations" not in bucket.properties


def test_every_zone_is_reconciled_by_a_rule_of_its_own(cloud: Deployment) -> None:
    inputs = [
        json.loads(target["Input"])
        for rule in cloud.all("AWS::Events::Rule")
        if rule.logical_id.startswith("ReconcileStorage")
        for target in rule.properties["Targets"]
    ]
    assert sorted(each["zone"] for each in inputs) == [
        "archive",
        "clinical",
        "derived",
        "genomics",
        "landing-genomics",
        "landing-imaging",
        "quarantine",
    ]


def test_the_catalog_streams_both_images_and_has_its_indexes(deployment: Deployment) -> None:
    (catalog,) = [
        t.properties for t in deployment.all("AWS::DynamoDB::Table") if "Catalog" in t.logical_id
    ]
    assert catalog["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    indexes = {
        index["IndexName"]: (
            [part["AttributeName"] for part in index["KeySchema"]],
            index["Projection"]["ProjectionType"],
        )
        for index in catalog["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        "by_state": (["state_pk", "state_sk"], "INCLUDE"),
        "by_group": (["group_pk", "group_sk"], "ALL"),
        "by_due": (["due_pk", "due_sk"], "INCLUDE"),
        "by_action": (["action_pk", "action_sk"], "INCLUDE"),
    }


# ---- people


def test_no_job_lets_anybody_delete_or_bypass_a_lock_or_sign(cloud: Deployment) -> None:
    jobs = [p for p in cloud.all("AWS::IAM::ManagedPolicy") if p.stack == "upkeep"]
    assert {p.properties["ManagedPolicyName"] for p in jobs} == {
        f"forebay-{job}"
        for job in (
            *("look", "decide", "replay", "repair", "rebuild", "receipts"),
            *("request", "approve", "apply", "fetch", "dispose-request", "dispose-approve"),
        )
    }
    for job in jobs:
        # AWS counts the characters of the policy as it is attached, 6,144 at most.
        assert len(json.dumps(job.properties["PolicyDocument"])) < 6144, job
        for statement in cloud.statements(job):
            for action in as_list(statement["Action"]):
                assert "*" not in action, f"{job}: {action}"
                assert not action.startswith(("s3:Delete", "s3:Bypass")), f"{job}: {action}"
                assert action not in ("dynamodb:DeleteItem", "kms:Sign"), f"{job}: {action}"
            assert "*" not in as_list(statement["Resource"]), job


def test_no_job_writes_an_exception_or_a_disposition(cloud: Deployment) -> None:
    """Two persons decide about them: a step sees to it, so nobody writes around the step."""
    writes = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"}
    may: dict[str, set[str]] = {}
    for job in cloud.all("AWS::IAM::ManagedPolicy"):
        name = job.properties["ManagedPolicyName"].removeprefix("forebay-")
        for statement in cloud.statements(job):
            if writes & set(as_list(statement["Action"])):
                condition = statement.get("Condition", {}).get("ForAllValues:StringLike", {})
                may.setdefault(name, set()).update(condition.get("dynamodb:LeadingKeys", ["*"]))
    assert may == {
        "decide": {"OBJ#*", "PRUN#*"},
        "replay": {"DEAD#*", "DEADLETTERS"},
        "repair": {"OBJ#*", "PRUN#*"},
        "rebuild": {"*"},  # of a catalog that was lost, from what the ledger tells
        "fetch": {"ACCESS#*"},
    }


def test_what_the_ledger_tells_of_exceptions_is_written_by_their_steps_alone(
    cloud: Deployment,
) -> None:
    writers = {
        policy.logical_id.split("Function")[0]: resource.split("/", 1)[1]
        for policy, statement in (*cloud.role_statements(), *cloud.job_statements())
        if "s3:PutObject" in as_list(statement["Action"])
        for resource in map(json.dumps, as_list(statement["Resource"]))
        if "/exceptions/" in resource
    }
    assert set(writers) == {"RequestException", "DecideException"}
    assert writers["RequestException"].startswith("exceptions/*/0000000001.json")


def test_a_request_reaches_no_scope_and_who_may_request_may_not_decide(cloud: Deployment) -> None:
    written: dict[str, list[str]] = {}
    for policy, statement in cloud.role_statements():
        keys = statement.get("Condition", {}).get("ForAllValues:StringLike", {})
        if "dynamodb:PutItem" in as_list(statement["Action"]) and keys:
            name = policy.logical_id.split("Function")[0]
            written.setdefault(name, []).extend(keys["dynamodb:LeadingKeys"])
    assert written == {
        "RequestException": ["EXC#*"],
        "DecideException": ["EXC#*", "SCOPE#*"],
        "RequestDisposition": ["DISP#*"],
        "DecideDisposition": ["DISPOK#*"],
    }
    invoked = {
        name: {
            resource.rsplit(":", 1)[1].rstrip('"]}')
            for job, statement in cloud.job_statements()
            if job.properties["ManagedPolicyName"] == f"forebay-{name}"
            and "lambda:InvokeFunction" in as_list(statement["Action"])
            for resource in map(json.dumps, as_list(statement["Resource"]))
        }
        for name in ("request", "approve", "dispose-request", "dispose-approve")
    }
    assert invoked == {
        "request": {"forebay-request-exception"},
        "approve": {"forebay-decide-exception", "forebay-evaluate-policy"},
        "dispose-request": {"forebay-request-disposition", "forebay-dispose-objects"},
        "dispose-approve": {"forebay-decide-disposition", "forebay-dispose-objects"},
    }


# ---- policy


def test_evaluation_keeps_and_warms_what_is_placed_and_nothing_else(cloud: Deployment) -> None:
    mine = [
        statement
        for policy, statement in cloud.role_statements()
        if policy.logical_id.startswith("EvaluatePolicy")
    ]
    actions = {action for statement in mine for action in as_list(statement["Action"])}
    assert {"s3:PutObjectLegalHold", "s3:RestoreObject", "s3:PutObjectVersionTagging"} <= actions
    assert not {each for each in actions if "Delete" in each or "Bypass" in each}
    places = [
        json.dumps(resource)
        for statement in mine
        if "s3:PutObject" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]
    folders = [folder for each in FOLDERS.values() for folder in each]
    assert len(places) == len(folders)
    assert all(sum(f"/{folder}/*" in place for place in places) == 1 for folder in folders)


def test_only_evaluation_holds_and_restores(cloud: Deployment) -> None:
    for action in ("s3:PutObjectLegalHold", "s3:RestoreObject"):
        holders = {
            policy.logical_id.split("Function")[0]
            for policy, statement in cloud.role_statements()
            if action in as_list(statement["Action"])
        }
        assert holders == {"EvaluatePolicy"}, action


def test_evaluation_runs_often_and_counts_what_is_stored_once_a_night(
    deployment: Deployment,
) -> None:
    rules = {
        json.dumps(target.get("Input", "")): rule.properties["ScheduleExpression"]
        for rule in deployment.all("AWS::Events::Rule")
        if "ScheduleExpression" in rule.properties
        for target in rule.properties["Targets"]
        if names(target["Arn"]).startswith("EvaluatePolicy")
    }
    often = "rate(15 minutes)" if deployment.profile == "cloud" else "rate(1 minute)"
    census = json.dumps(json.dumps({"census": True}, separators=(",", ":")))
    assert rules == {'""': often, census: "cron(0 1 * * ? *)"}


def test_every_violation_is_an_alarm_at_once(deployment: Deployment) -> None:
    found = alarms(deployment, "Violations")
    assert {dimensions(alarm)["kind"] for alarm in found} == {each.value for each in Violation}
    assert all(alarm["Threshold"] == 0 for alarm in found)


def test_placing_and_evaluating_know_where_bytes_lie(cloud: Deployment) -> None:
    told = {
        f.properties["FunctionName"]
        for f in cloud.all("AWS::Lambda::Function")
        if "FOREBAY_REGIONS" in f.properties["Environment"]["Variables"]
    }
    assert {"forebay-place-object", "forebay-evaluate-policy"} <= told


# ---- deployments


def test_who_fetches_writes_accesses_and_nothing_else_of_the_catalog(
    deployment: Deployment,
) -> None:
    (policy,) = [
        each.properties["PolicyDocument"]["Statement"]
        for each in deployment.all("AWS::IAM::ManagedPolicy")
        if each.properties["ManagedPolicyName"] == "forebay-fetch"
    ]
    allowed = {action for said in policy for action in as_list(said["Action"])}
    assert allowed == {
        *("s3:GetObject", "s3:GetObjectVersion", "dynamodb:UpdateItem"),
        *("kms:Decrypt", "kms:DescribeKey"),
    }
    (writes,) = [said for said in policy if "dynamodb:UpdateItem" in as_list(said["Action"])]
    assert writes["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["ACCESS#*"]}
    }


def test_the_cloud_needs_no_account_to_synthesize(cloud: Deployment) -> None:
    text = json.dumps(cloud.templates)
    assert not re.search(r"\b0{12}\b", text)
    assert '"Ref": "AWS::AccountId"' in text


def test_the_local_profile_leaves_out_only_the_second_region(
    cloud: Deployment, local: Deployment
) -> None:
    assert set(cloud.templates) - set(local.templates) == {"archive"}


def test_zones_are_replicated_to_the_archive_only_where_there_is_one(
    cloud: Deployment, local: Deployment
) -> None:
    def replicated(deployment: Deployment) -> set[str]:
        return {
            bucket.logical_id.removesuffix(bucket.logical_id[-14:])
            for bucket in deployment.all("AWS::S3::Bucket")
            if "ReplicationConfiguration" in bucket.properties
        }

    assert replicated(local) == set()
    assert replicated(cloud) == {"ZoneClinical", "ZoneGenomics"}


@pytest.mark.parametrize(
    "stack, outputs",
    [
        (
            "storage",
            {"BucketLandingImaging", "BucketLedger", "ReceiptKeyId", "SubjectKeyId"},
        ),
        ("catalog", {"TableName", "HistoryTableName"}),
        ("operations", {"AlarmTopicArn", "DashboardName"}),
        (
            "ingest",
            {
                "BusName",
                "QueueUrlPlaceObject",
                "DeadLetterUrlRelayChanges",
                "FunctionNameRunReadQc",
                "LogGroupInspectDicom",
                "StateMachineArnReadQc",
                "StateMachineLogGroupReadQc",
            },
        ),
        (
            "upkeep",
            {
                "FunctionNameArchiveDeadLetters",
                "FunctionNameIssueReceipt",
                "LogGroupSweepDeadlines",
                "DeadLetterUrlReconcileStorage",
                "DeadLetterUrlRecheckObjects",
            },
        ),
        (
            "policy",
            {
                "FunctionNameEvaluatePolicy",
                "LogGroupEvaluatePolicy",
                "DeadLetterUrlEvaluatePolicy",
            },
        ),
    ],
)
def test_the_outputs_that_the_command_line_reads_are_there(
    deployment: Deployment, stack: str, outputs: set[str]
) -> None:
    assert outputs <= set(deployment.templates[stack]["Outputs"])
