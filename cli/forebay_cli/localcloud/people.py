"""People of the local cloud: what takes two is tried out by being one, then the other.

In an account, people sign in. Here everybody would be root; `FOREBAY_LOCAL_PERSON=bob` lets a
command take a role as bob, who may do everything a bucket's policy does not forbid.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from forebay_cli.failures import CommandError

PERSON: Final = "FOREBAY_LOCAL_PERSON"
_ROLE: Final = "local-people"
_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}")
_EVERYTHING: Final[dict[str, object]] = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_ANYBODY: Final[dict[str, object]] = {
    "Effect": "Allow",
    "Action": "sts:AssumeRole",
    "Principal": {"AWS": "*"},
}


def person_named() -> str:
    """Return whom this shell says it is, '' for root; raises CommandError for no name."""
    name = os.environ.get(PERSON, "")
    if name and not _NAME.fullmatch(name):
        raise CommandError(
            f"{PERSON} is {name!r}, which is no name.",
            "Give 2 to 64 letters, digits or +=,.@-_ such as anna.",
        )
    return name


def sign_in(name: str, client: Callable[[str], Any], account: str) -> Mapping[str, str]:
    """Return the credentials of a person, valid for an hour; `client` makes root's clients."""
    iam = client("iam")
    try:
        iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=_policy(_ANYBODY))
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    else:
        iam.put_role_policy(
            RoleName=_ROLE, PolicyName="everything", PolicyDocument=_policy(_EVERYTHING)
        )
    role = f"arn:aws:iam::{account}:role/{_ROLE}"
    answer = client("sts").assume_role(RoleArn=role, RoleSessionName=name)
    credentials: Mapping[str, str] = answer["Credentials"]
    return credentials


def _policy(statement: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
