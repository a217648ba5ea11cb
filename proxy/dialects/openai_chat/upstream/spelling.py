"""A whole answer told as the stream of chunks that was asked for.

Source: "The chat completion chunk object" in OpenAI's API reference.
"""

from typing import Final

import msgspec

from proxy.dialects.openai_chat.upstream.chunk import DONE
from proxy.dialects.sse import encode_frame
from proxy.dialects.upstream import MessageBroken

_CHUNK: Final = msgspec.Raw(b'"chat.completion.chunk"')
_Fields = dict[str, msgspec.Raw]


class _Choice(msgspec.Struct):
    message: _Fields
    index: int = 0
    finish_reason: msgspec.Raw = msgspec.Raw(b"null")


_fields_decoder = msgspec.json.Decoder(_Fields)
_choices_decoder = msgspec.json.Decoder(list[_Choice])
_calls_decoder = msgspec.json.Decoder(list[_Fields] | None)
_encoder = msgspec.json.Encoder()


def spelled(body: bytes) -> bytes:
    """The frames of a whole answer: one chunk for each choice, one of usage, and the end.

    Fields nobody here knows keep their place. Raises MessageBroken for a body that is no completion.
    """
    try:
        completion = _fields_decoder.decode(body)
        choices = _choices_decoder.decode(completion.pop("choices", b"[]"))
        usage = completion.pop("usage", None)
        common = {**completion, "object": _CHUNK}
        frames = [encode_frame(_chunk(common, choice)) for choice in choices]
    except (ValueError, RecursionError):
        raise MessageBroken("the answer is no chat completion") from None
    if not frames:
        raise MessageBroken("the answer has no choice")
    if usage is not None:
        frames.append(encode_frame(_encoder.encode({**common, "choices": [], "usage": usage})))
    return b"".join([*frames, encode_frame(DONE)])


def _chunk(common: _Fields, choice: _Choice) -> bytes:
    delta = dict(choice.message)
    calls = _calls_decoder.decode(delta.get("tool_calls", b"null"))
    if calls:
        numbered = [{"index": msgspec.Raw(b"%d" % number), **call} for number, call in enumerate(calls)]
        delta["tool_calls"] = msgspec.Raw(_encoder.encode(numbered))
    told = {"index": choice.index, "delta": delta, "finish_reason": choice.finish_reason}
    return _encoder.encode({**common, "choices": [told]})
