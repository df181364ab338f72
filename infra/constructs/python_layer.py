"""A Lambda layer built on this machine, without Docker."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import jsii
from aws_cdk import (
    AssetHashType,
    BundlingOptions,
    DockerImage,
    ILocalBundling,
    RemovalPolicy,
    aws_lambda,
)
from constructs import Construct

from infra.bundling import Target, build
from infra.settings import ROOT, Settings

__all__ = ["RUNTIME", "PythonLayer"]

RUNTIME: Final = aws_lambda.Runtime.PYTHON_3_13


class PythonLayer(Construct):
    """The layer of a folder `layers/<name>/`, built for the profile's target.

    The asset's hash is that of the built files: a change of the builder or of a pin publishes a
    new version, a second build of the same does not. `finish` may add to the built folder.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        target: Target,
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        super().__init__(scope, f"Layer{name.capitalize()}")
        folder = ROOT / "layers" / name
        self.architecture = _architecture(settings, target)
        self.version = aws_lambda.LayerVersion(
            self,
            "Version",
            layer_version_name=f"{settings.prefix}-{name}",
            code=aws_lambda.Code.from_asset(
                str(folder),
                asset_hash_type=AssetHashType.OUTPUT,
                bundling=BundlingOptions(
                    image=DockerImage.from_registry("not-used"),
                    local=_LocalBundling(folder, target, finish),
                ),
            ),
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[self.architecture],
            removal_policy=RemovalPolicy.DESTROY,
        )


def _architecture(settings: Settings, target: Target) -> aws_lambda.Architecture:
    """Return what functions run on: Graviton in the cloud, this host locally."""
    if settings.is_local and not target.name.endswith(("arm64", "aarch64")):
        return aws_lambda.Architecture.X86_64
    return aws_lambda.Architecture.ARM_64


@jsii.implements(ILocalBundling)
class _LocalBundling:
    def __init__(self, folder: Path, target: Target, finish: Callable[[Path], None] | None) -> None:
        self._folder = folder
        self._target = target
        self._finish = finish

    def try_bundle(self, output_dir: str, *, image: DockerImage, **_: object) -> bool:
        """Build the layer; there is no Docker to fall back to, so it works or raises."""
        del image
        build(self._folder, Path(output_dir), self._target)
        if self._finish:
            self._finish(Path(output_dir))
        return True
