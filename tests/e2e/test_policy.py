"""Policy on the deployed whole: what is held, pinned, idle, reopened, disposed of and replanned."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from forebay.adapters.callers import prove
from forebay.adapters.disposition_orders import decision_text as disposition_text
from forebay.adapters.disposition_orders import draft_text
from forebay.adapters.exception_orders import decision_text
from forebay.adapters.items import item_key
from forebay.adapters.keys import (
    SCOPE_EXCEPTIONS_SK,
    disposition_decision_key,
    disposition_key,
    exception_key,
    scope_pk,
)
from forebay.adapters.orders import order_event
from forebay.adapters.policy_source import compile_folder
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.orders import Order, Proof
from forebay.domain.policy.disposition import Draft
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.policy.standing import storage_class_of
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.names import ENV_POLICY_PATH, PIPELINES_SITE, Step, Zone
from forebay.services.exception_orders import Decision, Verb
from forebay.services.request_disposition import Decision as DispositionDecision
from forebay.services.request_disposition import Verdict
from forebay_cli import stack_outputs
from forebay_cli.disposing import DispositionOffice
from forebay_cli.home import Home
from tests.e2e.cloud import FOREBAY, Cloud
from tests.e2e.pages import DOCS, commands
from tests.e2e.people import being, excepted
from tests.e2e.samples import write_pair, write_study

SITE = "ward"
STUDIES = ("idle", "pinned", "held", "unwanted", "reopened")
SAM = (
    "@HD\tVN:1.6\tSO:unsorted\n@SQ\tSN:chr1\tLN:1000\n{name}\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tFFFF\n"
)


@dataclass(frozen=True)
class Ward:
    """A cloud with one study of each fate, and two files a pipeline made on its way."""

    cloud: Cloud
    studies: Mapping[str, str]
    intermediates: Mapping[str, str]

    def of(self, fate: str) -> ObjectRecord:
        """Return the instance of a study."""
        [record] = self.cloud.reader.instances(self.studies[fate])
        return record

    def stored(self, record: ObjectRecord) -> Mapping[str, Any]:
        """Return what storage says of the placed version."""
        assert record.placed is not None
        return self.cloud.deployment.account.s3.head_object(
            Bucket=record.placed.bucket, Key=record.placed.key, VersionId=record.placed.version_id
        )


@pytest.fixture(scope="module")
def ward(later: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Ward:
    folder = tmp_path_factory.mktemp("ward")
    studies = {fate: write_study(folder / f"{fate}.dcm") for fate in STUDIES}
    write_pair(folder / "reads", "WARD1", reads=4000)
    later.forebay("upload", str(folder), "--site", SITE)
    later.settle(SITE, {"PLACED": len(STUDIES) + 4})
    return Ward(later, studies, make_intermediates(later))


def make_intermediates(cloud: Cloud) -> dict[str, str]:
    """Hand in what a pipeline makes on its way, once its run has ended well; return object ids."""
    cloud.until(
        lambda: [run.state for run in cloud.reader.runs_of_sample("WARD1")] == [RunState.SUCCEEDED]
    )
    [run] = cloud.reader.runs_of_sample("WARD1")
    bucket = cloud.deployment.bucket(Zone.LANDING_GENOMICS)
    for name in ("kept", "dropped"):
        cloud.deployment.account.s3.put_object(
            Bucket=bucket,
            Key=f"{PIPELINES_SITE}/{run.run_id}/{name}.sam",
            Body=SAM.format(name=name).encode(),
        )

    def made() -> dict[str, str]:
        records = cloud.reader.objects(
            [r.object_id for r in cloud.reader.outputs_of_run(run.run_id)]
        )
        found = [r for r in records if r.object_class == "genomics-intermediate"]
        return {Path(r.location.key).stem: r.object_id for r in found if r.state is State.PLACED}

    cloud.until(lambda: made().keys() == {"kept", "dropped"})
    return made()


@pytest.fixture(scope="module")
def excepting(ward: Ward) -> Ward:
    """The ward after a hold and two pins, each approved by another person."""
    excepted(ward.cloud, "legal-hold", "--study", ward.studies["held"])
    until = ("--until", "2031-01-01")
    excepted(ward.cloud, "pin", "--study", ward.studies["pinned"], *until)
    excepted(ward.cloud, "pin", "--object", ward.intermediates["kept"], *until)
    return ward


@pytest.fixture(scope="module")
def a_month_later(excepting: Ward) -> Ward:
    """What was not excepted went its way, and one study was opened again."""
    cloud = excepting.cloud
    cloud.forebay("local", "advance", "32d")
    return excepting


@pytest.fixture(scope="module")
def jobs(excepting: Ward) -> dict[str, str]:
    """Give a role for each of the jobs people can be given, and one for all of them together."""
    return roles_of_jobs(excepting.cloud)


def roles(cloud: Cloud, jobs: Mapping[str, str]) -> dict[str, str]:
    """Return the role of every function, of everybody who signs in, and of every job, by name."""
    functions = cloud.client("lambda")
    found = {
        step.value: functions.get_function_configuration(FunctionName=name)["Role"]
        for step, name in cloud.deployment.by_step(stack_outputs.FUNCTION).items()
    }
    account = cloud.deployment.account.sts.get_caller_identity()["Account"]
    person = {"a person": f"arn:aws:iam::{account}:role/local-people"}
    return {**found, **person, **jobs}


def roles_of_jobs(cloud: Cloud) -> dict[str, str]:
    iam, prefix = cloud.client("iam"), cloud.deployment.prefix
    jobs = {
        policy["PolicyName"].removeprefix(f"{prefix}-"): policy["Arn"]
        for policy in iam.list_policies(Scope="Local")["Policies"]
        if policy["PolicyName"].startswith(f"{prefix}-")
    }
    assert {"look", "repair", "rebuild", "apply", "dispose-request", "dispose-approve"} <= set(jobs)
    anybody = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [anybody]})
    of_roles = {"all": list(jobs.values()), **{job: [arn] for job, arn in jobs.items()}}
    found = {}
    for name, policies in of_roles.items():
        role = iam.create_role(RoleName=f"tries-{name}", AssumeRolePolicyDocument=trust)["Role"]
        for policy in policies:
            iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn=policy)
        found[f"the job {name}"] = role["Arn"]
    return found


def test_what_is_held_cannot_be_deleted_by_anybody_by_any_call(
    excepting: Ward, jobs: Mapping[str, str]
) -> None:
    cloud, record = excepting.cloud, excepting.of("held")
    place = record.placed
    assert place is not None
    for name, role in roles(cloud, jobs).items():
        tries = attempts(signed_in(cloud, role)("s3"), place)
        if name in (Step.EVALUATE_POLICY.value, Step.DISPOSE_OBJECTS.value):
            del tries["lift the hold"]  # these two may, and do so when policy says so
        for what, attempt in tries.items():
            with pytest.raises(ClientError) as refused:
                attempt()
            code = refused.value.response["Error"]["Code"]
            assert code in {"AccessDenied", "BucketNotEmpty"}, f"{name}: {what}: {code}"
    assert excepting.stored(record)["ObjectLockLegalHoldStatus"] == "ON"


def test_no_job_writes_around_the_steps_that_ask_for_two_persons(
    excepting: Ward, jobs: Mapping[str, str]
) -> None:
    cloud = excepting.cloud
    (hold,) = [
        each
        for each in cloud.forebay("exceptions", "list")["exceptions"]
        if each["kind"] == "legal-hold"
    ]
    scope = Scope(ScopeKind.STUDY, excepting.studies["held"])
    keys = (
        exception_key(hold["exception_id"]),
        (scope_pk(scope), SCOPE_EXCEPTIONS_SK),
        disposition_key("DI-aaaaaaaaaaaaaaaa"),
        disposition_decision_key("DI-aaaaaaaaaaaaaaaa"),
    )
    told = f"exceptions/{hold['exception_id']}/0000000003.json"
    # MiniStack does not know dynamodb:LeadingKeys: jobs that may write other items are tested on
    # their templates. Whoever rebuilds a lost catalog may write all of it.
    elsewhere = {"decide", "replay", "repair", "rebuild", "fetch", "all"}
    for name, role in jobs.items():
        client = signed_in(cloud, role)
        with pytest.raises(ClientError, match="AccessDenied"):
            client("s3").put_object(
                Bucket=cloud.deployment.bucket(Zone.LEDGER), Key=told, Body=b"{}"
            )
        for key in keys if name.removeprefix("the job ") not in elsewhere else ():
            with pytest.raises(ClientError, match="AccessDenied"):
                client("dynamodb").update_item(
                    TableName=cloud.deployment.output(stack_outputs.TABLE),
                    Key=item_key(key),
                    UpdateExpression="SET note = :n",
                    ExpressionAttributeValues={":n": {"S": name}},
                )


def test_an_order_counts_for_whoever_signed_it_and_as_it_was_signed(
    excepting: Ward, jobs: Mapping[str, str]
) -> None:
    """Lambda lets anybody invoke who may; who may approve decides as themselves alone."""
    cloud = excepting.cloud
    with being("anna"):
        until = ("--until", "2031-01-01", "--reason", "a test")
        asked = cloud.forebay("exceptions", "request", "pin", "--cohort", "ORDERED", *until)
    identity = asked["exception"]["exception_id"]
    name = cloud.deployment.by_step(stack_outputs.FUNCTION)[Step.DECIDE_EXCEPTION]
    approve, refuse = (
        Order(decision_text(Decision(verb, identity, "a test")), name)
        for verb in (Verb.APPROVE, Verb.REFUSE)
    )
    role = jobs["the job approve"]
    anna, bob = (proof_of(cloud, approve, role, person) for person in ("anna", "bob"))

    def answer(order: Order, proof: Proof) -> Any:
        return answer_to(cloud, order, proof, role)

    assert "yourself" in answer(approve, anna)["refused"]
    assert "AWS does not confirm" in answer(refuse, anna)["refused"]
    assert "AWS does not confirm" in answer(approve, replace(anna, token=bob.token))["refused"]
    with pytest.raises(ClientError, match="AccessDenied"):
        answer_to(cloud, approve, bob, jobs["the job request"])
    assert answer(approve, bob)["exception"]["decided_by"].endswith("/bob")


def test_a_disposition_takes_two_persons_even_where_one_has_both_jobs(
    excepting: Ward, jobs: Mapping[str, str]
) -> None:
    cloud, both = excepting.cloud, jobs["the job all"]
    with being("anna"):
        named = ("--study", excepting.studies["pinned"], "--reason", "a test")
        identity = cloud.forebay("dispose", "request", *named)["disposition_id"]
    known = DispositionOffice(cloud.deployment).known(identity)
    names = cloud.deployment.by_step(stack_outputs.FUNCTION)
    draft = Draft(identity, known.scopes, known.request, known.digest)
    request = Order(draft_text(draft), names[Step.REQUEST_DISPOSITION])
    approve, refuse = (
        Order(
            disposition_text(DispositionDecision(verdict, identity, "a test")),
            names[Step.DECIDE_DISPOSITION],
        )
        for verdict in Verdict
    )

    def answer(order: Order, person: str) -> Any:
        return answer_to(cloud, order, proof_of(cloud, order, both, person), both)

    # Who asks is who the list names, and who decides is neither made up nor the same.
    assert "asks for it, not" in answer(request, "bob")["refused"]
    assert "yourself" in answer(approve, "anna")["refused"]
    anna = proof_of(cloud, refuse, both, "anna")
    assert "AWS does not confirm" in answer_to(cloud, approve, anna, both)["refused"]
    with pytest.raises(ClientError, match="AccessDenied"):
        answer_to(cloud, approve, anna, jobs["the job dispose-request"])
    assert answer(refuse, "bob")["stage"] == "REFUSED"
    cloud.forebay("dispose", "execute", identity, "--yes", expect=1)


def proof_of(cloud: Cloud, order: Order, role: str, person: str) -> Proof:
    """Return what proves that somebody who took a role gave an order."""
    return prove(signed_in(cloud, role, person)("sts"), order)


def answer_to(cloud: Cloud, order: Order, proof: Proof, role: str) -> Any:
    """Return what a step answers bob, who took a role, to an order of whoever signed it."""
    event = json.dumps(order_event(order, proof)).encode()
    function = signed_in(cloud, role, "bob")("lambda")
    return json.loads(function.invoke(FunctionName=order.function, Payload=event)["Payload"].read())


def signed_in(cloud: Cloud, role: str, name: str = "tries") -> Any:
    """Return what makes the clients of somebody who took a role."""
    account = cloud.deployment.account
    credentials = account.sts.assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
    session = boto3.Session(
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
        region_name=account.region,
    )
    return partial(session.client, **account._settings)


def attempts(s3: Any, place: Location) -> dict[str, Callable[[], object]]:
    """Return every way in which a stored version could be lost."""
    version = {"Bucket": place.bucket, "Key": place.key, "VersionId": place.version_id}
    many = {"Objects": [{"Key": place.key, "VersionId": place.version_id}]}

    def delete_many() -> None:
        answer = s3.delete_objects(Bucket=place.bucket, Delete=many)
        for error in answer.get("Errors", []):
            raise ClientError({"Error": error}, "DeleteObjects")

    return {
        "delete the version": lambda: s3.delete_object(**version),
        "delete many": delete_many,
        "delete past the lock": lambda: s3.delete_object(**version, BypassGovernanceRetention=True),
        "delete the bucket": lambda: s3.delete_bucket(Bucket=place.bucket),
        "lift the hold": lambda: s3.put_object_legal_hold(**version, LegalHold={"Status": "OFF"}),
    }


def test_a_disposition_removes_what_it_may_keeps_what_is_held_and_proves_both(
    excepting: Ward, tmp_path: Path
) -> None:
    cloud, gone, held = excepting.cloud, excepting.of("unwanted"), excepting.of("held")
    both = ("--study", excepting.studies["unwanted"], "--study", excepting.studies["held"])
    with being("anna"):
        seen = cloud.forebay("dispose", "preview", *both, "--despite-floor", "erasure", expect=1)
        assert (seen["removable"], seen["kept"]) == (1, 1)
        asked = cloud.forebay(
            "dispose", "request", *both, "--reason", "a test", "--despite-floor", "erasure"
        )
        identity = asked["disposition_id"]
        cloud.forebay("dispose", "approve", identity, expect=1)
    with being("bob"):
        cloud.forebay("dispose", "approve", identity)
        done = cloud.forebay("dispose", "execute", identity, "--yes", expect=1)
    assert (done["removed"], done["kept"]) == (1, 1)

    with pytest.raises(ClientError):
        excepting.stored(gone)
    assert excepting.stored(held)["ContentLength"] == held.size_bytes
    after = cloud.reader.object(gone.object_id)
    assert after is not None
    assert (after.state, dict(after.subject)) == (State.DELETED, {})

    certificate, key = tmp_path / "certificate.jws", tmp_path / "public.pem"
    cloud.forebay("dispose", "certificate", identity, "-o", str(certificate))
    cloud.forebay("receipt", "key", "-o", str(key))
    proof = cloud.forebay("dispose", "certificate", "--verify", str(certificate), "--key", str(key))
    told = json.dumps(proof["certificate"])
    assert gone.placed is not None
    assert gone.placed.version_id in told
    assert held.object_id in told


def test_an_idle_study_moves_and_what_is_held_or_pinned_stays(a_month_later: Ward) -> None:
    lies_in = {
        fate: a_month_later.stored(a_month_later.of(fate)).get("StorageClass", "STANDARD")
        for fate in ("idle", "held", "pinned")
    }
    assert lies_in == {"idle": "GLACIER_IR", "held": "STANDARD", "pinned": "STANDARD"}


def test_intermediates_are_removed_after_their_run_unless_pinned(a_month_later: Ward) -> None:
    cloud = a_month_later.cloud
    found = {
        name: record.state
        for name, object_id in a_month_later.intermediates.items()
        if (record := cloud.reader.object(object_id))
    }
    assert found == {"kept": State.PLACED, "dropped": State.EXPIRED}


def test_a_study_that_is_opened_again_comes_back(a_month_later: Ward, tmp_path: Path) -> None:
    cloud, before = a_month_later.cloud, a_month_later.of("reopened")
    assert storage_class_of(before) is StorageClass.GLACIER_IR
    study = a_month_later.studies["reopened"]
    fetched = cloud.forebay("fetch", "--study", study, "--to", str(tmp_path))
    assert len(fetched["objects"]) == 1
    cloud.forebay("local", "advance", "2d")

    after = a_month_later.of("reopened")
    assert storage_class_of(after) is StorageClass.STANDARD
    assert before.placed is not None
    assert after.placed is not None
    assert after.placed.version_id != before.placed.version_id
    assert "StorageClass" not in a_month_later.stored(after)
    # The version it was copied from goes, and its going is no alarm.
    assert after.state is State.PLACED


def test_explanations_name_rule_line_and_exception(a_month_later: Ward) -> None:
    cloud = a_month_later.cloud
    [held] = cloud.forebay("policy", "explain", a_month_later.studies["held"])["explanations"]
    assert "classification.yaml:" in held["why_here"]
    assert "legal hold" in held["why_not_deleted"]
    assert "EX-" in held["why_not_deleted"]
    record = a_month_later.of("idle")
    [idle] = cloud.forebay("policy", "explain", record.object_id)["explanations"]
    assert idle["decision"]["target"] == "GLACIER_IR"


def test_apply_does_what_plan_said_to_the_object_and_the_cent(
    a_month_later: Ward, tmp_path: Path
) -> None:
    cloud = a_month_later.cloud
    project = Home.find().project
    assert project is not None
    folder = tmp_path / "policies"
    shutil.copytree(project / "policies", folder)
    classes = folder / "classes.yaml"
    # Reads go to the deepest archive a week after they were last read.
    text = classes.read_text("utf-8").replace(
        "- {to: GLACIER_IR, when_idle_for: 60d}\n      - {to: DEEP_ARCHIVE, when_idle_for: 1y}",
        "- {to: DEEP_ARCHIVE, when_idle_for: 7d}",
    )
    assert text != classes.read_text("utf-8")
    classes.write_text(text, "utf-8")
    plan = cloud.forebay("policy", "plan", str(folder), "--site", SITE)
    assert plan["totals"]["changed"]["objects"] == 2, json.dumps(plan["totals"])[:3000]

    with deployed(cloud, folder, tmp_path / "policy.json"), being("bob"):
        done = cloud.forebay(
            "policy", "apply", str(folder), "--site", SITE, "--note", "sooner", "--yes"
        )
        left = cloud.forebay("policy", "plan", str(folder), "--site", SITE)
    for what in ("changed", "changes", "approvals"):
        assert done["totals"][what] == plan["totals"][what], what
    [planned], [way] = (
        [row for row in each["totals"]["ways"] if row["class"] == "genomics-raw"]
        for each in (plan, done)
    )
    assert way == planned
    assert int(way["parts"]["requests"]) > 0
    assert way["to"] == "DEEP_ARCHIVE"
    assert left["totals"]["changed"]["objects"] == 0
    changed = [r for r in cloud.records(SITE, State.PLACED) if r.object_class == "genomics-raw"]
    assert [r.policy.because["note"] for r in changed if r.policy] == ["sooner"] * 2


@contextmanager
def deployed(cloud: Cloud, folder: Path, compiled: Path) -> Iterator[None]:
    """Let the functions that ask policy use another one, as a deployment would."""
    compiled.write_text(json.dumps(compile_folder(folder)), "utf-8")
    functions = cloud.client("lambda")
    names = cloud.deployment.by_step(stack_outputs.FUNCTION)
    before = {}
    for step in (Step.EVALUATE_POLICY, Step.PLACE_OBJECT):
        configured = functions.get_function_configuration(FunctionName=names[step])
        before[names[step]] = configured["Environment"]["Variables"]
    try:
        for name, variables in before.items():
            _configure(functions, name, {**variables, ENV_POLICY_PATH: str(compiled)})
        yield
    finally:
        for name, variables in before.items():
            _configure(functions, name, variables)


def _configure(functions: Any, name: str, variables: dict[str, str]) -> None:
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def test_the_commands_of_the_policy_page_run(ward: Ward, tmp_path: Path) -> None:
    cloud = ward.cloud
    path = tmp_path / "taught" / "taught.dcm"
    path.parent.mkdir()
    meant = {"study": write_study(path)}
    cloud.forebay("upload", str(path.parent), "--site", "taught")
    cloud.settle("taught", {"PLACED": 1})
    for command in commands(DOCS / "policy.md"):
        arguments = command.arguments(meant)
        done = subprocess.run(
            [FOREBAY, *arguments, *(["--json"] if "request" in arguments else [])],
            cwd=tmp_path,
            env=os.environ | {"FOREBAY_HOME": str(cloud.home)} | command.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{command.line}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        assert done.returncode in command.exits, said
        if "request" in arguments:
            told = json.loads(done.stdout)
            name = arguments[0].removesuffix("s").replace("dispose", "disposition")
            meant[name] = told.get("exception", told)[f"{name}_id"]
    assert "1 object" in said or "genuine" in said
