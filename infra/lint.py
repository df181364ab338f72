"""`python -m infra.lint`: synthesize every profile with the checks on, then cfn-lint the templates.

Layers are not built for this: what they hold does not change a template's shape.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from aws_cdk import App

from infra.deployment import compose
from infra.settings import ROOT, Settings

__all__ = ["main", "synthesize"]

DEPLOYMENTS: Final[dict[str, dict[str, str]]] = {
    "cloud": {
        "FOREBAY_REPLICA_REGION": "eu-west-1",
        "FOREBAY_SITES": "site-a,site-b",
        "FOREBAY_ALARM_EMAIL": "operations@example.org",
    },
    "local": {"FOREBAY_PROFILE": "local"},
}
"""Settings that between them use every stack and construct."""

# CDK writes a DependsOn on a role besides the reference that already orders it.
_IGNORED: Final = ("W3005",)


def synthesize(environment: dict[str, str], folder: Path) -> list[Path]:
    """Synthesize the app with some settings, without layers; return its templates."""
    context = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    app = App(context={**context, "aws:cdk:bundling-stacks": []}, outdir=str(folder))
    compose(app, Settings.read(app.node.try_get_context, environment))
    app.synth()
    return sorted(folder.glob("*.template.json"))


def main() -> int:
    """Check all; return the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        templates = [
            str(template)
            for name, environment in DEPLOYMENTS.items()
            for template in synthesize(environment, Path(scratch) / name)
        ]
        cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
        return subprocess.run(  # noqa: S603 (ours)
            [cfn_lint, "--ignore-checks", *_IGNORED, "--", *templates], check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
