"""Long work on one object at a time: leases.

Reading a hundred gigabytes twice does no harm, but takes a quarter of an hour: deliveries of one
change that come at once should not both do it. What makes an outcome single is the conditional
write; a lease only spares work, and therefore may be lost, ignored or ended at any time.

    delivery a ── take ── work ─────────────── write ── end
    delivery b      └── held by a: leaves the object to it, and is done

b may be dropped, because the object is safe without it: a's message stays in its queue until a is
done and finds its own lease when it comes again; and where a was killed for good, the sweeper finds
the ended lease and gives the object to its step once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from forebay.domain.objects import ObjectRecord
from forebay.names import Step
from forebay.services.ports import Catalog, Clock, Lease

IN_PROGRESS: Final = "in progress"
"""The outcome of a delivery that left its object to another one."""
MARGIN_SECONDS: Final = 60
"""Clocks of workers and sweeper differ; a worker that stopped must be past its lease in both."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message: its id, the same when it comes again, and its worker's time left.

    Nothing of a worker outlives its function's timeout; hence a lease lasts as long as that.
    """

    message_id: str
    seconds_left: float


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Leasing:
    """Does the long work of one step."""

    catalog: Catalog
    clock: Clock
    step: Step

    def alone(self, record: ObjectRecord, delivery: Delivery, work: Callable[[], _T]) -> _T | None:
        """Return what the work gave, None when another delivery is at it.

        An exception leaves the lease: the message comes again and finds it its own.
        """
        now = self.clock.now()
        lease = Lease(
            object_id=record.object_id,
            record_version=record.version,
            step=self.step,
            holder=delivery.message_id,
            until=now + timedelta(seconds=delivery.seconds_left + MARGIN_SECONDS),
        )
        if not self.catalog.take_lease(lease, now):
            return None
        done = work()
        self.catalog.end_lease(lease)
        return done
