"""One client call, from the moment its request was read."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from proxy.dialects.common import Dialect, Envelope

Conversation = tuple[str, str, bytes]
"""Name of the client key, what the client calls the conversation, and the digest of how it began."""


class Operation(StrEnum):
    """What a client asks an upstream to do."""

    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    FILES = "files"
    BATCHES = "batches"


class Exchange(msgspec.Struct, kw_only=True):
    """One client call.

    Attributes:
        id: ``req_`` and 24 hex characters, ours.
        operation: what is asked.
        dialect: the client's wire format.
        envelope: what the peek told.
        body: the request body as received; emptied at the commit, when it can no longer be needed.
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
        files: media types of the files it names, by id.
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
    files: Mapping[str, str] = {}

    @property
    def stream(self) -> bool:
        """Whether the client wants a streamed answer."""
        return self.envelope.stream

    @property
    def continuing(self) -> bool:
        """Whether earlier turns of this conversation were answered somewhere: the history or a name for it says so."""
        return self.envelope.continuing or "conversation_id" in self.envelope.own_fields
