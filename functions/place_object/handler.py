"""place_object: an object was judged; classify it, copy it where it belongs, tag both."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.names import Step
from forebay.runtime.batch import change_of, leasing_queue_handler, redelivered
from forebay.runtime.wiring import wiring
from forebay.services.leasing import IN_PROGRESS, Delivery


def work(record: SQSRecord, delivery: Delivery) -> tuple[str, str]:
    """Settle the object one message speaks of."""
    change = change_of(record)
    place = wiring().place_object
    state = place(change.object_id, delivery=delivery, redelivered=redelivered(record))
    return state.value.lower() if state else IN_PROGRESS, change.object_id


handler = leasing_queue_handler(Step.PLACE_OBJECT, work)
