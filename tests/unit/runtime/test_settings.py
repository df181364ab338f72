"""A function's environment: demanded when used, in words a deployer understands."""

from pathlib import Path

import pytest

from forebay.errors import ConfigurationError
from forebay.names import Zone
from forebay.runtime.settings import Settings
from forebay.runtime.wiring import Wiring


@pytest.mark.parametrize(
    "name", ["table", "history_table", "bus", "subject_key", "receipt_key", "state_machines"]
)
def test_missing_setting_is_named_when_it_is_used(name: str) -> None:
    settings = Settings({})

    with pytest.raises(ConfigurationError, match="FOREBAY_"):
        getattr(settings, name)


def test_buckets_are_those_that_were_given() -> None:
    settings = Settings({"FOREBAY_BUCKET_CLINICAL": "c", "FOREBAY_BUCKET_LEDGER": ""})

    assert settings.buckets == {Zone.CLINICAL: "c"}
    assert settings.bucket(Zone.CLINICAL) == "c"
    with pytest.raises(ConfigurationError, match="FOREBAY_BUCKET_LEDGER"):
        settings.bucket(Zone.LEDGER)


def test_state_machines_are_json() -> None:
    assert Settings({"FOREBAY_STATE_MACHINES": '{"a": "arn"}'}).state_machines == {"a": "arn"}
    with pytest.raises(ConfigurationError, match="not JSON"):
        _ = Settings({"FOREBAY_STATE_MACHINES": "arn"}).state_machines


def test_policy_is_that_of_the_layer_unless_another_is_named() -> None:
    assert Settings({}).policy_path is None
    assert Settings({"FOREBAY_POLICY_PATH": "/x"}).policy_path == Path("/x")


def test_wiring_builds_nothing_until_it_is_asked() -> None:
    assert Wiring(Settings({})).clock.now().tzinfo is not None


def test_recheck_budget_is_a_number_of_bytes() -> None:
    assert Settings({"FOREBAY_RECHECK_BYTES_PER_DAY": "1000"}).recheck_bytes_per_day == 1000
    for text in ("", "1 TB", "-5"):
        with pytest.raises(ConfigurationError, match="FOREBAY_RECHECK_BYTES_PER_DAY"):
            _ = Settings({"FOREBAY_RECHECK_BYTES_PER_DAY": text}).recheck_bytes_per_day
