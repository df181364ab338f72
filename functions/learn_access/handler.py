"""learn_access: S3 delivered an access log; who opens which study or sample is counted."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.events import ObjectCreated, read_s3_events
from forebay.formats.access_log import parse_access_log
from forebay.names import Step
from forebay.runtime.batch import queue_handler
from forebay.runtime.learning import report_learned
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Count what the log objects of one message tell."""
    learn = wiring().learn_access(parse_access_log)
    events = read_s3_events(record.body)
    logs = [event for event in events if isinstance(event, ObjectCreated)]
    outcomes = {report_learned(learn(event)) for event in logs}
    return ", ".join(sorted(outcomes)) or "nothing to learn", ""


handler = queue_handler(Step.LEARN_ACCESS, work)
