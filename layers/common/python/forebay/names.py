"""Names that more than one part of Forebay must agree on.

Nothing here reads the environment; the values that differ per deployment (bucket names, table
names) travel as environment variables whose *names* are the `ENV_*` constants below.
"""

from enum import StrEnum
from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of the catalog schema, carried by every catalog item."""

EVENT_SOURCE: Final = "forebay"
EVENT_SCHEMA_VERSION: Final = "1"


class Zone(StrEnum):
    """The buckets of a deployment, by role (architecture §2)."""

    LANDING_IMAGING = "landing-imaging"
    LANDING_GENOMICS = "landing-genomics"
    QUARANTINE = "quarantine"
    CLINICAL = "clinical"
    GENOMICS = "genomics"
    DERIVED = "derived"
    RESEARCH = "research"
    ARCHIVE = "archive"
    LEDGER = "ledger"


def bucket_name(prefix: str, zone: Zone, account: str, region: str) -> str:
    """Return the name of a zone's bucket; unique, since it carries account and region."""
    return f"{prefix}-{zone}-{account}-{region}"


LANDING_ZONES: Final = (Zone.LANDING_IMAGING, Zone.LANDING_GENOMICS)


class Folder(StrEnum):
    """First path segment of what `place_object` writes into a zone; its role may write no other."""

    DICOM = "dicom"
    READS = "reads"
    ALIGNMENTS = "alignments"
    VARIANTS = "variants"
    RUNS = "runs"
    CHECKSUMS = "checksums"
    REPORTS = "reports"


FOLDERS: Final = {
    Zone.CLINICAL: (Folder.DICOM,),
    Zone.GENOMICS: (
        Folder.READS,
        Folder.ALIGNMENTS,
        Folder.VARIANTS,
        Folder.RUNS,
        Folder.CHECKSUMS,
    ),
    Zone.DERIVED: (Folder.REPORTS,),
}


class Step(StrEnum):
    """The functions; each has a queue (or stream) and a dead-letter queue of the same name."""

    REGISTER_OBJECT = "register_object"
    INSPECT_DICOM = "inspect_dicom"
    INSPECT_GENOMICS = "inspect_genomics"
    PLACE_OBJECT = "place_object"
    RELAY_CHANGES = "relay_changes"
    SUBMIT_PIPELINE = "submit_pipeline"
    RUN_READ_QC = "run_read_qc"
    RECORD_PIPELINE = "record_pipeline"
    ARCHIVE_DEAD_LETTERS = "archive_dead_letters"
    SWEEP_DEADLINES = "sweep_deadlines"
    RECONCILE_STORAGE = "reconcile_storage"
    RECHECK_OBJECTS = "recheck_objects"
    ISSUE_RECEIPT = "issue_receipt"
    EVALUATE_POLICY = "evaluate_policy"
    LEARN_ACCESS = "learn_access"
    REQUEST_EXCEPTION = "request_exception"
    DECIDE_EXCEPTION = "decide_exception"
    REQUEST_DISPOSITION = "request_disposition"
    DECIDE_DISPOSITION = "decide_disposition"
    DISPOSE_OBJECTS = "dispose_objects"


QUEUE_STEPS: Final = (
    Step.REGISTER_OBJECT,
    Step.INSPECT_DICOM,
    Step.INSPECT_GENOMICS,
    Step.PLACE_OBJECT,
    Step.SUBMIT_PIPELINE,
    Step.RECORD_PIPELINE,
    Step.LEARN_ACCESS,
)
"""The steps that work off a queue, and to whose queue work can be handed again."""


REDRIVEN: Final = "forebay-redriven"
"""Message attribute of work handed to a step again: an earlier try may have done a part of it."""

DELETED_OUTSIDE_POLICY: Final = "deleted outside policy"
"""Outcome of an event that says a placed copy is gone, and no decision allowed it: an alarm."""


class DetailType(StrEnum):
    """Detail-types on the bus: one per state change, past tense."""

    OBJECT_RECEIVED = "ObjectReceived"
    OBJECT_AWAITING_DIGEST = "ObjectAwaitingDigest"
    OBJECT_VERIFIED = "ObjectVerified"
    OBJECT_PLACED = "ObjectPlaced"
    OBJECT_QUARANTINED = "ObjectQuarantined"
    OBJECT_DUPLICATED = "ObjectDuplicated"
    OBJECT_CONFLICTED = "ObjectConflicted"
    OBJECT_IGNORED = "ObjectIgnored"
    OBJECT_EXPIRED = "ObjectExpired"
    OBJECT_DELETED = "ObjectDeleted"
    OBJECT_SUPERSEDED = "ObjectSuperseded"
    OBJECT_UPDATED = "ObjectUpdated"
    PIPELINE_RUN_CHANGED = "PipelineRunChanged"


class Tag(StrEnum):
    """Object tag keys that Forebay writes (at most ten per object; no patient identifiers)."""

    CLASS = "forebay:class"
    RETENTION = "forebay:retention"
    OBJECT_ID = "forebay:object-id"
    VERDICT = "forebay:verdict"
    REASON = "forebay:reason"
    LANDING = "forebay:landing"
    TIERING = "forebay:tiering"
    """Gate of lifecycle transitions: a class, `to-<storage class>`, or `none`."""
    REMOVAL = "forebay:removal"
    """Gate of lifecycle expiration: a class and its days (`derived-366d`), `now`, or `none`."""
    REPLICATE = "forebay:replicate"
    """`yes` on what replication may copy; S3 reads it when the version is made."""
    HOLD = "forebay:hold"
    """`legal` while a legal hold reaches the version."""


LANDING_SETTLED: Final = "settled"
"""Value of `Tag.LANDING` once an outcome is final: lifecycle may expire the landing copy."""
LANDING_NEEDED: Final = "needed"
"""Value of `Tag.LANDING` of an arrival that was settled and is all there is again."""
HOLD_LEGAL: Final = "legal"
"""Value of `Tag.HOLD` under a legal hold: only policy may tag the version then."""
REPLICATE_YES: Final = "yes"
"""Value of `Tag.REPLICATE` of what replication copies; its replicas carry it, too."""

PIPELINES_SITE: Final = "pipelines"
"""The site prefix under which pipelines hand their outputs in; no real site may use it."""

ENV_TABLE: Final = "FOREBAY_TABLE"
ENV_HISTORY_TABLE: Final = "FOREBAY_HISTORY_TABLE"
ENV_BUS: Final = "FOREBAY_BUS"
ENV_SUBJECT_KEY: Final = "FOREBAY_SUBJECT_KEY"
"""Id of the KMS HMAC key that turns patient identifiers into search tokens."""
ENV_POLICY_PATH: Final = "FOREBAY_POLICY_PATH"
"""Another compiled policy than the one of the policy layer."""
ENV_STATE_MACHINES: Final = "FOREBAY_STATE_MACHINES"
"""JSON object: pipeline name → state machine ARN."""
ENV_RECEIPT_KEY: Final = "FOREBAY_RECEIPT_KEY"
"""Id of the asymmetric KMS key that signs receipts."""
ENV_REGIONS: Final = "FOREBAY_REGIONS"
"""Where bytes of a zone lie, separated by commas: the home region, then the replica's."""
ENV_CLOCK_AHEAD_SECONDS: Final = "FOREBAY_CLOCK_AHEAD_SECONDS"
"""How far a local cloud's clock was set ahead by `forebay local advance`; never set elsewhere."""
ENV_PREFIX: Final = "FOREBAY_PREFIX"
"""Prefix of the deployment: what its own functions read is no access."""
FETCH_APPLICATION: Final = "forebay-fetch"
"""How `forebay fetch` names itself to S3: it notes what it reads itself."""
ENV_RECHECK_BYTES_PER_DAY: Final = "FOREBAY_RECHECK_BYTES_PER_DAY"
"""How much of what is stored is read again each day."""

POLICY_PACKAGE: Final = "forebay_policy"
POLICY_FILE: Final = "policy.json"
PRICES_FILE: Final = "prices.json"
"""The compiled policy lies in a package of its own, so that it is found wherever layers lie."""

METRICS_NAMESPACE: Final = "Forebay"


def queue_env(step: Step) -> str:
    """Return the environment variable that holds the queue URL of a step."""
    return f"FOREBAY_QUEUE_{step.name}"


def bucket_env(zone: Zone) -> str:
    """Return the environment variable that holds the bucket name of a zone."""
    return f"FOREBAY_BUCKET_{zone.name}"


INDEX_BY_STATE: Final = "by_state"
INDEX_BY_GROUP: Final = "by_group"
INDEX_BY_ACTION: Final = "by_action"
"""Sparse: placed objects by when policy looks at them next."""
INDEX_BY_DUE: Final = "by_due"
"""Sparse: leases by when they end, placed objects by when they are to be checked again."""
