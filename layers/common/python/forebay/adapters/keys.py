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
| history | `<object id>` | `<version, 10 digits>` |

Values that senders choose (site, sample, modality) stand last in a key, so that no separator in
them can make two keys equal.
"""

import hashlib
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
