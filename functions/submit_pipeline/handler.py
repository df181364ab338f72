"""submit_pipeline: reads were placed; start the pipeline if their pair is complete."""

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.names import Step
from forebay.runtime.batch import change_of, queue_handler
from forebay.runtime.wiring import wiring


def work(record: SQSRecord) -> tuple[str, str]:
    """Submit the run that the object of one message completes."""
    change = change_of(record)
    run = wiring().submit_pipeline(change.object_id)
    return (run.state.value.lower() if run else "pair incomplete", change.object_id)


handler = queue_handler(Step.SUBMIT_PIPELINE, work)
