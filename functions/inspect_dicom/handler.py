"""inspect_dicom: a DICOM object was received; verify, refuse, or recognise it."""

from functools import lru_cache

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.formats.dicom import inspect_dicom
from forebay.formats.digests import digest_chunks
from forebay.names import Step
from forebay.runtime.batch import change_of, queue_handler
from forebay.runtime.wiring import wiring
from forebay.services.inspect_dicom import InspectDicom


@lru_cache(maxsize=1)
def service() -> InspectDicom:
    """Return the step, built once per process."""
    return wiring().inspect_dicom(inspect_dicom, digest_chunks)


def work(record: SQSRecord) -> tuple[str, str]:
    """Inspect the object one message speaks of."""
    change = change_of(record)
    return service()(change.object_id).value, change.object_id


handler = queue_handler(Step.INSPECT_DICOM, work)
