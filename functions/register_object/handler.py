"""register_object: S3 says that an object version was written; the catalog gets its record."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.events import read_s3_events
from forebay.names import Step
from forebay.runtime.batch import queue_handler
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Register the object versions one message speaks of."""
    created = read_s3_events(record.body)
    registered = [wiring().register_object(event) for event in created]
    return ("registered" if any(registered) else "known already", "")


handler = queue_handler(Step.REGISTER_OBJECT, work)
