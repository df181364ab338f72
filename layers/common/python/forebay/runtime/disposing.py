"""How dispositions are asked for, decided and carried out: what steps are told, and answer."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from forebay.adapters.disposition_orders import answer_data
from forebay.domain.policy.disposition import is_disposition_id
from forebay.errors import MessageError
from forebay.names import Step
from forebay.services.dispose_objects import Progress
from forebay.services.request_disposition import Decided, Refused


def disposition_request(event: Mapping[str, Any]) -> str:
    """Return the id of a disposition; raises MessageError."""
    asked = event.get("disposition_id")
    if not (isinstance(asked, str) and is_disposition_id(asked)):
        raise MessageError('a disposition is carried out with {"disposition_id": "DI-…"}')
    return asked


def tell_disposition(answer: Decided | Refused, step: Step) -> dict[str, Any]:
    """Log what was done, without scopes or reason, and return the handler's answer."""
    told = answer_data(answer)
    log = Logger(service=step.value)
    log.info("refused") if isinstance(answer, Refused) else log.info("told", **told)
    return told


def disposition_answer(done: Progress | Refused) -> dict[str, Any]:
    """Return the handler's answer; `left` objects need another call."""
    if isinstance(done, Refused):
        return {"refused": done.reason}
    place = done.disposition.certificate
    answer: dict[str, Any] = {
        "disposition_id": done.disposition.disposition_id,
        "stage": done.disposition.stage.value,
        "left": done.left,
        "removed": done.removed,
        "kept": done.kept,
        "skipped": done.skipped,
    }
    Logger(service=Step.DISPOSE_OBJECTS.value).info("disposed", **answer)
    if place is None:
        return answer
    where = {"bucket": place.bucket, "key": place.key, "version_id": place.version_id}
    return answer | {"certificate": where}
