"""What became of each conversation and file of the simulated claude.ai: the evidence that nothing was left behind."""

import msgspec


class Turn(msgspec.Struct, kw_only=True):
    """One message of a conversation.

    Attributes:
        uuid: its own.
        sender: ``human`` or ``assistant``.
        text: what was said.
        parent: uuid of the message before it.
    """

    uuid: str
    sender: str
    text: str
    parent: str


class Conversation(msgspec.Struct, kw_only=True):
    """One conversation. Times are the clock's monotonic seconds.

    Attributes:
        uuid: given by the client.
        organization: uuid.
        created_by: the session that made it.
        created_s: when.
        temporary: whether it was to be kept out of the history.
        name: its title.
        model: None where the account's default answers.
        settings: those of the conversation alone.
        turns: what was said.
        completions: answers asked for.
        deleted_by: the session that deleted it; empty while it is there.
        deleted_s: when.
    """

    uuid: str
    organization: str
    created_by: str
    created_s: float
    temporary: bool = False
    name: str = ""
    model: str | None = None
    settings: dict[str, object] = msgspec.field(default_factory=dict)
    turns: list[Turn] = msgspec.field(default_factory=list)
    completions: int = 0
    deleted_by: str = ""
    deleted_s: float | None = None


class StoredFile(msgspec.Struct, kw_only=True):
    """One uploaded file.

    Attributes:
        uuid: given by the site.
        name: as uploaded.
        media_type: as declared.
        size_bytes: of its content.
        organization: uuid.
        uploaded_by: the session.
        conversation: uuid of the one it was uploaded into; empty for the older call.
        used_in: uuids of the conversations whose completions named it.
    """

    uuid: str
    name: str
    media_type: str
    size_bytes: int
    organization: str
    uploaded_by: str
    conversation: str = ""
    used_in: list[str] = msgspec.field(default_factory=list)


class Leak(msgspec.Struct, frozen=True):
    """A request that brought something of another session, or an API key.

    Attributes:
        key: the session it authenticated with.
        header: name of the header.
        call: which call it was.
    """

    key: str
    header: str
    call: str


class Ledger(msgspec.Struct):
    """Everything there was, since the start or the last reset.

    Attributes:
        conversations: by uuid, in the order of their creation; deleted ones stay.
        files: by uuid.
        uploaded_bytes: of all uploads and conversions.
        account_changes: how often a person's own settings were overwritten.
        leaks: requests that mixed sessions up.
    """

    conversations: dict[str, Conversation] = msgspec.field(default_factory=dict)
    files: dict[str, StoredFile] = msgspec.field(default_factory=dict)
    uploaded_bytes: int = 0
    account_changes: int = 0
    leaks: list[Leak] = msgspec.field(default_factory=list)

    @property
    def alive(self) -> list[Conversation]:
        """Conversations that nobody has deleted."""
        return [one for one in self.conversations.values() if not one.deleted_by]

    @property
    def deleted(self) -> list[Conversation]:
        """Conversations that were deleted."""
        return [one for one in self.conversations.values() if one.deleted_by]

    def clear(self) -> None:
        """Forget everything."""
        self.conversations.clear()
        self.files.clear()
        self.leaks.clear()
        self.uploaded_bytes = self.account_changes = 0
