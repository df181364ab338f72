"""register_object: S3 says what became of an object version; the catalog's record follows."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.events import read_s3_events
from forebay.names import Step
from forebay.runtime.batch import queue_handler, redelivered
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Record what one message says of object versions."""
    again = redelivered(record)
    heard = [
        wiring().record_storage_event(event, redelivered=again)
        for event in read_s3_events(record.body)
    ]
    outcomes = sorted({outcome.value for outcome, _ in heard}) or ["nothing to record"]
    return ", ".join(outcomes), " ".join(ids for _, ids in heard if ids)


handler = queue_handler(Step.REGISTER_OBJECT, work)
