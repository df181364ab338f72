"""Ids are derived, so that registering twice is the same write; sequencers order versions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.integrity import Algorithm, Witness
from forebay.domain.objects import Location, is_newer, object_id, place_id, split_object_id
from tests.unit.fakes import any_digest, any_location, any_record

TEXT = st.text(min_size=1, max_size=20)


def test_id_of_a_version_is_known_for_good() -> None:
    """A changed derivation would register everything anew: this value must never change."""
    location = Location("landing", "site-a/scan.dcm", "v1")

    assert object_id(location) == "mcdopraomtwcyt6uifibm2ax.hp6cnfmu55sjekhj"


def test_id_is_place_and_version() -> None:
    location = any_location()

    assert re.fullmatch(r"[a-z2-7]{24}\.[a-z2-7]{16}", object_id(location))
    assert split_object_id(object_id(location))[0] == place_id(location.bucket, location.key)


@given(TEXT, TEXT, TEXT, TEXT)
def test_other_versions_share_the_place_and_other_keys_do_not(
    bucket: str, key: str, version: str, other: str
) -> None:
    one = object_id(Location(bucket, key, version))
    two = object_id(Location(bucket, key, other))

    assert (one == two) == (version == other)
    assert split_object_id(one)[0] == split_object_id(two)[0]
    assert place_id(bucket, key) != place_id(bucket, key + other)


def test_key_that_is_no_unicode_has_an_id_too() -> None:
    assert object_id(Location("b", "site/\udcff.dcm", ""))


@pytest.mark.parametrize("text", ["", ".", "abc", "a" * 24, f"{'a' * 24}.{'b' * 15}", "x.y.z"])
def test_what_is_no_object_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an object id"):
        split_object_id(text)


@pytest.mark.parametrize(
    "sequencer, other, newer",
    [
        ("0055AED6DCD90281E6", "0055AED6DCD90281E5", True),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E6", False),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E5", False),
        # Right-padding, not left: the longer one is not the larger one.
        ("0056", "0055AED6DCD90281E5", True),
        ("0055AED6", "0055AED6DCD90281E5", False),
        ("0055AED6DCD90281E5", "0055AED6", True),
        ("0055", "00550000", False),
        ("0055aed7", "0055AED6", True),
        ("01", "", True),
        ("", "01", False),
        ("", "", False),
    ],
)
def test_sequencers_compare_as_right_padded_hex(sequencer: str, other: str, newer: bool) -> None:
    assert is_newer(sequencer, other) is newer


@given(*[st.text("0123456789ABCDEFabcdef", max_size=18)] * 2)
def test_of_two_sequencers_at_most_one_is_newer(one: str, two: str) -> None:
    assert not (is_newer(one, two) and is_newer(two, one))


def test_evidence_and_declarations_are_told_apart() -> None:
    storage = any_digest(witness=Witness.STORAGE, algorithm=Algorithm.CRC32)
    forebay = any_digest(witness=Witness.FOREBAY)
    said = any_digest(witness=Witness.SENDER_MANIFEST, algorithm=Algorithm.MD5)
    record = any_record(digests=(said, storage, forebay))

    assert record.evidence == (storage, forebay)
    assert record.declared == (said,)
    assert record.digest(Algorithm.SHA256) == forebay.value
    assert record.digest(Algorithm.MD5) == ""


def test_uri_of_a_location_has_no_version() -> None:
    assert Location("b", "k/x", "v1").uri == "s3://b/k/x"
