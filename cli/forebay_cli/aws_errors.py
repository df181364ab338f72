"""What AWS's errors mean, in a sentence, and what a person can do about them."""

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from forebay_cli.failures import CommandError

DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403"}
)
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"}
)


def sentence_of(exc: BotoCoreError | ClientError) -> str:
    """Return one sentence about an error, without request ids."""
    if not isinstance(exc, ClientError):
        return str(exc).rstrip(".") + "."
    code = exc.response["Error"].get("Code", "")
    if code in DENIED:
        return f"These credentials may not call {exc.operation_name}."
    if code == "NoSuchBucket":
        return "The landing bucket does not exist (any more)."
    if code in {"BadDigest", "XAmzContentChecksumMismatch"}:
        return "The bytes that arrived are not those of its checksum; it changed while being sent."
    message = exc.response["Error"].get("Message") or code
    return f"{exc.operation_name} failed: {message}"


def explain(exc: BotoCoreError | ClientError) -> CommandError:
    """Return the error a command ends with."""
    return CommandError(sentence_of(exc), _advice(exc))


def _advice(exc: BotoCoreError | ClientError) -> str:
    if isinstance(exc, (NoCredentialsError, PartialCredentialsError)):
        return "Give a profile with credentials (--profile), or start the local cloud: forebay up"
    if isinstance(exc, (TokenRetrievalError, UnauthorizedSSOTokenError)):
        return "Log in again: aws sso login --profile <profile>"
    if isinstance(exc, ProfileNotFound):
        return "See your profiles: aws configure list-profiles"
    if isinstance(exc, (EndpointConnectionError, SSLError)):
        return "Is it up? `forebay doctor` tells; `forebay up` starts the local cloud."
    if isinstance(exc, ClientError) and exc.response["Error"].get("Code") in _EXPIRED:
        return "The credentials are expired or wrong: log in again."
    return "`forebay doctor` checks credentials, stacks and the local cloud."
