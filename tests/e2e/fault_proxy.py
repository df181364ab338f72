"""A proxy between the functions and the emulator that refuses, cuts off and delays calls.

It stands where the network stands: the functions' endpoint points at it. What it does to which call
is decided by `Fault`s, from one seed, so that a run can be repeated.
"""

import http.client
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Fault:
    """What happens to some calls of a service.

    `service` is `s3`, `dynamodb` or `events`; `answer` the status and error code of a refusal, None
    to cut the connection; with `after`, the call took effect and only its answer is lost.
    """

    service: str
    share: float
    answer: tuple[int, str] | None = None
    after: bool = False
    delay_seconds: float = 0.0


@dataclass
class FaultProxy:
    """Forwards to `endpoint`; `faults` may be changed while it runs."""

    endpoint: str
    ca_bundle: str = ""
    faults: Sequence[Fault] = ()
    calls: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    chance: random.Random = field(default_factory=lambda: random.Random(20261122))  # noqa: S311

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on a free port; yields the proxy's own endpoint."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                proxy.serve(self)

            def log_message(self, *_: object) -> None:
                return

        return Handler

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Forward one request, or do to it what a fault says."""
        body = _read_body(request)
        service = _service(request)
        self.calls[service] += 1
        fault = self._drawn(service)
        if fault and not fault.after:
            time.sleep(fault.delay_seconds)
            if fault.delay_seconds == 0:
                self._refuse(request, fault)
                return
        status, headers, answer = self._forwarded(request, body)
        if fault and fault.after:
            self._refuse(request, fault)
            return
        _send(request, status, headers, answer)

    def _drawn(self, service: str) -> Fault | None:
        for fault in self.faults:
            if fault.service == service and self.chance.random() < fault.share:
                self.injected[service] += 1
                return fault
        return None

    def _refuse(self, request: BaseHTTPRequestHandler, fault: Fault) -> None:
        if fault.answer is None:
            request.close_connection = True
            return
        status, code = fault.answer
        if fault.service == "s3":
            text = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>"
            kind = "application/xml"
        else:
            text = json.dumps({"__type": f"com.amazonaws#{code}", "message": "on purpose"})
            kind = "application/x-amz-json-1.0"
        _send(request, status, [("Content-Type", kind)], text.encode())

    def _forwarded(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        target = urlsplit(self.endpoint)
        connection: http.client.HTTPConnection
        if target.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_bundle or None)
            connection = http.client.HTTPSConnection(target.netloc, context=context, timeout=60)
        else:
            connection = http.client.HTTPConnection(target.netloc, timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
            headers["Content-Length"] = str(len(body))
            connection.request(request.command, request.path, body=body, headers=headers)
            answer = connection.getresponse()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP]
            if request.command == "HEAD":
                kept.append(("Content-Length", answer.getheader("Content-Length") or "0"))
            return answer.status, kept, answer.read()
        finally:
            connection.close()


def _service(request: BaseHTTPRequestHandler) -> str:
    target = request.headers.get("X-Amz-Target", "")
    if target.startswith("DynamoDB"):
        return "dynamodb"
    if target.startswith("AWSEvents"):
        return "events"
    return target.partition(".")[0].lower() or "s3"


def _read_body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        pieces = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            pieces.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(pieces)
    if request.headers.get("Expect", "").lower() == "100-continue":
        request.send_response_only(100)
        request.end_headers()
    return request.rfile.read(int(request.headers.get("Content-Length") or 0))


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: Sequence[tuple[str, str]], body: bytes
) -> None:
    request.send_response_only(status)
    for name, value in headers:
        request.send_header(name, value)
    if request.command != "HEAD":
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
