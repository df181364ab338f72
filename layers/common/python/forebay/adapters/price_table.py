"""Price tables: YAML files, one per region, dated and with their source."""

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from forebay.domain.policy.pricing import ClassPrices, PriceTable
from forebay.domain.policy.storage_classes import StorageClass
from forebay.errors import PolicyError
from forebay.names import POLICY_PACKAGE, PRICES_FILE

_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
PRICES_FOLDER: Final = "prices"
"""Below the folder of a policy."""
PRICES: Final = (
    "storage_gb_month",
    "put_per_1000",
    "transition_per_1000",
    "get_per_1000",
    "retrieval_gb",
    "restore_per_1000",
)
"""What each storage class must quote, in the table's currency."""


def prices_for(region: str, policies: Path) -> PriceTable:
    """Return the prices of a region from a policy's folder; raises PolicyError without any."""
    folder = policies / PRICES_FOLDER
    path = folder / f"{region}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.yaml"))) or "none"
        raise PolicyError(
            f"There are no prices for {region}: expected {path} (there are: {known})."
            " Write that file from https://aws.amazon.com/s3/pricing/, or give another one."
        )
    table = load_prices(path)
    if table.region != region:
        raise PolicyError(f"{path}, region: expected {region}, found {table.region}.")
    return table


def deployed_prices(region: str) -> PriceTable | None:
    """Return the policy layer's prices of a region, None where it has none; no YAML is needed."""
    try:
        source = files(POLICY_PACKAGE) / PRICES_FILE
        documents: Mapping[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    except (ModuleNotFoundError, FileNotFoundError):
        return None
    if region not in documents:
        return None
    said = documents[region]
    document = {**said, "as_of": date.fromisoformat(said["as_of"])}
    return _Reader(Path(PRICES_FILE), document).table()


def compiled_prices(policies: Path) -> dict[str, Any]:
    """Return every region's table of a policy's folder, checked, as data for the policy layer.

    Raises:
        PolicyError: a table does not say what it must; the sentence names file and place.
    """
    found: dict[str, Any] = {}
    for path in sorted((policies / PRICES_FOLDER).glob("*.yaml")):
        document = _document(path)
        table = _Reader(path, document).table()
        found[table.region] = {**document, "as_of": table.as_of.isoformat()}
    return found


def load_prices(path: Path) -> PriceTable:
    """Return the prices of a file; raises PolicyError with file, place, expected and found."""
    return _Reader(path, _document(path)).table()


def _document(path: Path) -> Mapping[str, Any]:
    # YAML takes time to import, and only those who plan read prices.
    import yaml  # noqa: PLC0415

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PolicyError(f"{path} cannot be read as a price table: {error}") from error
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: expected a mapping at the top.")
    return document


class _Reader:
    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        self.path, self.document = path, document

    def table(self) -> PriceTable:
        as_of = self.document.get("as_of")
        if not isinstance(as_of, date):
            raise self.wrong("as_of", "a date like 2026-01-31", as_of)
        if self.document.get("currency") != "USD":
            raise self.wrong("currency", "USD", self.document.get("currency"))
        classes = self.section("storage_classes", self.document.get("storage_classes"))
        egress = self.section("egress_gb", self.document.get("egress_gb", {}))
        region = self.text("region")
        if not _REGION.fullmatch(region):
            raise self.wrong("region", "an AWS region like eu-central-1", region)
        quoted = {each: self.class_prices(each, classes.get(each.value)) for each in StorageClass}
        try:
            return PriceTable.quoted(
                region,
                quoted,
                egress_gb={str(to): self.price(f"egress_gb/{to}", egress[to]) for to in egress},
                as_of=as_of,
                source=self.text("source"),
            )
        except ValueError as error:
            raise PolicyError(f"{self.path}, egress_gb: {error}.") from error

    def class_prices(self, storage_class: StorageClass, said: Any) -> ClassPrices:
        place = f"storage_classes/{storage_class}"
        prices = self.section(place, said)
        if unknown := sorted(set(prices) - set(PRICES)):
            raise self.wrong(place, f"only {', '.join(PRICES)}", unknown[0])
        quoted = {each: self.price(f"{place}/{each}", prices.get(each)) for each in PRICES}
        try:
            return ClassPrices.quoted(quoted)
        except ValueError as error:
            raise PolicyError(f"{self.path}, {place}: {error}.") from error

    def price(self, place: str, said: Any) -> Decimal:
        is_number = isinstance(said, int | float) and not isinstance(said, bool)
        if not is_number or not 0 <= said < 10**6:
            raise self.wrong(place, "a price in the table's currency, 0 or more", said)
        # The shortest text that is this number is the one in the file.
        return Decimal(str(said))

    def section(self, place: str, said: Any) -> Mapping[str, Any]:
        if not isinstance(said, Mapping):
            raise self.wrong(place, "a mapping", said)
        return said

    def text(self, place: str) -> str:
        said = self.document.get(place)
        if not isinstance(said, str) or not said.strip():
            raise self.wrong(place, "text", said)
        return said.strip()

    def wrong(self, place: str, expected: str, found: Any) -> PolicyError:
        return PolicyError(f"{self.path}, {place}: expected {expected}, found {found!r}.")
