"""Bodies of claude.ai's calls, as far as the simulator reads them.

A field nobody has seen a client send is refused, so that a mistake of a client shows.
"""

import msgspec

FIRST_PARENT = "00000000-0000-4000-8000-000000000000"
"""What the first message of a conversation names as the message before it."""


class CreateBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new conversation."""

    uuid: str
    name: str = ""
    model: str | None = None
    is_temporary: bool = False
    include_conversation_preferences: bool = False
    paprika_mode: str | None = None
    compass_mode: str | None = None
    project_uuid: str | None = None


class CreateParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A new conversation inside its first completion."""

    name: str = ""
    model: str | None = None
    is_temporary: bool = False
    include_conversation_preferences: bool = False
    paprika_mode: str | None = None
    compass_mode: str | None = None
    project_uuid: str | None = None


class SettingsBody(msgspec.Struct):
    """A change of a conversation."""

    settings: dict[str, object] = msgspec.field(default_factory=dict)
    name: str | None = None


class DeleteBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a deletion names once more."""

    uuid: str


class AttachedText(msgspec.Struct, forbid_unknown_fields=True):
    """A text that travels inside the completion; `file_size` counts bytes."""

    file_name: str
    file_type: str
    file_size: int
    extracted_content: str


class TurnUuids(msgspec.Struct, forbid_unknown_fields=True):
    """What the two new messages will be called."""

    human_message_uuid: str
    assistant_message_uuid: str


class CompletionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A question."""

    prompt: str
    parent_message_uuid: str = FIRST_PARENT
    model: str | None = None
    timezone: str = "Etc/UTC"
    locale: str = "en-US"
    rendering_mode: str = "messages"
    turn_message_uuids: TurnUuids | None = None
    attachments: list[AttachedText] = msgspec.field(default_factory=list)
    files: list[str] = msgspec.field(default_factory=list)
    sync_sources: list[msgspec.Raw] = msgspec.field(default_factory=list)
    tools: list[msgspec.Raw] | None = None
    personalized_styles: list[msgspec.Raw] | None = None
    thinking_mode: str = "off"
    effort: str | None = None
    create_conversation_params: CreateParameters | None = None
