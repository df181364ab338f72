"""An order that a person gives to a function, with what proves who gave it.

Lambda does not tell a function who invoked it, and anybody can say to be somebody else. So an order
comes with a request to STS, GetCallerIdentity, that its giver signed: only they could sign it, AWS
alone can check it, and it names this very order.
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Proof:
    """What a signed request to GetCallerIdentity needs besides what everybody knows of it."""

    authorization: str = field(repr=False)
    """The header of Signature Version 4: which key, which headers, the signature."""
    date: str
    """As `20260301T120000Z`; AWS takes it for some minutes."""
    token: str = field(default="", repr=False)
    """Of temporary credentials."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, as JSON, and of which function: another may not be handed the same order."""

    text: str
    function: str

    @property
    def digest(self) -> str:
        """The SHA-256 that the giver's signature covers, in hexadecimal."""
        return hashlib.sha256(f"{self.function}\n{self.text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Given:
    """An order and its proof."""

    order: Order
    proof: Proof = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotProven:
    """Nobody, or somebody else, gave this order; `reason` is a sentence for whoever sent it."""

    reason: str
