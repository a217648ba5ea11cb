"""A client that leaves the history of its conversations to the gateway, in either dialect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, Answer, House, Spoken

CONVERSATION: Final = "x-carousel-conversation"
_COUNTS: Final = re.compile(r" \([^()]*\)$")


class Shown(msgspec.Struct):
    """A conversation as ``/v1/conversations`` shows it."""

    id: str
    object: str
    created_at: int
    updated_at: int
    message_count: int
    metadata: dict[str, str]


class Upstream(msgspec.Struct):
    """What the upstream was asked."""

    messages: list[dict[str, object]]
    model: str
    system: list[dict[str, object]] | str = ""


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Said | None = None
    delta: _Said | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice] = []
    conversation_id: str = ""


class _Text(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    content: list[_Text]


@dataclass(slots=True)
class Talk:
    """One client's side of a conversation.

    Attributes:
        running: whom it asks.
        spoken: in which dialect.
        name: the conversation's id, as soon as it is known; empty for none.
        key: the client key.
        fields: further fields of each request.
        by_header: whether the conversation is named in a header instead of the body.
    """

    running: House
    spoken: Spoken = Spoken.CHAT
    name: str = ""
    key: str = CLIENT_KEY
    fields: dict[str, object] = field(default_factory=dict)
    by_header: bool = False

    async def begin(self, **wanted: object) -> Shown:
        """Make a conversation, and name it from now on."""
        status, body = await self.call("POST", "/v1/conversations", wanted)
        assert status == 200, body
        shown = msgspec.json.decode(body, type=Shown)
        self.name = shown.id
        return shown

    async def shown(self) -> Shown:
        """The conversation as it is now."""
        status, body = await self.call("GET", f"/v1/conversations/{self.name}")
        assert status == 200, body
        return msgspec.json.decode(body, type=Shown)

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Call an address of the gateway."""
        async with self.running.session.request(
            method,
            self.running.server.url + path,
            data=None if body is None else msgspec.json.encode(body),
            headers={"authorization": f"Bearer {self.key}", **(headers or {})},
        ) as answer:
            return answer.status, await answer.read()

    def body(self, *messages: object, stream: bool = False) -> bytes:
        """A request with these messages, texts being the user's."""
        said = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
        fields: dict[str, object] = {"model": MODEL, "messages": said, "stream": stream, **self.fields}
        if self.spoken is Spoken.MESSAGES:
            fields.setdefault("max_tokens", 1000)
        if self.name and not self.by_header:
            fields["conversation_id"] = self.name
        return msgspec.json.encode(fields)

    async def say(self, *messages: object, stream: bool = False) -> Answer:
        """Say something, whatever the answer."""
        headers = {CONVERSATION: self.name} if self.by_header and self.name else {}
        return await self.running.send(
            self.spoken, self.body(*messages, stream=stream), key=self.key, headers=headers
        )

    async def hear(self, *messages: object, stream: bool = False) -> str:
        """Say something, and read the answer's text; the id that comes with it is named from now on."""
        answer = await self.say(*messages, stream=stream)
        assert answer.status == 200, answer.body
        self.name = answer.headers.get(CONVERSATION, "")
        return text_of(answer, self.spoken)

    def asked(self, place: int = -1) -> Upstream:
        """What the upstream was asked, the last time or another."""
        asked = [one for one in self.running.simulator.record.requests if one.path.startswith("/v1/messages")]
        return msgspec.json.decode(asked[place].body, type=Upstream)

    def said(self, place: int = -1) -> list[str]:
        """Who said what in it, each message in one line, without what the echo counts."""
        turns = self.asked(place).messages
        return [f"{turn['role']}: {_COUNTS.sub('', _words(turn['content']))}" for turn in turns]


def text_of(answer: Answer, spoken: Spoken) -> str:
    """The text of an answer, streamed or whole."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        if spoken is Spoken.MESSAGES:
            message = msgspec.json.decode(answer.body, type=_Message)
            return "".join(block.text for block in message.content)
        (choice,) = msgspec.json.decode(answer.body, type=_Chat).choices
        return (choice.message.content if choice.message is not None else None) or ""
    if spoken is Spoken.MESSAGES:
        return answer.body.decode()
    return "".join(
        choice.delta.content or "" for chunk in chunks_of(answer) for choice in chunk.choices if choice.delta
    )


def chunks_of(answer: Answer) -> list[_Chat]:
    """The chunks of a streamed chat answer."""
    lines = [line.removeprefix(b"data: ") for line in answer.body.splitlines() if line.startswith(b"data: {")]
    return [msgspec.json.decode(line, type=_Chat) for line in lines]


def conversation_of(answer: Answer) -> str:
    """The conversation a whole chat answer names in its body; empty for none."""
    return msgspec.json.decode(answer.body, type=_Chat).conversation_id


def _words(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = msgspec.convert(content, list[_Text])
    return "".join(block.text or block.type for block in blocks)
