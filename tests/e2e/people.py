"""Being one person of the local cloud, then another."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from forebay_cli.localcloud.people import PERSON
from tests.e2e.cloud import Cloud


@contextmanager
def being(person: str) -> Iterator[None]:
    """Let the command line be called by a person."""
    before = os.environ.get(PERSON)
    os.environ[PERSON] = person
    try:
        yield
    finally:
        del os.environ[PERSON]
        if before:
            os.environ[PERSON] = before


def excepted(cloud: Cloud, kind: str, *scope: str) -> str:
    """Ask for an exception as anna and approve it as bob; return its id."""
    with being("anna"):
        asked = cloud.forebay("exceptions", "request", kind, *scope, "--reason", "a test")
        identity = asked["exception"]["exception_id"]
        # Whoever asks may not approve, whatever they may do otherwise.
        cloud.forebay("exceptions", "approve", identity, expect=1)
    with being("bob"):
        approved = cloud.forebay("exceptions", "approve", identity)
    assert approved["is_complete"], approved
    return str(identity)
