"""archive_dead_letters: a step gave up on a message; keep it, under the cause it shares."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.names import Step
from forebay.runtime.batch import count_dead_letters, dead_message, queue_handler
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Archive one message of a dead-letter queue."""
    message = dead_message(record)
    archived = wiring().archive_dead_letters(message)
    fresh = sum(each.is_new for each in archived)
    if fresh:
        count_dead_letters(message.step, fresh)
    letters = " ".join(each.letter.letter_id for each in archived)
    return "archived" if fresh else "archived before", letters


handler = queue_handler(Step.ARCHIVE_DEAD_LETTERS, work)
