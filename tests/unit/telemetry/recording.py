"""A log that remembers, in the place of a module's own."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class RecordedLog:
    """Takes what a module logs.

    Attributes:
        lines: level, event and fields of each line.
    """

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **fields: object) -> None:
        """Take a line."""
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Take a line."""
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        """Take a line."""
        self.lines.append(("error", event, fields))

    def of(self, event: str) -> list[dict[str, object]]:
        """The fields of each line with this event."""
        return [fields for _, known, fields in self.lines if known == event]
