"""One feature of the Messages API in use, as the bytes of its request and of its answer, whole and streamed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.dialects.sse import encode_frame

MODEL: Final = "claude-opus-5"
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature in use.

    Attributes:
        fields: top-level fields of the request, added to the smallest one.
        content: the blocks of the answer.
        betas: values of ``anthropic-beta``.
        answer: top-level fields of the answer, and of its usage under ``usage``, in place of the plain ones.
        deltas: for each block that has some, the deltas a stream brings it in.
        starts: for each block that differs there, the block as it stands in its start event.
    """

    fields: Json
    content: Sequence[Json] = ({"type": "text", "text": "Done."},)
    betas: tuple[str, ...] = ()
    answer: Json = field(default_factory=dict)
    deltas: dict[int, list[Json]] = field(default_factory=dict)
    starts: dict[int, Json] = field(default_factory=dict)

    def request(self, model: str, *, stream: bool, counting: bool = False) -> bytes:
        """The request's body, without blanks; to count tokens it has fewer fields."""
        body: Json = {"model": model, "messages": [{"role": "user", "content": "Go on. \u00e9\u2028"}]}
        if not counting:
            body |= {"max_tokens": 4096, "stream": stream}
        return msgspec.json.encode(body | self.fields)

    def whole(self) -> bytes:
        """The answer to a request without ``stream``."""
        return msgspec.json.encode(self._message(list(self.content)))

    def streamed(self) -> bytes:
        """The same answer as a stream."""
        message = self._message([])
        ended = {name: message.pop(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
        container = {"container": message.pop("container")} if "container" in message else {}
        edited = {name: message.pop(name) for name in ("context_management",) if name in message}
        events: list[Json] = [
            {"type": "message_start", "message": message | dict.fromkeys(ended)},
            {"type": "ping"},
        ]
        for index, block in enumerate(self.content):
            start = self.starts.get(index, block)
            events.append({"type": "content_block_start", "index": index, "content_block": start})
            events += [
                {"type": "content_block_delta", "index": index, "delta": delta}
                for delta in self.deltas.get(index, ())
            ]
            events.append({"type": "content_block_stop", "index": index})
        usage = message["usage"]
        events.append({"type": "message_delta", "delta": ended | container, "usage": usage} | edited)
        events.append({"type": "message_stop"})
        return b"".join(encode_frame(msgspec.json.encode(one), str(one["type"])) for one in events)

    def _message(self, content: list[Json]) -> Json:
        changed = dict(self.answer)
        usage = changed.pop("usage", {})
        counted = {"input_tokens": 12, "output_tokens": 34, "service_tier": "standard"}
        plain: Json = {
            "id": "msg_01feature",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "stop_details": None,
            "usage": counted | (usage if isinstance(usage, dict) else {}),
        }
        return plain | changed


def saying(*blocks: object) -> list[object]:
    """A history of one message."""
    return [{"role": "user", "content": list(blocks)}]


def use(kind: str, identifier: str, name: str, arguments: Mapping[str, object], **more: object) -> Json:
    """A call of a tool, of the client's or the provider's."""
    return {"type": kind, "id": identifier, "name": name, "input": arguments, **more}


def typed(arguments: Mapping[str, object]) -> list[Json]:
    """The arguments of a call as the deltas of a stream."""
    text = msgspec.json.encode(arguments).decode()
    parts = ("", text[:5], text[5:])
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


PNG: Final = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SEARCHED: Final = {"query": "purple herons"}
