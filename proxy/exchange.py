"""One client call, from the moment its request was read."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import msgspec

from proxy.credentials import Kind
from proxy.dialects.common import Dialect, Envelope

Conversation = tuple[str, str, bytes]
"""Name of the client key, what the client calls the conversation, and the digest of how it began."""


def turn_of_thread(client: str, previous_message_id: str) -> Conversation:
    """The conversation a turn of a message thread belongs to: the one whose last answer it names."""
    return client, previous_message_id, b""


class Operation(StrEnum):
    """What a client asks an upstream to do."""

    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    FILES = "files"
    BATCHES = "batches"


class Belonging(msgspec.Struct, kw_only=True):
    """What a client call belongs to beyond itself.

    Attributes:
        conversation: id of the conversation whose next turn it is; empty for none.
        kinds: whose answers are turns of it; None for those of all kinds.
        told: whether the answer in hand is one, so that it is remembered and the client is told.
        session: id of the session it counts for; empty for none.
        owner: whose sessions of Claude Code it may go on with.
        folder: the folder of the project it names; empty for none.
        code_session: id of the session of Claude Code the answer belongs to; empty for none.
    """

    conversation: str = ""
    kinds: frozenset[Kind] | None = None
    told: bool = False
    session: str = ""
    owner: str = ""
    folder: str = ""
    code_session: str = ""

    def in_session(self, session: str) -> None:
        """The answer belongs to this session of Claude Code."""
        self.code_session = session

    def asks(self, kind: Kind) -> None:
        """A credential of this kind is asked now."""
        self.told = bool(self.conversation) and (self.kinds is None or kind in self.kinds)


class Exchange(msgspec.Struct, kw_only=True):
    """One client call.

    Attributes:
        id: ``req_`` and 24 hex characters, ours.
        operation: what is asked.
        dialect: the client's wire format.
        envelope: what the peek told.
        body: the request body as received, but with data URLs for the files it names by path; emptied at the commit,
            when it can no longer be needed.
        client: name of the client key, never the key.
        model: the model id to ask upstream, after aliases.
        think: whether a ``-think`` suffix asked for thinking.
        limit_class: the limits this call counts against.
        started_s: monotonic seconds when the request had been read.
        deadline_s: monotonic seconds after which nothing more is tried.
        created_s: Unix seconds, shown as ``created``.
        conversation: what tells it from the client's other conversations; nothing of it can be read.
        version: the client's ``anthropic-version``, if any.
        beta: the client's ``anthropic-beta``, if any.
        owner: alias of the one credential that can answer, because files the request names lie there; None for any.
        files: media types of the files it may name, by id; None where it may name any, as there is none here.
        credentials: aliases of the credentials the client key may use; empty for all.
        permits: whether the client key may ask for a model; None where it may ask for every one.
        rewritten: whether the top level of the body is written anew where the upstream might else read another model
            than we.
        belongs: the conversation and the session it is part of; None where it is part of neither.
        leave: waits until the limits of the client key have let it in, and raises why they do not; to be called before
            anybody is asked. None where they have.
    """

    id: str
    operation: Operation
    dialect: Dialect
    envelope: Envelope
    body: bytes
    client: str
    model: str
    limit_class: str
    started_s: float
    deadline_s: float
    created_s: int
    think: bool = False
    conversation: Conversation = ("", "", b"")
    version: str | None = None
    beta: str | None = None
    owner: str | None = None
    files: Mapping[str, str] | None = None
    credentials: frozenset[str] = frozenset()
    permits: Callable[[str], bool] | None = None
    rewritten: bool = False
    belongs: Belonging | None = None
    leave: Callable[[], Awaitable[None]] | None = None

    @property
    def stream(self) -> bool:
        """Whether the client wants a streamed answer."""
        return self.envelope.stream

    @property
    def continuing(self) -> bool:
        """Whether earlier turns were answered somewhere: the history says so, or whom this one follows."""
        envelope = self.envelope
        return envelope.continuing or bool(envelope.thread)
