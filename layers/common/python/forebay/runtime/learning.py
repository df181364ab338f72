"""What is said about the access logs that were read: counts, and the numbers of bad lines."""

from itertools import islice
from typing import Final

from aws_lambda_powertools import Logger

from forebay.names import Step
from forebay.runtime.metrics import put_metric
from forebay.services.learn_access import Learned

_TOLD_LINES: Final = 20


def report_learned(learned: Learned) -> str:
    """Write metrics and log lines about one log object; returns its outcome in a word or two.

    Of a bad line its number is told, never what it holds.
    """
    logger = Logger(service=Step.LEARN_ACCESS.value)
    for bad in islice(learned.bad_lines, _TOLD_LINES):
        logger.warning("line skipped", line=bad.number, expected=bad.expected)
    logger.info(
        "log read",
        reads=learned.counted,
        scopes=learned.scopes,
        passed_over=learned.passed_over,
        unknown=learned.unknown,
        bad_lines=len(learned.bad_lines),
    )
    for name, amount in (
        ("Accesses", learned.counted if learned.is_news else 0),
        ("BadLines", len(learned.bad_lines)),
    ):
        put_metric(name, amount, step=Step.LEARN_ACCESS.value)
    if not learned.counted:
        return "nothing to learn"
    return "learned" if learned.is_news else "learned before"
