"""place_object: an object was judged; classify it, copy it where it belongs, tag both."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.names import Step
from forebay.runtime.batch import change_of, queue_handler, redelivered
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Settle the object one message speaks of."""
    change = change_of(record)
    place = wiring().place_object
    state = place(change.object_id, redelivered=redelivered(record))
    return state.value.lower(), change.object_id


handler = queue_handler(Step.PLACE_OBJECT, work)
