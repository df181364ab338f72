"""The compiled policy as JSON: what the policy layer carries. Neither YAML nor CEL is needed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from forebay.domain.policy.classes import (
    NOWHERE,
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Retention,
    Rule,
    Since,
    Site,
    Source,
    Tier,
)
from forebay.domain.policy.storage_classes import StorageClass
from forebay.names import Zone

__all__ = ["data_of", "policy_of"]

_DIGEST_LENGTH: Final = 16


def data_of(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON data; classes name their retention, which stands beside them."""
    retentions = {each.retention.name: each.retention for each in policy.classes.values()}
    return {
        "classes": {name: _class_data(each) for name, each in policy.classes.items()},
        "retentions": {name: _retention_data(each) for name, each in retentions.items()},
        "rules": [
            {
                "name": rule.name,
                "when": rule.condition,
                "class": rule.object_class,
                "source": _source_data(rule.source),
            }
            for rule in policy.rules
        ],
        "sites": {
            name: {
                "owner": site.owner,
                "residency": list(site.residency),
                "source": _source_data(site.source),
            }
            for name, site in policy.sites.items()
        },
    }


def policy_of(data: Mapping[str, Any]) -> Policy:
    """Return the policy that JSON data say; its digest is that of the data."""
    retentions = {name: _retention(name, each) for name, each in data.get("retentions", {}).items()}
    return Policy(
        classes={name: _class(name, each, retentions) for name, each in data["classes"].items()},
        rules=tuple(
            Rule(rule["name"], rule["when"], rule["class"], source=_source(rule))
            for rule in data["rules"]
        ),
        sites={
            name: Site(name, site["owner"], tuple(site["residency"]), source=_source(site))
            for name, site in data.get("sites", {}).items()
        },
        digest=_digest(data),
    )


def _digest(data: Mapping[str, Any]) -> str:
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_LENGTH]


def _class_data(each: ObjectClass) -> dict[str, Any]:
    return {
        "description": each.description,
        "owner": each.owner,
        "zone": each.zone.value,
        "key": each.key,
        "latency_seconds": each.latency_seconds,
        "tiers": [
            {
                "to": tier.storage_class.value,
                "after_days": tier.after_days,
                "measure": tier.measure.value,
                "min_bytes": tier.min_bytes,
                "source": _source_data(tier.source),
            }
            for tier in each.tiers
        ],
        "retention": each.retention.name,
        "replicate": each.replicate,
        "residency": list(each.residency),
        "needs_consent": each.needs_consent,
        "needs_sender_digest": each.needs_sender_digest,
        "source": _source_data(each.source),
    }


def _class(name: str, data: Mapping[str, Any], retentions: Mapping[str, Retention]) -> ObjectClass:
    return ObjectClass(
        name,
        data.get("owner", ""),
        zone=Zone(data["zone"]),
        retention=retentions.get(data["retention"]) or Retention(data["retention"]),
        description=data.get("description", ""),
        latency_seconds=data.get("latency_seconds", 1),
        tiers=tuple(
            Tier(
                tier["after_days"],
                Measure(tier["measure"]),
                storage_class=StorageClass(tier["to"]),
                min_bytes=tier["min_bytes"],
                source=_source(tier),
            )
            for tier in data.get("tiers", ())
        ),
        replicate=data.get("replicate", False),
        residency=tuple(data.get("residency", ())),
        key=data.get("key", ""),
        needs_consent=data.get("needs_consent", False),
        needs_sender_digest=data.get("needs_sender_digest", False),
        source=_source(data),
    )


def _retention_data(each: Retention) -> dict[str, Any]:
    return {
        "floor_days": each.floor_days,
        "ceiling_days": each.ceiling_days,
        "removal": each.removal.value,
        "since": each.since.value,
        "source": _source_data(each.source),
    }


def _retention(name: str, data: Mapping[str, Any]) -> Retention:
    return Retention(
        name,
        data["floor_days"],
        ceiling_days=data["ceiling_days"],
        removal=Removal(data["removal"]),
        since=Since(data["since"]),
        source=_source(data),
    )


def _source_data(source: Source) -> dict[str, Any]:
    return {"file": source.file, "line": source.line}


def _source(data: Mapping[str, Any]) -> Source:
    said = data.get("source")
    return Source(said["file"], said["line"]) if said else NOWHERE
