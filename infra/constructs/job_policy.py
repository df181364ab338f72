"""What people may do, a managed policy for each of their jobs."""

from aws_cdk import Aws, aws_iam, aws_lambda
from constructs import Construct

from forebay.names import FOLDERS, INDEX_BY_GROUP, INDEX_BY_STATE, LANDING_ZONES, Step, Zone
from infra.checks import acknowledge_keys
from infra.constructs.replication import allow_archive, archive_arn
from infra.constructs.zone_bucket import READ, allow_objects
from infra.foundation import Foundation
from infra.settings import Settings
from infra.steps import STEPS, Queue, Stream, function_arn, queue_arn

__all__ = ["JobPolicies"]

_LOOK_AT = (*READ, "s3:GetObjectLegalHold", "s3:GetObjectRetention")
_READ_TAGS = ("s3:GetObjectTagging", "s3:GetObjectVersionTagging")
_REPAIR = ("s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging")
_RECORDS = ("OBJ#*", "PRUN#*")
_LETTERS = ("DEAD#*", "DEADLETTERS")
"""Partitions of the catalog that somebody may write: never those of exceptions and dispositions."""
_STORED = (*LANDING_ZONES, *FOLDERS, Zone.QUARANTINE)


class JobPolicies(Construct):
    """Managed policies, to attach to the roles that operators and stewards sign in with.

    | policy `{prefix}-…` | for |
    |---|---|
    | `look` | what all commands need, and all that `status`, `find`, `show`, `logs`, |
    | | `conflicts list`, `dead-letters list` need |
    | `decide` | `conflicts decide`, `release` |
    | `replay` | `dead-letters preview`, `replay`, `resolve` |
    | `repair` | `reconcile`, with `--apply` |
    | `rebuild` | `rebuild`, of a catalog that was lost |
    | `receipts` | `receipt get` |
    | `request` | `exceptions request`; nothing of it has an effect |
    | `approve` | `exceptions approve`, `refuse`, `end` |
    | `dispose-request` | `dispose preview`, `request`, `execute` of what another approved |
    | `dispose-approve` | `dispose approve`, `refuse`, `execute` |
    | `apply` | `policy apply`; `policy plan` needs `look` alone |
    | `fetch` | `fetch`; it notes who opened what, and may note nothing else |

    The others add to `look`. None of them deletes an object, or reads a patient's key.
    """

    def __init__(
        self,
        scope: Construct,
        settings: Settings,
        base: Foundation,
        *,
        receipts: aws_lambda.IFunction,
    ) -> None:
        super().__init__(scope, "Jobs")
        self._settings = settings
        self._base = base
        self._look()
        self._decide()
        self._replay()
        self._repair()
        self._rebuild()
        self._receipts(receipts)
        self._request()
        self._approve()
        self._apply()
        self._fetch()
        self._dispose_request()
        self._dispose_approve()

    def _policy(self, job: str, purpose: str) -> aws_iam.ManagedPolicy:
        return aws_iam.ManagedPolicy(
            self,
            job.capitalize(),
            managed_policy_name=f"{self._settings.prefix}-{job}",
            description=f"Forebay: {purpose}.",
        )

    def _look(self) -> None:
        policy = self._policy("look", "see what there is and how it stands")
        self._base.catalog.allow(policy, "BatchGetItem", "GetItem", "Query")
        self._base.catalog.allow_index(policy, INDEX_BY_STATE, INDEX_BY_GROUP)
        self._base.history.allow(policy, "BatchGetItem", "GetItem", "Query")
        for zone in _STORED:
            allow_objects(policy, *_READ_TAGS, keys=f"{self._base.zones[zone].arn}/*")
        prefix = self._settings.prefix
        for service, actions, name in (
            ("cloudformation", ("DescribeStacks",), f"stack/{prefix}-*"),
            ("logs", ("FilterLogEvents",), f"log-group:/aws/lambda/{prefix}-*"),
            ("logs", ("FilterLogEvents",), f"log-group:/aws/vendedlogs/states/{prefix}-*"),
            ("sqs", ("GetQueueAttributes",), f"{prefix}-*"),
        ):
            named = f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{name}"
            policy.add_statements(
                aws_iam.PolicyStatement(
                    actions=[f"{service}:{action}" for action in actions], resources=[named]
                )
            )
            acknowledge_keys(policy, named, "All of this deployment, and nothing else.")

    def _decide(self) -> None:
        policy = self._policy("decide", "decide about conflicts and release what is quarantined")
        self._base.catalog.allow_items(policy, "UpdateItem", leading=_RECORDS)

    def _replay(self) -> None:
        policy = self._policy("replay", "look into dead letters, replay and resolve them")
        self._base.catalog.allow_items(policy, "PutItem", "UpdateItem", leading=_LETTERS)
        ledger = self._base.zones[Zone.LEDGER]
        ledger.allow(policy, *READ, under="dead-letters/*")
        ledger.allow(policy, "s3:PutObject", under="replays/*")
        for zone in LANDING_ZONES:  # a preview asks whether the landing version is settled
            self._base.zones[zone].allow(policy, *READ)
        self._send(
            policy, *(step for step, spec in STEPS.items() if isinstance(spec.trigger, Queue))
        )
        for step, spec in STEPS.items():
            if isinstance(spec.trigger, Queue | Stream):
                arn = function_arn(self._settings, step)
                policy.add_statements(
                    aws_iam.PolicyStatement(
                        actions=["lambda:InvokeFunction"], resources=[arn, f"{arn}:*"]
                    )
                )
                acknowledge_keys(policy, f"{arn}:*", "A replay may name any version of a step.")

    def _repair(self) -> None:
        policy = self._policy("repair", "compare storage and catalog, and repair")
        for zone in _STORED:
            self._base.zones[zone].allow(
                policy, *READ, *_READ_TAGS, *_REPAIR, "s3:AbortMultipartUpload"
            )
            self._base.zones[zone].allow_listing(policy, versions=True, uploads=True)
        if self._settings.replica_region:
            allow_archive(policy, self._settings, *READ, *_READ_TAGS)
            allow_objects(
                policy,
                "s3:GetObjectRetention",
                "s3:PutObjectRetention",
                keys=f"{archive_arn(self._settings)}/*",
            )
        self._base.catalog.allow_items(policy, "UpdateItem", leading=_RECORDS)
        self._base.zones[Zone.LEDGER].allow(policy, "s3:PutObject", under="reconciliation/*")
        self._send(policy, Step.REGISTER_OBJECT, Step.PLACE_OBJECT, Step.SUBMIT_PIPELINE)

    def _rebuild(self) -> None:
        policy = self._policy("rebuild", "rebuild the catalog from storage and ledger")
        ledger = self._base.zones[Zone.LEDGER]
        ledger.allow(policy, *READ, under="changes/*")
        ledger.allow(policy, *READ, under="exceptions/*")
        ledger.allow_listing(policy)
        for zone in _STORED:
            self._base.zones[zone].allow(policy, *READ)
            self._base.zones[zone].allow_listing(policy, versions=True)
        for table in (self._base.catalog, self._base.history):
            table.allow(policy, "BatchWriteItem", "PutItem", "Query", "UpdateItem")
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["kms:GenerateMac"], resources=[self._base.subject_key.key_arn]
            )
        )

    def _receipts(self, function: aws_lambda.IFunction) -> None:
        policy = self._policy("receipts", "get receipts, and the key they are verified with")
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[function.function_arn]
            ),
            aws_iam.PolicyStatement(
                actions=["kms:GetPublicKey"], resources=[self._base.receipt_key.key_arn]
            ),
        )
        self._base.zones[Zone.LEDGER].allow(policy, *READ, under="receipts/*")

    def _request(self) -> None:
        policy = self._policy("request", "ask for exceptions from policy")
        self._invoke(policy, Step.REQUEST_EXCEPTION)
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["kms:GenerateMac"], resources=[self._base.subject_key.key_arn]
            )
        )

    def _approve(self) -> None:
        policy = self._policy("approve", "approve, refuse and end exceptions from policy")
        self._invoke(policy, Step.DECIDE_EXCEPTION, Step.EVALUATE_POLICY)

    def _apply(self) -> None:
        policy = self._policy("apply", "carry out what a deployed policy changes")
        ledger = self._base.zones[Zone.LEDGER]
        ledger.allow(policy, "s3:PutObject", *READ, under="plans/*")
        ledger.allow_listing(policy)
        self._invoke(policy, Step.EVALUATE_POLICY)

    def _fetch(self) -> None:
        policy = self._policy("fetch", "read what is placed, and note that it was read")
        for zone, folders in FOLDERS.items():
            for folder in folders:
                self._base.zones[zone].allow(policy, *READ, under=f"{folder}/*")
        self._base.catalog.allow_items(policy, "UpdateItem", leading=("ACCESS#*",))

    def _dispose_request(self) -> None:
        policy = self._policy("dispose-request", "see what would be deleted, and ask for it")
        for zone in _STORED:
            # Without its key: what exists can be seen, what is in it cannot be read.
            allow_objects(policy, *_LOOK_AT, keys=f"{self._base.zones[zone].arn}/*")
            self._base.zones[zone].allow_listing(policy, versions=True)
        if self._settings.replica_region:
            archive = archive_arn(self._settings)
            allow_objects(policy, *_LOOK_AT, keys=f"{archive}/*")
            policy.add_statements(
                aws_iam.PolicyStatement(
                    actions=["s3:ListBucket", "s3:ListBucketVersions"], resources=[archive]
                )
            )
        # Without an order that names it, such a list is asked for by nobody.
        self._base.zones[Zone.LEDGER].allow(
            policy, *READ, "s3:PutObject", under="dispositions/*/request.json"
        )
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["kms:GenerateMac"], resources=[self._base.subject_key.key_arn]
            )
        )
        self._invoke(policy, Step.REQUEST_DISPOSITION)
        self._execute(policy)

    def _dispose_approve(self) -> None:
        policy = self._policy("dispose-approve", "approve, refuse and carry out dispositions")
        self._invoke(policy, Step.DECIDE_DISPOSITION)
        self._execute(policy)

    def _execute(self, policy: aws_iam.ManagedPolicy) -> None:
        """Whoever may deal with dispositions may start what two persons agreed on, and prove it."""
        self._invoke(policy, Step.DISPOSE_OBJECTS)
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["kms:GetPublicKey"], resources=[self._base.receipt_key.key_arn]
            )
        )
        self._base.zones[Zone.LEDGER].allow(policy, *READ, under="dispositions/*")
        self._base.zones[Zone.LEDGER].allow_listing(policy)

    def _invoke(self, policy: aws_iam.ManagedPolicy, *steps: Step) -> None:
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["lambda:InvokeFunction"],
                resources=[function_arn(self._settings, step) for step in steps],
            )
        )

    def _send(self, policy: aws_iam.ManagedPolicy, *steps: Step) -> None:
        policy.add_statements(
            aws_iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[queue_arn(self._settings, step) for step in steps],
            )
        )
