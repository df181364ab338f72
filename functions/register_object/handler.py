"""register_object: S3 says that an object version was written; the catalog gets its record."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.events import read_s3_events
from forebay.names import Step
from forebay.runtime.batch import queue_handler
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Register the object versions one message speaks of."""
    done = [wiring().register_object(event) for event in read_s3_events(record.body)]
    outcome = "registered" if any(each.is_new for each in done) else "known already"
    return outcome, " ".join(each.object_id for each in done)


handler = queue_handler(Step.REGISTER_OBJECT, work)
