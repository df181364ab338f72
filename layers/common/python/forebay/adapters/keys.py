"""Every key of the catalog and history tables.

| entity | pk | sk |
|---|---|---|
| object | `OBJ#<place id>` | `V#<version hash>` |
| declarations for a key | `OBJ#<place id>` | `DECLARED` |
| claim | `CLAIM#<namespace>#<group>` | `<value>` |
| pipeline run | `PRUN#<run id>` | `RUN` |
| child of an object | `CHILDREN#<object id>` | `<child id>` |
| study, series | `STUDY#<uid>` | `STUDY`, `SERIES#<uid>` |
| search entries | `FIND#<what>#<value>` | `<date or ->#<id>` |
| site | `SITES` | `<site>` |
| lease | `OBJ#<place id>` | `LEASE#<version hash>` |
| copy of an object | `COPY#<place id>` | `<version hash>` |
| dead letter | `DEAD#<letter id>` | `LETTER` |
| dead letters of one cause | `DEADLETTERS` | `<signature>` |
| why a message failed | `FAILED#<message id>` | `NOTE` |
| exception | `EXC#<exception id>` | `EXCEPTION` |
| exceptions on a scope | `SCOPE#<kind>#<value's hash>` | `EXCEPTIONS` |
| accesses to a scope | `ACCESS#<kind>#<value's hash>` | `ACCESS`, `DAY#<day>#<class>` |
| reads counted from one source | `ACCESS#<kind>#<value's hash>` | `READ#<source>#<day>#<class>` |
| disposition, as asked for | `DISP#<id>` | `REQUEST` |
| disposition, as decided | `DISPOK#<id>` | `DECISION` |
| what became of its objects | `DISPDONE#<id>` | `<object id>` |
| history | `<object id>` | `<version, 10 digits>` |

Values that senders choose (site, sample, modality) stand last in a key, so that no separator in
them can make two keys equal.
"""

import hashlib
from datetime import date
from typing import Final

from forebay.domain.deadlines import deadline_of, due_at, is_overdue
from forebay.domain.findings import Owner
from forebay.domain.objects import (
    Kind,
    Location,
    ObjectRecord,
    object_id,
    place_id,
    split_object_id,
)
from forebay.domain.policy.exceptions import Scope, Status
from forebay.domain.rechecks import is_readable
from forebay.domain.states import State
from forebay.events import utc_text

Key = tuple[str, str]

STATE_SHARDS: Final = 4
"""Partitions per state and site in `by_state`: one takes about 1,000 writes a second."""
DUE_SHARDS: Final = 16
"""Partitions of what has a deadline: unlike those of states, every site's objects share them."""
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
SITES_PK: Final = "SITES"
NO_SITE: Final = "-"
"""Stands for the site of an object whose key names none; no real site may be called so."""
STUDY_SK: Final = "STUDY"
SERIES_PREFIX: Final = "SERIES#"
DECLARED_SK: Final = "DECLARED"
VERSION_PREFIX: Final = "V#"


def object_key(object_id: str) -> Key:
    """Return the key of an object's record; raises ValueError for what is no object id."""
    place, version = split_object_id(object_id)
    return f"OBJ#{place}", f"{VERSION_PREFIX}{version}"


def place_pk(bucket: str, key: str) -> str:
    """Return the partition of all versions of one key."""
    return f"OBJ#{place_id(bucket, key)}"


def claim_key(namespace: str, group: str, value: str) -> Key:
    """Return the key of a claim."""
    return f"CLAIM#{namespace}#{group}", value


def run_key(run_id: str) -> Key:
    """Return the key of a pipeline run."""
    return f"PRUN#{run_id}", "RUN"


def children_pk(object_id: str) -> str:
    """Return the partition of an object's children."""
    return f"CHILDREN#{object_id}"


def copy_key(copy: Location) -> Key:
    """Return the key under which a copy in a zone or in quarantine names its object."""
    place, version = split_object_id(object_id(copy))
    return f"COPY#{place}", version


def study_pk(study_uid: str) -> str:
    """Return the partition of a study and its series."""
    return f"STUDY#{study_uid}"


def find_pk(what: str, value: str) -> str:
    """Return the partition of the search entries for one value of one attribute."""
    return f"FIND#{what}#{value}"


def batch_pk(site: str, batch: str) -> str:
    """Return the partition that lists what a site uploaded as one batch.

    By hash: senders choose both names, and a partition key holds 2,048 bytes at most.
    """
    return find_pk("batch", hashlib.sha256(f"{site}\n{batch}".encode()).hexdigest())


def letter_key(letter_id: str) -> Key:
    """Return the key of a dead letter."""
    return f"DEAD#{letter_id}", "LETTER"


LETTER_GROUPS_PK: Final = "DEADLETTERS"


def letter_group_key(signature: str) -> Key:
    """Return the key of what is counted of the dead letters of one cause."""
    return LETTER_GROUPS_PK, signature


def letters_pk(signature: str) -> str:
    """Return the `by_group` partition of the dead letters of one cause."""
    return f"DEAD#SIGNATURE#{signature}"


def note_key(note_id: str) -> Key:
    """Return the key of the note of why a message failed."""
    return f"FAILED#{note_id}", "NOTE"


def history_key(object_id: str, version: int) -> Key:
    """Return the key of one change in the history table."""
    return object_id, f"{version:010d}"


def exception_key(exception_id: str) -> Key:
    """Return the key of an exception from policy."""
    return f"EXC#{exception_id}", "EXCEPTION"


def exceptions_pk(status: Status) -> str:
    """Return the `by_group` partition of exceptions of one status, by when they were asked for."""
    return f"EXCEPTIONS#{status.value}"


EFFECTS_PK: Final = "EFFECTS"
"""The `by_due` partition of exceptions whose change has not reached every object."""

SCOPE_EXCEPTIONS_SK: Final = "EXCEPTIONS"
SCOPE_ACCESS_SK: Final = "ACCESS"


def scope_pk(scope: Scope) -> str:
    """Return the partition of what is known about a scope; by hash, since senders choose names."""
    value = hashlib.sha256(scope.value.encode("utf-8", "surrogateescape")).hexdigest()
    return f"SCOPE#{scope.kind}#{value}"


DISPOSITIONS_PK: Final = "DISPOSITIONS"
"""The `by_group` partition of all dispositions, by when they were asked for."""


def disposition_key(disposition_id: str) -> Key:
    """Return the key of what was asked for; whoever may write it may not write the decision."""
    return f"DISP#{disposition_id}", "REQUEST"


def disposition_decision_key(disposition_id: str) -> Key:
    """Return the key of what was decided about a disposition."""
    return f"DISPOK#{disposition_id}", "DECISION"


def disposition_entries_pk(disposition_id: str) -> str:
    """Return the partition of what became of a disposition's objects."""
    return f"DISPDONE#{disposition_id}"


def access_pk(scope: Scope) -> str:
    """Return the partition of what is known of reads of a scope.

    Not that of its exceptions: who may note a read may not write what holds.
    """
    return f"ACCESS#{scope_pk(scope).removeprefix('SCOPE#')}"


def access_key(scope: Scope) -> Key:
    """Return the key of when a scope was last read."""
    return access_pk(scope), SCOPE_ACCESS_SK


def access_day_key(scope: Scope, day: date, object_class: str) -> Key:
    """Return the key of what was read of a scope on a day, of objects of one class."""
    return access_pk(scope), f"DAY#{day:%Y-%m-%d}#{object_class}"


def read_key(scope: Scope, day: date, object_class: str, *, source: str) -> Key:
    """Return the key that says that the reads of one source were counted."""
    name = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()
    return access_pk(scope), f"READ#{name}#{day:%Y-%m-%d}#{object_class}"


def access_days_pk(object_class: str) -> str:
    """Return the `by_group` partition of days on which objects of a class were read, by day."""
    return f"ACCESS#{object_class}"


REOPENED_PK: Final = "REOPENED"
"""The `by_due` partition of scopes that were read again after a pause, by when."""


def action_pk(shard: int) -> str:
    """Return the `by_action` partition of placed objects, by when policy looks at them next."""
    return f"ACTION#{shard}"


def action_key(record: ObjectRecord) -> Key | None:
    """Return the `by_action` key of a placed object; one never judged by policy is due at once."""
    if record.state is not State.PLACED:
        return None
    at = record.policy.evaluate_at if record.policy else record.state_since
    shard = _BASE32.index(record.object_id[-1]) % DUE_SHARDS
    return (action_pk(shard), f"{utc_text(at)}#{record.object_id}") if at else None


def recheck_pk(shard: int) -> str:
    """Return the `by_due` partition of stored objects, by when they were last read."""
    return f"RECHECK#{shard}"


def lease_pk(shard: int) -> str:
    """Return the `by_due` partition of leases, by when they end."""
    return f"LEASE#{shard}"


def state_pk(state: State, shard: int, site: str) -> str:
    """Return the `by_state` partition of one state, shard and site."""
    return f"{state.value}#{shard}#{site or NO_SITE}"


def due_pk(shard: int) -> str:
    """Return the `by_due` partition of objects that have a deadline, by when it passes."""
    return f"DUE#{shard}"


def overdue_pk(state: State, owner: Owner) -> str:
    """Return the `by_due` partition of objects that wait for a person, by since when."""
    return f"OVERDUE#{state.value}#{owner.value}"


def due_key(record: ObjectRecord) -> Key | None:
    """Return the `by_due` key under which somebody looks for an object in time."""
    object_id = record.object_id
    if record.state is State.PLACED:
        if not is_readable(record):
            return None
        last_read = utc_text(record.rechecked_at or record.state_since)
        return recheck_pk(shard_of(object_id)), f"{last_read}#{object_id}"
    deadline = deadline_of(record)
    if deadline is not None and is_overdue(record):
        since = utc_text(record.state_since)
        return overdue_pk(record.state, deadline.owner), f"{since}#{object_id}"
    if at := due_at(record):
        shard = _BASE32.index(object_id[-1]) % DUE_SHARDS
        return due_pk(shard), f"{utc_text(at)}#{object_id}"
    return None


def lease_key(object_id: str) -> Key:
    """Return the key of the lease on an object."""
    place, version = split_object_id(object_id)
    return f"OBJ#{place}", f"LEASE#{version}"


def shard_of(object_id: str) -> int:
    """Return the `by_state` shard of an object."""
    return ord(object_id[-1]) % STATE_SHARDS


def group_key(record: ObjectRecord) -> Key | None:
    """Return the `by_group` key that lists an object with its siblings, None when it has none."""
    metadata = record.metadata
    if record.kind is Kind.DICOM and "StudyInstanceUID" in metadata:
        return (
            f"STUDY#{metadata['StudyInstanceUID']}",
            f"{metadata['SeriesInstanceUID']}#{metadata['SOPInstanceUID']}#{record.object_id}",
        )
    if record.kind is Kind.FASTQ and "sample" in metadata:
        return (
            sample_group(record.site, str(metadata["sample"])),
            f"{metadata['run']}#{metadata['lane']}#{metadata['mate']}#{record.object_id}",
        )
    if record.pipeline_run_id:
        return f"PRUN#{record.pipeline_run_id}", record.object_id
    return None


def sample_group(site: str, sample: str) -> str:
    """Return the `by_group` partition of a sample's files."""
    return f"SAMPLE#{site}#{sample}"
