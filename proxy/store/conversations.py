"""What is kept of conversations: their histories, where clients work, and what belonged together used.

Every owner sees their own alone; what is another's is as if it were not there.
"""

from dataclasses import dataclass
from typing import Final, Protocol

OWNED_MAX: Final = 1000
"""How many conversations are kept of each owner; those used longest ago go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRow:
    """A conversation with its history.

    Attributes:
        owner: a digest of the client key it belongs to.
        id: its id, ours.
        dialect: in whose words its history is; empty while it has none.
        model: the model of turns that name none; empty for the server's default.
        project_path: the directory below the root of projects that it is about; empty for none.
        metadata: what the client keeps with it, a JSON object.
        system: the instructions before its first turn, a JSON array of what the dialect has for them.
        messages: its turns, a JSON array of messages.
        message_count: how many messages it ever had, forgotten ones included.
        created_unix_ms: when it was made.
        used_unix_ms: when it was last used.
    """

    owner: str
    id: str
    dialect: str = ""
    model: str = ""
    project_path: str = ""
    metadata: str = "{}"
    system: str = "[]"
    messages: str = "[]"
    message_count: int = 0
    created_unix_ms: int
    used_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationLine:
    """A conversation as it stands in a list, without what was said."""

    id: str
    metadata: str
    message_count: int
    created_unix_ms: int
    used_unix_ms: int


@dataclass(frozen=True, slots=True)
class ConversationVersion:
    """Which state of a conversation somebody has: of two the one with more messages is newer, then the later one."""

    owner: str
    id: str
    message_count: int
    used_unix_ms: int


class ConversationStore(Protocol):
    """Where histories rest. Every call ends within 2 seconds, if need be with `StoreError`."""

    async def save(self, row: ConversationRow) -> None:
        """Keep it in place of an earlier state of it; when this returns it is on disk."""
        ...

    async def find(self, owner: str, id: str, used_after_unix_ms: int) -> ConversationRow | None:  # noqa: A002 - the wire's own word
        """The conversation; None where there is none that was used after that time."""
        ...

    async def lines(self, owner: str, used_after_unix_ms: int) -> tuple[ConversationLine, ...]:
        """An owner's conversations that were used after that time, in no order."""
        ...

    async def count(self, owner: str | None, used_after_unix_ms: int) -> int:
        """How many there are of an owner, or of all."""
        ...

    async def delete(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """Forget it at once. Returns whether it was there."""
        ...

    async def forget(self, used_before_unix_ms: int) -> bool:
        """Delete some that were not used since. Returns whether there may be more."""
        ...

    async def crop(self, owner: str, most: int) -> None:
        """Leave an owner only so many: those used longest ago go."""
        ...


class OwnConversations(ConversationStore, Protocol):
    """Those of one database."""

    async def versions(self, used_after_unix_ms: int, most: int) -> tuple[ConversationVersion, ...]:
        """Of the conversations that were used after that time; of more than so many those used last."""
        ...

    async def drop(self, version: ConversationVersion) -> None:
        """Forget a conversation unless its state is a newer one by now."""
        ...


class SharedConversations(ConversationStore, Protocol):
    """Those of all processes together, with what rests in the memory of one of them."""

    async def lend(self, row: ConversationRow) -> None:
        """Have the others find, for as long as it lives, what rests in this process's memory alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """A directory a client works in.

    Attributes:
        owner: a digest of the client key it belongs to.
        id: its id, ours.
        name: what the client calls it.
        description: what the client says of it.
        path: absolute, below the root of projects.
        created_unix_ms: when it was made.
        updated_unix_ms: when it was made, or last named by a request.
    """

    owner: str
    id: str
    name: str
    description: str
    path: str
    created_unix_ms: int
    updated_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """Requests that belong together, and what they used.

    Attributes:
        owner: a digest of the client key it belongs to.
        id: ours, or what the client called it.
        project_id: the project it is about; None for none.
        title: what the client calls it.
        model: the model it is about, and then the last that was asked.
        system_prompt: the instructions it was made with.
        messages: questions and answers.
        tokens: all tokens of all answers.
        micro_usd: millionths of a US dollar, of the answers whose cost is known.
        created_unix_ms: when it was made.
        updated_unix_ms: when it was last used.
    """

    owner: str
    id: str
    project_id: str | None = None
    title: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    messages: int = 0
    tokens: int = 0
    micro_usd: int = 0
    created_unix_ms: int
    updated_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSums:
    """All sessions of an owner together.

    Attributes:
        sessions: how many there are.
        active: how many were used lately.
        messages: of all of them.
        tokens: of all of them.
        micro_usd: of all of them.
        models: how many sessions are about each model.
    """

    sessions: int = 0
    active: int = 0
    messages: int = 0
    tokens: int = 0
    micro_usd: int = 0
    models: dict[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        skip: how many rows come before it.
        most: how many rows it holds at most.
    """

    skip: int
    most: int


class ProjectStore(Protocol):
    """Projects and sessions. Every call ends within 2 seconds, if need be with `StoreError`."""

    async def add_project(self, row: ProjectRow, most: int) -> bool:
        """Keep a new project. False where its owner has so many already, or one with this path."""
        ...

    async def find_project(self, owner: str, id: str) -> ProjectRow | None:  # noqa: A002 - the wire's own word
        """The project; None where there is none."""
        ...

    async def projects(self, owner: str, page: Page) -> tuple[tuple[ProjectRow, ...], int]:
        """A page of an owner's projects, those used last first, and how many there are in all."""
        ...

    async def delete_project(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """Forget it. Returns whether it was there."""
        ...

    async def add_session(self, row: SessionRow) -> None:
        """Add what a request used to its session, which is made if there is none; see `SessionRow`."""
        ...

    async def find_session(self, owner: str, id: str) -> SessionRow | None:  # noqa: A002 - the wire's own word
        """The session; None where there is none."""
        ...

    async def sessions(
        self, owner: str, page: Page, project_id: str | None
    ) -> tuple[tuple[SessionRow, ...], int]:
        """A page of an owner's sessions, or of those of a project, those used last first, and how many in all."""
        ...

    async def session_sums(self, owner: str, active_after_unix_ms: int) -> SessionSums:
        """All of an owner's sessions together."""
        ...

    async def delete_session(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """Forget it. Returns whether it was there."""
        ...

    async def forget_sessions(self, used_before_unix_ms: int) -> bool:
        """Delete some that were not used since. Returns whether there may be more."""
        ...


class OwnProjects(ProjectStore, Protocol):
    """Those of one database."""

    async def projects_after(self, owner: str, id: str, most: int) -> tuple[ProjectRow, ...]:  # noqa: A002 - the wire's own word
        """So many projects of anybody, in the order of owners and ids, from behind this one on."""
        ...

    async def sessions_after(self, owner: str, id: str, most: int) -> tuple[SessionRow, ...]:  # noqa: A002 - the wire's own word
        """So many sessions of anybody, in the order of owners and ids, from behind this one on."""
        ...
