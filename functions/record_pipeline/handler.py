"""record_pipeline: a pipeline execution ended; record how."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.events import read_pipeline_event
from forebay.names import Step
from forebay.runtime.batch import queue_handler
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Record the outcome one message speaks of."""
    run = wiring().record_pipeline(read_pipeline_event(record.body))
    return run.state.value.lower(), run.run_id


handler = queue_handler(Step.RECORD_PIPELINE, work)
