"""run_read_qc: both mates of a sample in, one JSON and one HTML report out."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from forebay.domain.objects import Location
from forebay.domain.read_qc import PairQuality
from forebay.errors import MessageError
from forebay.names import PIPELINES_SITE
from forebay.services.ports import ObjectStore
from forebay.services.read_qc_report import render_html

CHUNK_BYTES = 1024 * 1024


class MeasurePair(Protocol):
    """`formats.read_qc.measure_pair`, passed in by the composition root."""

    def __call__(self, r1: Iterable[bytes], r2: Iterable[bytes]) -> PairQuality:
        """Measure two mates."""


@dataclass(frozen=True, slots=True)
class ReadQcRequest:
    """What Step Functions hands to the pipeline's step."""

    run_id: str
    pipeline: str
    version: str
    site: str
    sample: str
    reads: Mapping[str, Mapping[str, str]]

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read the execution's input; raises MessageError."""
        try:
            reads = {mate: dict(event["reads"][mate]) for mate in ("R1", "R2")}
            names = ("run_id", "pipeline", "version", "site", "sample")
            return cls(**{name: str(event[name]) for name in names}, reads=reads)
        except (KeyError, TypeError) as exc:
            raise MessageError(f"not a read QC request: {exc!r}") from exc


def read_request(event: Mapping[str, Any]) -> ReadQcRequest:
    """Return the request in an execution's input."""
    return ReadQcRequest.from_event(event)


@dataclass(frozen=True, slots=True)
class RunReadQc:
    """Measure a pair and hand the reports in at the landing bucket, as any other sender would."""

    store: ObjectStore
    measure: MeasurePair
    landing_bucket: str

    def __call__(self, request: ReadQcRequest) -> dict[str, Any]:
        """Return where the outputs were handed in; equal inputs give equal bytes.

        Raises:
            Trouble: storage failed, or the inputs are no longer what the catalog says.
        """
        quality = self.measure(
            self.store.chunks(_location(request.reads["R1"]), CHUNK_BYTES),
            self.store.chunks(_location(request.reads["R2"]), CHUNK_BYTES),
        )
        report = _report(request, quality)
        body = json.dumps(report, indent=1, sort_keys=True).encode() + b"\n"
        folder = f"{PIPELINES_SITE}/{request.run_id}/{request.sample}.read_qc"
        outputs = [
            self._put(f"{folder}.json", body, "application/json"),
            self._put(f"{folder}.html", render_html(report).encode(), "text/html; charset=utf-8"),
        ]
        return {"run_id": request.run_id, "outputs": outputs}

    def _put(self, key: str, body: bytes, content_type: str) -> dict[str, str]:
        stored = self.store.put(Location(self.landing_bucket, key), body, content_type=content_type)
        return {"bucket": stored.bucket, "key": stored.key, "version_id": stored.version_id}


def _report(request: ReadQcRequest, quality: PairQuality) -> dict[str, Any]:
    return {
        "pipeline": request.pipeline,
        "pipeline_version": request.version,
        "run_id": request.run_id,
        "site": request.site,
        "sample": request.sample,
        "inputs": {
            mate: {"object_id": source["object_id"], "sha256": source["sha256"]}
            for mate, source in request.reads.items()
        },
        **quality.as_dict(),
    }


def _location(source: Mapping[str, str]) -> Location:
    return Location(source["bucket"], source["key"], source["version_id"])
