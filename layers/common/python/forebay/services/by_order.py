"""What people order of a function is done as whoever is proven to have ordered it.

Nobody but the steps that take orders writes exceptions and dispositions: that two persons agree is
decided there, not by the command line of whoever asks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from forebay.domain.orders import Given, NotProven
from forebay.services.ports import Callers

_Said = TypeVar("_Said")
_Said_contra = TypeVar("_Said_contra", contravariant=True)
_Answer = TypeVar("_Answer")
_Answer_co = TypeVar("_Answer_co", covariant=True)


class _Act(Protocol[_Said_contra, _Answer_co]):
    def __call__(self, said: _Said_contra, /, *, by: str) -> _Answer_co: ...


@dataclass(frozen=True, slots=True)
class ByOrder(Generic[_Said, _Answer]):
    """A step that takes orders: `act` on what one says, or `refuse` with the reason."""

    callers: Callers
    act: _Act[_Said, _Answer]
    refuse: Callable[[str], _Answer]

    def __call__(self, given: Given, said: _Said) -> _Answer:
        """Do what an order says as whoever gave it; raises what `act` does."""
        by = self.callers.caller(given.order, given.proof)
        return self.refuse(by.reason) if isinstance(by, NotProven) else self.act(said, by=by)
