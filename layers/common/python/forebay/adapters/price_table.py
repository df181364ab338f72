"""Price tables: YAML files, one per region, dated and with their source."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forebay.domain.policy.pricing import ClassPrices, PriceTable
from forebay.domain.policy.soundness import Problem
from forebay.domain.policy.storage_classes import StorageClass
from forebay.errors import PolicyError
from forebay.names import POLICY_PACKAGE, PRICES_FILE

if TYPE_CHECKING:
    from forebay.adapters.policy_files import PlacedProblem

PRICES_FOLDER: Final = "prices"
"""Below the folder of a policy."""
SCHEMA: Final = Path(__file__).resolve().parents[5] / "policies" / PRICES_FOLDER / "schema.json"
"""In the checkout, as that of the policies."""


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
    return _table(documents[region])


def compiled_prices(policies: Path) -> dict[str, Any]:
    """Return every region's table of a policy's folder, checked, as data for the policy layer.

    Raises:
        PolicyError: a table does not say what it must; a line for each problem.
    """
    paths = sorted((policies / PRICES_FOLDER).glob("*.yaml"))
    return {document["region"]: document for document in map(_sound, paths)}


def load_prices(path: Path) -> PriceTable:
    """Return the prices of a file; raises PolicyError with a line for each problem."""
    return _table(_sound(path))


def check_prices(path: Path) -> tuple[PriceTable | None, Sequence["PlacedProblem"]]:
    """Return the prices of a file, or everything that is wrong with it, by line."""
    document, problems = _checked(path)
    return (None if problems else _table(document)), problems


def _sound(path: Path) -> Mapping[str, Any]:
    document, problems = _checked(path)
    if problems:
        raise PolicyError("\n".join(map(str, problems)))
    return document


def _checked(path: Path) -> tuple[Mapping[str, Any], Sequence["PlacedProblem"]]:
    # YAML takes time to import, and is not in the functions: only those who plan read such files.
    from forebay.adapters.policy_files import placed_problems, read_file  # noqa: PLC0415

    document = read_file(path, name=_name(path))
    if isinstance(document.data.get("as_of"), date):
        document.data["as_of"] = document.data["as_of"].isoformat()
    problems = placed_problems(document, schema=SCHEMA)
    if not problems:
        problems = placed_problems(document, _too_fine(document.data))
    return document.data, problems


def _too_fine(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the prices that have more digits than an amount can hold."""
    for name, said in document["storage_classes"].items():
        try:
            ClassPrices.quoted(_decimals(said))
        except ValueError as error:
            yield Problem(("storage_classes", name), str(error))
    for to, price in document.get("egress_gb", {}).items():
        try:
            PriceTable.egress_quoted({to: _decimal(price)})
        except ValueError as error:
            yield Problem(("egress_gb", to), str(error))


def _table(document: Mapping[str, Any]) -> PriceTable:
    classes = document["storage_classes"]
    return PriceTable.quoted(
        document["region"],
        {each: ClassPrices.quoted(_decimals(classes[each.value])) for each in StorageClass},
        egress_gb=_decimals(document.get("egress_gb", {})),
        as_of=date.fromisoformat(document["as_of"]),
        source=document["source"].strip(),
    )


def _decimals(prices: Mapping[str, float]) -> dict[str, Decimal]:
    return {name: _decimal(price) for name, price in prices.items()}


def _decimal(price: float) -> Decimal:
    # The shortest text that is this number is the one in the file.
    return Decimal(str(price))


def _name(path: Path) -> str:
    """Return how people know a table: within its policy, or as they gave it."""
    is_policys = path.parent.name == PRICES_FOLDER
    return f"{PRICES_FOLDER}/{path.name}" if is_policys else str(path)
