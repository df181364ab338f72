"""How `request_exception` and `decide_exception` answer."""

from typing import Any

from aws_lambda_powertools import Logger

from forebay.adapters.exception_orders import answer_data
from forebay.names import Step
from forebay.services.decide_exception import Answer, NotChanged


def tell_exception(answer: Answer, step: Step) -> dict[str, Any]:
    """Log what was done, without scope or reason, and return the handler's answer."""
    log = Logger(service=step.value)
    if isinstance(answer, NotChanged):
        log.info("refused")
    else:
        log.info(
            "changed" if answer.is_new else "unchanged",
            exception_id=answer.exception.exception_id,
            status=answer.exception.status.value,
            version=answer.exception.version,
        )
    return answer_data(answer)
