"""S3Vault keeps what `services.ports.Vault` promises; moto plays locks and restores."""

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from moto import mock_aws

from forebay.adapters.s3 import S3ObjectStore
from forebay.adapters.vault import S3Vault
from forebay.domain.integrity import Algorithm, Digest, Witness
from forebay.domain.objects import Location
from forebay.domain.policy.storage_classes import StorageClass
from forebay.errors import ObjectMissingError
from forebay.services.ports import StoredObject
from tests.adapters.conftest import Cloud, calls_of

BODY = b"0123456789" * 10


@pytest.fixture
def moto() -> Iterator[Cloud]:
    with mock_aws():
        yield Cloud("moto")


@pytest.fixture
def vault(moto: Cloud) -> S3Vault:
    client = moto.client("s3")
    return S3Vault(client, S3ObjectStore(client))


def put(cloud: Cloud, *, locked: bool = True, **how: Any) -> Location:
    bucket = f"fb-{uuid4().hex[:20]}"
    cloud.client("s3").create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locked)
    if not locked:
        cloud.client("s3").put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    answer = cloud.client("s3").put_object(Bucket=bucket, Key="dicom/1", Body=BODY, **how)
    return Location(bucket, "dicom/1", answer["VersionId"])


def test_tags_are_set_beside_the_others_and_only_when_they_differ(
    moto: Cloud, vault: S3Vault
) -> None:
    place = put(moto, Tagging="forebay:verdict=verified")

    assert vault.set_tags(place, {"forebay:tiering": "none"})
    with calls_of(vault.client) as calls:
        assert not vault.set_tags(place, {"forebay:tiering": "none"})

    assert calls == ["GetObjectTagging"]
    assert vault.store.tags(place) == {"forebay:verdict": "verified", "forebay:tiering": "none"}


def test_legal_hold_is_put_and_lifted(moto: Cloud, vault: S3Vault) -> None:
    place = put(moto)

    vault.set_legal_hold(place, on=True)
    assert vault.storage_class(place).has_legal_hold
    vault.set_legal_hold(place, on=False)
    assert not vault.storage_class(place).has_legal_hold


def test_bucket_without_object_lock_is_held_by_gates_alone(moto: Cloud, vault: S3Vault) -> None:
    place = put(moto, locked=False)

    vault.set_legal_hold(place, on=True)

    assert not vault.storage_class(place).has_legal_hold


def test_version_that_is_not_there_is_missing(moto: Cloud, vault: S3Vault) -> None:
    place = put(moto)
    gone = Location(place.bucket, "dicom/2", place.version_id)

    for call in (
        lambda: vault.storage_class(gone),
        lambda: vault.set_tags(gone, {"a": "b"}),
    ):
        with pytest.raises(ObjectMissingError):
            call()


def test_archived_version_is_restored_and_told_so(moto: Cloud, vault: S3Vault) -> None:
    place = put(moto, StorageClass="GLACIER")
    frozen = vault.storage_class(place)
    assert (frozen.storage_class, frozen.is_readable) == (StorageClass.GLACIER, False)

    vault.restore(place, days=7)

    # moto restores at once.
    assert vault.storage_class(place).is_readable
    assert vault.storage_class(place).storage_class is StorageClass.GLACIER


def test_what_s3_says_of_encryption_counts_and_silence_is_no_violation(
    moto: Cloud, vault: S3Vault
) -> None:
    assert vault.storage_class(put(moto, ServerSideEncryption="aws:kms")).is_encrypted
    assert not vault.storage_class(put(moto, ServerSideEncryption="AES256")).is_encrypted


def test_copy_back_is_a_new_version_in_standard_with_its_checksum(
    moto: Cloud, vault: S3Vault
) -> None:
    place = put(moto, StorageClass="STANDARD_IA", ChecksumAlgorithm="SHA256")
    digest = Digest(Algorithm.SHA256, hashlib.sha256(BODY).hexdigest(), Witness.STORAGE, "s3")
    source = StoredObject(place, len(BODY), digests=(digest,), metadata={"forebay-object-id": "x"})

    copy = vault.warm(source, checksum=Algorithm.SHA256, tags={"forebay:tiering": "none"})

    assert (copy.location.bucket, copy.location.key) == (place.bucket, place.key)
    assert copy.location.version_id != place.version_id
    assert digest.value in {each.value for each in copy.digests}
    assert vault.storage_class(copy.location).storage_class is StorageClass.STANDARD
    assert vault.storage_class(place).storage_class is StorageClass.STANDARD_IA
    assert vault.store.tags(copy.location) == {"forebay:tiering": "none"}
