"""The composition root: builds each service once per process, from the environment.

Only what a function uses is imported and created: a client costs 80 ms at cold start, and the
layers with parsers and CEL are present only where they are needed. Handlers pass their parsers in.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.s3 import S3ObjectStore
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Kind
from forebay.names import LANDING_ZONES, Zone
from forebay.runtime.settings import Settings
from forebay.services.inspect_dicom import InspectDicom, ParseDicom
from forebay.services.inspect_genomics import InspectGenomics, ParseStream
from forebay.services.inspecting import Inspector
from forebay.services.judging import Judge
from forebay.services.place_object import PlaceObject
from forebay.services.ports import Classifier, DigestChunks
from forebay.services.record_declarations import ParseChecksums, RecordDeclarations
from forebay.services.record_pipeline import RecordPipeline
from forebay.services.record_storage_event import RecordStorageEvent
from forebay.services.register_object import RegisterObject
from forebay.services.relay_changes import RelayChanges
from forebay.services.submit_pipeline import PairedReadsPipeline, RunPlanner, SubmitPipeline

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

    from forebay.adapters.callers import StsCallers
    from forebay.adapters.dead_letters import DynamoFailureNotes
    from forebay.adapters.dispositions import DynamoDispositions
    from forebay.adapters.stored_objects import DynamoStoredObjects
    from forebay.domain.policy.disposition import Draft
    from forebay.services.archive_dead_letters import ArchiveDeadLetters
    from forebay.services.by_order import ByOrder
    from forebay.services.count_stored import CountStored
    from forebay.services.decide_exception import Answer, ExceptionBook
    from forebay.services.decide_exception import Wish as ExceptionWish
    from forebay.services.dispose_objects import DisposeObjects
    from forebay.services.evaluate_policy import EvaluatePolicy
    from forebay.services.exception_orders import Decision as ExceptionDecision
    from forebay.services.issue_receipt import IssueReceipt
    from forebay.services.learn_access import LearnAccess, ParseAccessLog
    from forebay.services.recheck_objects import RecheckObjects
    from forebay.services.reconcile_on_schedule import ReconcileOnSchedule
    from forebay.services.request_disposition import Decided, Decision, Refused
    from forebay.services.run_read_qc import MeasurePair, RunReadQc
    from forebay.services.sweep_deadlines import SweepDeadlines

RECONCILE_WORKERS = 8
READ_QC = PairedReadsPipeline("read_qc", "1")
_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=5,
    read_timeout=60,
    tcp_keepalive=True,
    # Forebay computes and compares digests itself; botocore would hash every stream once more.
    response_checksum_validation="when_required",
)


# A note is left while something is wrong already, perhaps DynamoDB: it may not take long.
_NOTE_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=2, read_timeout=2
)


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The real time; in a local cloud whose clock was moved, so many seconds later."""

    ahead_seconds: int = 0

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)


@dataclass
class Wiring:
    """Services over real adapters."""

    settings: Settings
    clients: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def clock(self) -> SystemClock:
        """The time."""
        return SystemClock(self.settings.clock_ahead_seconds)

    @cached_property
    def catalog(self) -> DynamoCatalog:
        """The catalog table."""
        return DynamoCatalog(self._client("dynamodb"), self.settings.table)

    @cached_property
    def store(self) -> S3ObjectStore:
        """The buckets."""
        return S3ObjectStore(self._client("s3"))

    @cached_property
    def classifier(self) -> Classifier:
        """The compiled policy."""
        # CEL's library is in the policy layer, which most functions do not have.
        from forebay.adapters.policy import CelPolicy  # noqa: PLC0415

        path = self.settings.policy_path
        return CelPolicy.load(path) if path else CelPolicy.deployed()

    @cached_property
    def register_object(self) -> RegisterObject:
        """The register_object step."""
        zones = {self.settings.bucket(zone): zone for zone in LANDING_ZONES}
        return RegisterObject(self.catalog, self.store, self.clock, zones)

    @cached_property
    def record_storage_event(self) -> RecordStorageEvent:
        """The register_object step's whole: arrivals, and what becomes of versions later."""
        zones = {name: zone for zone, name in self.settings.buckets.items()}
        return RecordStorageEvent(self.register_object, self.catalog, self.store, self.clock, zones)

    @cached_property
    def place_object(self) -> PlaceObject:
        """The place_object step."""
        return PlaceObject(self.catalog, self.store, self.clock, self._judge, self.settings.buckets)

    @cached_property
    def evaluate_policy(self) -> "EvaluatePolicy":
        """The evaluate_policy step."""
        from forebay.adapters.accesses import DynamoAccesses  # noqa: PLC0415 - few users
        from forebay.adapters.exceptions import DynamoExceptions  # noqa: PLC0415 - few users
        from forebay.adapters.scopes import DynamoObjectsInScope  # noqa: PLC0415 - few users
        from forebay.adapters.vault import S3Vault  # noqa: PLC0415 - its only user
        from forebay.services.evaluate_policy import EvaluatePolicy  # noqa: PLC0415 - its only user

        dynamodb, table = self._client("dynamodb"), self.settings.table
        return EvaluatePolicy(
            self._judge,
            self.store,
            S3Vault(self._client("s3"), self.store),
            self.clock,
            DynamoExceptions(dynamodb, table),
            DynamoObjectsInScope(dynamodb, table),
            self.settings.buckets,
            reopened=DynamoAccesses(dynamodb, table),
        )

    @cached_property
    def count_stored(self) -> "CountStored":
        """The evaluate_policy step's census."""
        from forebay.adapters.exceptions import DynamoExceptions  # noqa: PLC0415 - few users
        from forebay.adapters.placed_objects import DynamoPlacedObjects  # noqa: PLC0415 - few users
        from forebay.adapters.price_table import deployed_prices  # noqa: PLC0415 - its only user
        from forebay.services.count_stored import CountStored  # noqa: PLC0415 - its only user

        dynamodb, table = self._client("dynamodb"), self.settings.table
        exceptions = DynamoExceptions(dynamodb, table)
        placed = DynamoPlacedObjects(dynamodb, table, exceptions)
        prices = deployed_prices(self.settings.regions[0])
        return CountStored(placed, self.clock, prices=prices)

    @cached_property
    def relay_changes(self) -> RelayChanges:
        """The relay_changes step."""
        from forebay.adapters.bus import EventBridgeFeed  # noqa: PLC0415 - its only user
        from forebay.adapters.change_log import DynamoChangeLog  # noqa: PLC0415 - its only user

        log = DynamoChangeLog(
            self._client("dynamodb"),
            self.settings.table,
            self.settings.history_table,
            self.store,
            self.settings.bucket(Zone.LEDGER),
        )
        return RelayChanges(log, EventBridgeFeed(self._client("events"), self.settings.bus))

    @cached_property
    def submit_pipeline(self) -> SubmitPipeline:
        """The submit_pipeline step."""
        from forebay.adapters.pipelines import StepFunctionsPipelines  # noqa: PLC0415 - only user

        engines = StepFunctionsPipelines(
            self._client("stepfunctions"), self.settings.state_machines
        )
        return SubmitPipeline(self.catalog, engines, self.clock, READ_QC)

    @cached_property
    def sweep_deadlines(self) -> "SweepDeadlines":
        """The sweep_deadlines step."""
        from forebay.adapters.agenda import DynamoAgenda  # noqa: PLC0415 - its only user
        from forebay.adapters.pipelines import StepFunctionsPipelines  # noqa: PLC0415 - two users
        from forebay.adapters.queues import SqsQueues  # noqa: PLC0415 - few users
        from forebay.services.sweep_deadlines import SweepDeadlines  # noqa: PLC0415 - its only user

        return SweepDeadlines(
            self.catalog,
            DynamoAgenda(self._client("dynamodb"), self.settings.table),
            SqsQueues(self._client("sqs"), self.settings.queues),
            StepFunctionsPipelines(self._client("stepfunctions"), self.settings.state_machines),
            self.record_pipeline,
            self.clock,
        )

    @cached_property
    def record_pipeline(self) -> RecordPipeline:
        """The record_pipeline step."""
        return RecordPipeline(self.catalog, self.clock)

    @cached_property
    def failure_notes(self) -> "DynamoFailureNotes":
        """Where steps note why a message failed."""
        from forebay.adapters.dead_letters import DynamoFailureNotes  # noqa: PLC0415 - in trouble

        client = boto3.client("dynamodb", config=_NOTE_CONFIG)
        return DynamoFailureNotes(client, self.settings.table)

    @cached_property
    def archive_dead_letters(self) -> "ArchiveDeadLetters":
        """The archive_dead_letters step."""
        from forebay.adapters import dead_letters  # noqa: PLC0415 - its only user
        from forebay.services.archive_dead_letters import ArchiveDeadLetters  # noqa: PLC0415

        client, table = self._client("dynamodb"), self.settings.table
        return ArchiveDeadLetters(
            dead_letters.DynamoDeadLetters(client, table),
            dead_letters.DynamoFailureNotes(client, table),
            dead_letters.DynamoStreamRecords(
                boto3.client(
                    "dynamodbstreams", config=_CONFIG.merge(Config(parameter_validation=False))
                )
            ),
            self.store,
            self.clock,
            self.settings.bucket(Zone.LEDGER),
        )

    def inspect_dicom(self, parse: ParseDicom, digest_chunks: DigestChunks) -> InspectDicom:
        """Build the inspect_dicom step around its parser."""
        from forebay.adapters.pseudonyms import KmsPseudonyms  # noqa: PLC0415 - its only user

        pseudonyms = KmsPseudonyms(self._client("kms"), self.settings.subject_key)
        return InspectDicom(self._inspector(digest_chunks), parse, pseudonyms)

    def inspect_genomics(
        self,
        parsers: Mapping[Kind, ParseStream],
        parse_checksums: ParseChecksums,
        digest_chunks: DigestChunks,
    ) -> InspectGenomics:
        """Build the inspect_genomics step around its parsers."""
        inspector = self._inspector(digest_chunks)
        declarations = RecordDeclarations(inspector, parse_checksums)
        return InspectGenomics(inspector, parsers, declarations, self.classifier)

    def run_read_qc(self, measure: "MeasurePair") -> "RunReadQc":
        """Build the read QC pipeline's only step around its measurement."""
        from forebay.services.run_read_qc import RunReadQc  # noqa: PLC0415 - renders HTML

        return RunReadQc(self.store, measure, self.settings.bucket(Zone.LANDING_GENOMICS))

    def learn_access(self, parse: "ParseAccessLog") -> "LearnAccess":
        """Build the learn_access step around its parser."""
        from forebay.adapters.accesses import DynamoAccesses  # noqa: PLC0415 - few users
        from forebay.services.learn_access import LearnAccess  # noqa: PLC0415 - its only user

        return LearnAccess(
            self.catalog,
            self.store,
            DynamoAccesses(self._client("dynamodb"), self.settings.table),
            parse,
            frozenset(self.settings.buckets.values()),
            self.settings.prefix,
        )

    def recheck_objects(
        self, digest_chunks: DigestChunks, can_compute: Callable[[Algorithm], bool]
    ) -> "RecheckObjects":
        """Build the recheck_objects step around the digests this installation can compute."""
        from forebay.services.recheck_objects import RecheckObjects  # noqa: PLC0415 - its only user

        return RecheckObjects(
            self.catalog,
            self.store,
            self.clock,
            self._stored_objects,
            digest_chunks,
            can_compute,
            self.settings.buckets,
        )

    @cached_property
    def issue_receipt(self) -> "IssueReceipt":
        """The issue_receipt step."""
        from forebay.adapters.signer import KmsSigner  # noqa: PLC0415 - its only user
        from forebay.services.issue_receipt import IssueReceipt  # noqa: PLC0415 - its only user

        return IssueReceipt(
            self.catalog,
            self.store,
            self.clock,
            self._stored_objects,
            KmsSigner(self._client("kms"), self.settings.receipt_key),
            self.settings.buckets,
        )

    @cached_property
    def dispose_objects(self) -> "DisposeObjects":
        """The dispose_objects step, the only one that is given a shredder."""
        from forebay.adapters import dispositions, shredder  # noqa: PLC0415 - its only user
        from forebay.adapters.exceptions import DynamoPolicyBook  # noqa: PLC0415 - few users
        from forebay.adapters.scopes import DynamoObjectsInScope  # noqa: PLC0415 - few users
        from forebay.adapters.signer import KmsSigner  # noqa: PLC0415 - two users
        from forebay.services.dispose_objects import DisposeObjects  # noqa: PLC0415
        from forebay.services.request_disposition import Surveyor  # noqa: PLC0415

        client, table, s3 = self._client("dynamodb"), self.settings.table, self._client("s3")
        surveyor = Surveyor(
            self.catalog,
            DynamoPolicyBook(client, table),
            shredder.S3KeptVersions(s3),
            dispositions.DynamoCopyHistory(client, self.settings.history_table),
            self.classifier.policy,
            self.settings.buckets,
        )
        return DisposeObjects(
            surveyor,
            self._dispositions,
            DynamoObjectsInScope(client, table),
            shredder.S3Shredder(s3),
            self.store,
            KmsSigner(self._client("kms"), self.settings.receipt_key),
            self.clock,
        )

    def request_exception(self, function: str) -> "ByOrder[ExceptionWish, Answer]":
        """Build the request_exception step, which runs as the function of this ARN."""
        from forebay.services import decide_exception as decide  # noqa: PLC0415 - two users
        from forebay.services.by_order import ByOrder  # noqa: PLC0415 - few users

        request = decide.RequestException(self._exception_book, self.clock, os.urandom)
        return ByOrder(self._callers(function), request, decide.NotChanged)

    def decide_exception(self, function: str) -> "ByOrder[ExceptionDecision, Answer]":
        """Build the decide_exception step, which runs as the function of this ARN."""
        from forebay.services import decide_exception as decide  # noqa: PLC0415 - two users
        from forebay.services.by_order import ByOrder  # noqa: PLC0415 - few users
        from forebay.services.exception_orders import DecideException, Verb  # noqa: PLC0415

        book, clock = self._exception_book, self.clock
        act = DecideException(
            {
                Verb.APPROVE: decide.ApproveException(book, clock),
                Verb.REFUSE: decide.RefuseException(book, clock),
                Verb.END: decide.EndException(book, clock),
            }
        )
        return ByOrder(self._callers(function), act, decide.NotChanged)

    def request_disposition(self, function: str) -> "ByOrder[Draft, Decided | Refused]":
        """Build the request_disposition step, which runs as the function of this ARN."""
        from forebay.services import request_disposition as request  # noqa: PLC0415 - few users
        from forebay.services.by_order import ByOrder  # noqa: PLC0415 - few users

        act = request.RequestDisposition(self._dispositions, self.store, self.clock)
        return ByOrder(self._callers(function), act, request.Refused)

    def decide_disposition(self, function: str) -> "ByOrder[Decision, Decided | Refused]":
        """Build the decide_disposition step, which runs as the function of this ARN."""
        from forebay.services import request_disposition as request  # noqa: PLC0415 - few users
        from forebay.services.by_order import ByOrder  # noqa: PLC0415 - few users

        act = request.DecideDisposition(self._dispositions, self.store, self.clock)
        return ByOrder(self._callers(function), act, request.Refused)

    @property
    def _dispositions(self) -> "DynamoDispositions":
        from forebay.adapters.dispositions import DynamoDispositions  # noqa: PLC0415 - few users

        return DynamoDispositions(self._client("dynamodb"), self.settings.table)

    @property
    def _exception_book(self) -> "ExceptionBook":
        from forebay.adapters import exceptions  # noqa: PLC0415 - few users
        from forebay.services.decide_exception import ExceptionBook  # noqa: PLC0415 - two users

        return ExceptionBook(
            exceptions.DynamoExceptions(self._client("dynamodb"), self.settings.table),
            exceptions.S3ExceptionHistory(self._client("s3"), self.settings.bucket(Zone.LEDGER)),
        )

    @staticmethod
    def _callers(function: str) -> "StsCallers":
        from forebay.adapters.callers import StsCallers  # noqa: PLC0415 - two users

        def unsigned() -> "STSClient":
            return boto3.client("sts", config=_CONFIG.merge(Config(signature_version=UNSIGNED)))

        return StsCallers(unsigned, account=function.split(":")[4])

    @cached_property
    def reconcile_on_schedule(self) -> "ReconcileOnSchedule":
        """The reconcile_storage step."""
        from forebay.adapters.catalog_reader import CatalogReader  # noqa: PLC0415 - its only user
        from forebay.adapters.class_zones import class_zones  # noqa: PLC0415 - its only user
        from forebay.adapters.inventory import S3Listing, S3Locks  # noqa: PLC0415 - its only user
        from forebay.services import reconcile_on_schedule as scheduled  # noqa: PLC0415
        from forebay.services.reconcile_storage import ReconcileStorage  # noqa: PLC0415

        s3, table = self._client("s3"), self.settings.table
        reconcile = ReconcileStorage(
            self.catalog,
            CatalogReader(self._client("dynamodb"), table, ""),
            self.store,
            S3Listing(s3),
            S3Locks(s3),
            self.clock,
            RunPlanner(self.catalog, self.clock, READ_QC),
            self.settings.buckets,
            class_zones(self.settings.policy_path),
            workers=RECONCILE_WORKERS,
        )
        ledger = self.settings.bucket(Zone.LEDGER)
        return scheduled.ReconcileOnSchedule(reconcile, self.store, ledger)

    @cached_property
    def _judge(self) -> Judge:
        from forebay.adapters.exceptions import DynamoPolicyBook  # noqa: PLC0415 - few users

        book = DynamoPolicyBook(self._client("dynamodb"), self.settings.table)
        return Judge(self.catalog, book, self.classifier, self.settings.regions)

    @property
    def _stored_objects(self) -> "DynamoStoredObjects":
        from forebay.adapters.stored_objects import DynamoStoredObjects  # noqa: PLC0415 - two users

        return DynamoStoredObjects(self._client("dynamodb"), self.settings.table)

    def _inspector(self, digest_chunks: DigestChunks) -> Inspector:
        return Inspector(self.catalog, self.store, self.clock, digest_chunks)

    def _client(self, service: str) -> Any:
        # One client per service: creating one parses its model anew.
        if service not in self.clients:
            named = Config(user_agent_appid=self.settings.application)  # type: ignore[call-arg]
            config = _CONFIG.merge(named)
            self.clients[service] = boto3.client(service, config=config)  # type: ignore[call-overload]
        return self.clients[service]


@lru_cache(maxsize=1)
def wiring() -> Wiring:
    """Return the process's wiring, built at first use."""
    return Wiring(Settings.from_process())
