"""A chat client's own body for an upstream of the same dialect: as it came, but for what must change."""

from collections.abc import Collection
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import Anything, decode_json, is_given
from proxy.dialects.splicing import splice

_SIGNED: Final = "reasoning_details"
_WITH_USAGE: Final = b'{"include_usage":true}'


class _Envelope(msgspec.Struct):
    messages: list[msgspec.Raw] | None = None
    stream_options: Anything = msgspec.UNSET


class _Message(msgspec.Struct, gc=False):
    reasoning_details: Anything = msgspec.UNSET


def passing_body(
    body: bytes, *, model: str, stream: bool, include_usage: bool, own_fields: Collection[str]
) -> tuple[bytes, tuple[Dropped, ...]]:
    """The body under another model, and what it lost.

    A stream is always asked for its usage. The signatures of Claude's thinking, which a client sends back as
    ``reasoning_details``, go to no other provider: the messages that hold them are written anew without.

    Args:
        body: as the client sent it.
        model: asked for instead of the client's.
        stream: whether the client asked for a stream.
        include_usage: whether it asked for usage.
        own_fields: top-level fields of our own, which are taken out.

    Raises:
        InvalidRequest: for a message that is no object.
    """
    seen = decode_json(_Envelope, body)
    changes = {"model": msgspec.json.encode(model)}
    if stream and not include_usage:
        options = seen.stream_options
        if isinstance(options, msgspec.Raw) and is_given(options):
            changes["stream_options"] = splice(options, set={"include_usage": b"true"}, remove=())
        else:
            changes["stream_options"] = _WITH_USAGE
    dropped = [Dropped(name, "has no meaning for this credential") for name in own_fields]
    messages = _unsigned(seen.messages or [], dropped)
    if messages is not None:
        changes["messages"] = msgspec.json.encode(messages)
    return splice(body, set=changes, remove=own_fields), tuple(dropped)


def _unsigned(messages: list[msgspec.Raw], dropped: list[Dropped]) -> list[msgspec.Raw] | None:
    """The messages without signatures; None where there are none."""
    changed = False
    for place, message in enumerate(messages):
        at = f"messages[{place}]"
        if decode_json(_Message, message, at=at).reasoning_details is msgspec.UNSET:
            continue
        messages[place] = msgspec.Raw(splice(message, set={}, remove=(_SIGNED,)))
        dropped.append(Dropped(f"{at}.{_SIGNED}", "thinking stays with the provider that signed it"))
        changed = True
    return messages if changed else None
