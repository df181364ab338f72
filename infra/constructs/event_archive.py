"""An archive of what a bus said, to be said again."""

from aws_cdk import Duration, aws_events
from constructs import Construct

from infra.settings import Settings

__all__ = ["EventArchive"]


class EventArchive(Construct):
    """An EventBridge archive.

    A replay is unordered and repeats what was done: both are what every step lives with anyway.
    `aws events start-replay` names the archive, the time and the rules to wake.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        bus: aws_events.IEventBus,
        pattern: aws_events.EventPattern,
    ) -> None:
        super().__init__(scope, f"Archive{name.capitalize()}")
        aws_events.Archive(
            self,
            "Archive",
            archive_name=f"{settings.prefix}-{name}",
            description=f"Forebay: {name}, for replay.",
            source_event_bus=bus,
            event_pattern=pattern,
            retention=Duration.days(settings.event_archive_days),
        )
