"""inspect_genomics: an object that is not DICOM was received; verify, refuse, or recognise it."""

from functools import lru_cache

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.formats.digests import digest_chunks
from forebay.formats.genomics import PARSERS
from forebay.formats.manifests import parse_checksum_file
from forebay.names import Step
from forebay.runtime.batch import change_of, leasing_queue_handler
from forebay.runtime.wiring import wiring
from forebay.services.inspect_genomics import InspectGenomics
from forebay.services.leasing import Delivery


@lru_cache(maxsize=1)
def service() -> InspectGenomics:
    """Return the step, built once per process."""
    return wiring().inspect_genomics(PARSERS, parse_checksum_file, digest_chunks)


def work(record: SQSRecord, delivery: Delivery) -> tuple[str, str]:
    """Inspect the object one message speaks of."""
    change = change_of(record)
    return service()(change.object_id, delivery=delivery).value, change.object_id


handler = leasing_queue_handler(Step.INSPECT_GENOMICS, work)
