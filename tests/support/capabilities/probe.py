"""A request that uses one feature, and what shows what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.capabilities import Front
from proxy.credentials import Kind
from proxy.simulator import Step

MODEL: Final = "claude-sonnet-4-6"
QUESTION: Final = "Hello, who is there?"
FILE_ID: Final = "file_erasmus"
"""Stands for the id of a file that is not uploaded before the kind is known."""
Json = Mapping[str, object]

_PATHS: Final = {
    Front.MESSAGES: "/v1/messages",
    Front.CHAT: "/v1/chat/completions",
    Front.TEXT: "/v1/completions",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file that is uploaded."""

    name: str
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One feature in use.

    Attributes:
        asks: for each dialect that has it, the top-level fields that are added to the smallest request.
        token: stands in what the upstream is asked where it is carried, and nowhere where it is dropped.
        tokens: the same for kinds that say it in other words; empty for those that say nothing. What is not said of
            Claude Code is what Anthropic's API is asked.
        told: what stands in the client's answer where it is carried or emulated, by dialect.
        untold: what does not stand there then.
        model: one that takes the feature.
        betas: ``anthropic-beta``.
        step: how the upstream answers; None for the simulated model's own way.
        foreign: kinds whose simulated upstream would refuse it, so that it is made to answer all the same.
        path: where it is asked for, if not at the dialect's usual address.
        sends: the whole body, where it is no request of a dialect.
        content_type: of the body.
        file: what is uploaded before, where the kind keeps files; its id then stands for `FILE_ID`.
    """

    asks: Mapping[Front, Json]
    token: bytes = b""
    tokens: Mapping[Kind, bytes] = field(default_factory=dict)
    told: Mapping[Front, bytes] = field(default_factory=dict)
    untold: bytes = b""
    model: str = MODEL
    betas: str = ""
    step: Step | None = None
    foreign: frozenset[Kind] = frozenset()
    path: str = ""
    sends: bytes = b""
    content_type: str = "application/json"
    file: File | None = None

    def address(self, front: Front) -> str:
        """The path of the request."""
        return self.path or _PATHS[front]

    def body(self, front: Front) -> bytes:
        """The request in a dialect."""
        if self.sends:
            return self.sends
        plain: dict[str, object] = {"model": self.model}
        if front is Front.TEXT:
            plain["prompt"] = QUESTION
        else:
            plain["messages"] = [{"role": "user", "content": QUESTION}]
        if front is Front.MESSAGES and not self.path:
            plain["max_tokens"] = 4096
        return msgspec.json.encode({**plain, **self.asks[front]})

    def evidence(self, kind: Kind) -> bytes:
        """What stands in what an upstream of this kind is asked."""
        if kind is Kind.CLAUDE_CODE and kind not in self.tokens:
            kind = Kind.ANTHROPIC
        return self.tokens.get(kind, self.token)


def everywhere(fields: Json) -> Mapping[Front, Json]:
    """The same fields in each dialect."""
    return dict.fromkeys(Front, fields)


def in_both(fields: Json) -> Mapping[Front, Json]:
    """The same fields in Messages and Chat Completions."""
    return {Front.MESSAGES: fields, Front.CHAT: fields}


def in_openais(fields: Json) -> Mapping[Front, Json]:
    """The same fields in both dialects of OpenAI's."""
    return {Front.CHAT: fields, Front.TEXT: fields}


def saying(*parts: Json) -> Json:
    """A question of content parts, with a text behind them."""
    return {"messages": [{"role": "user", "content": [*parts, {"type": "text", "text": QUESTION}]}]}


def turns(*said: tuple[str, object]) -> Json:
    """A conversation of roles and contents."""
    return {"messages": [{"role": role, "content": content} for role, content in said]}


OPENAI: Final = frozenset({Kind.OPENAI})
ANTHROPIC: Final = frozenset({Kind.ANTHROPIC, Kind.CLAUDE_CODE})
"""Those that ask Anthropic's API."""
CLAUDE: Final[Sequence[Kind]] = (Kind.ANTHROPIC, Kind.CLAUDE_WEB, Kind.CLAUDE_CODE)
