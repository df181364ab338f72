"""What a deployer may choose, and what they read when it cannot be."""

from collections.abc import Mapping

import pytest

from forebay.errors import ConfigurationError
from infra.settings import Profile, Settings


def read(environment: Mapping[str, str] | None = None, **context: object) -> Settings:
    return Settings.read(
        {f"forebay:{name}": value for name, value in context.items()}.get, environment or {}
    )


def test_nothing_chosen_is_a_cloud_deployment() -> None:
    settings = read()
    assert settings == Settings()
    assert settings.profile is Profile.CLOUD


def test_context_is_read_and_the_environment_overrides_it() -> None:
    settings = read({"FOREBAY_PREFIX": "mine"}, prefix="theirs", profile="local")
    assert settings.prefix == "mine"
    assert settings.is_local


def test_a_local_cloud_rereads_less_a_day_unless_told_otherwise() -> None:
    assert read().recheck_bytes_per_day == 10**12
    assert read(profile="local").recheck_bytes_per_day == 10**10
    assert read(profile="local", recheck_bytes_per_day="5").recheck_bytes_per_day == 5


def test_an_empty_value_is_not_set() -> None:
    assert read({"FOREBAY_REPLICA_REGION": ""}).replica_region is None


@pytest.mark.parametrize(
    "sites", ["site-a,site-b", " site-a , site-b,site-a ", ["site-a", "site-b"]]
)
def test_sites_are_a_list_without_repeats(sites: object) -> None:
    assert read(sites=sites).sites == ("site-a", "site-b")


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("profile", "staging", "must be cloud or local; it is 'staging'."),
        ("prefix", "Forebay", "2 to 15 lower-case letters"),
        ("prefix", "a" * 16, "2 to 15 lower-case letters"),
        ("replica_region", "Ireland", "a region, as eu-west-1"),
        ("alarm_email", "nobody", "an e-mail address"),
        ("log_retention_days", "91", "one of 7, 14, 30"),
        ("lock_days", "0", "a whole number from 1 to 36500"),
        ("lock_days", "a year", "a whole number from 1 to 36500"),
        ("event_archive_days", "0", "a whole number from 1 to 3650"),
        ("recheck_bytes_per_day", "a lot", "a whole number from 0"),
        ("reserve_concurrency", "maybe", "true or false"),
        ("sites", "Site A", "lower-case letters"),
        ("sites", "pipelines", "which pipelines use"),
        ("python", "/no/such/python", "the path of a Python interpreter"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_wanted(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read({}, **{name: value})
    assert f"forebay:{name} (or FOREBAY_{name.upper()})" in str(raised.value)
    assert sentence in str(raised.value)
