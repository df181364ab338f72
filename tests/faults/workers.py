"""Workers that stop between any two effects while others go on; one runs at a time."""

from collections.abc import Callable
from datetime import datetime
from threading import Lock, Thread


class Crash(BaseException):
    """The worker died; no code of its own sees it."""


class Worker:
    """Does one delivery's work; one that can pause has a thread, which runs only when told."""

    def __init__(self, label: str, work: Callable[[], object], *, started: datetime) -> None:
        self.label = label
        self.started = started
        self.skew_s = 0.0
        self.is_done = False
        self.is_doomed = False
        """It dies where it stands when it is told to go on."""
        self.failure: BaseException | None = None
        self._work = work
        self._thread: Thread | None = None
        self._go, self._stopped = Lock(), Lock()

    @property
    def can_pause(self) -> bool:
        """Whether others may run in the middle of its work."""
        return self._thread is not None

    def run(self) -> None:
        """Work to the end, in this thread."""
        try:
            self._work()
        except BaseException as exc:  # noqa: BLE001 - judged by the scheduler
            self.failure = exc
        self.is_done = True

    def start(self) -> None:
        """Work until the first pause, or to the end."""
        self._go.acquire()
        self._stopped.acquire()
        self._thread = Thread(target=self._body, name=self.label, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def resume(self) -> None:
        """Work until the next pause, or to the end."""
        self._go.release()
        self._stopped.acquire()
        if self.is_done and self._thread:
            self._thread.join()

    def pause(self) -> None:
        """Let others run; called by the work itself."""
        self._stopped.release()
        self._go.acquire()
        if self.is_doomed:
            raise Crash

    def _body(self) -> None:
        self.run()
        self._stopped.release()
