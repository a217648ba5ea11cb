"""What tells one conversation from another, found while peeking at a request.

Turns of one conversation share what their client calls it, if it says, and always how it began: the system prompt
and the first words of the user. Neither is kept, only a digest.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

import msgspec

from proxy.dialects.decoding import Anything, invalid

_PREFIX_MAX_BYTES: Final = 16 * 1024
_BEGINNING_BYTES: Final = 20 * 1024
_DIGEST_BYTES: Final = 16
_NAME_MAX_CHARS: Final = 256
_INSTRUCTIONS: Final = frozenset(("system", "developer"))


class Turn(msgspec.Struct, gc=False):
    """A message of a history, as far as it is looked at; `content` as it was written."""

    role: str = ""
    content: Anything = msgspec.UNSET


class _Part(msgspec.Struct, gc=False):
    text: str = ""


_turn = msgspec.json.Decoder(Turn)
_text = msgspec.json.Decoder(str)
_content = msgspec.json.Decoder(str | list[_Part])


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _UserId(msgspec.Struct):
    session_id: str = ""


class Opening(msgspec.Struct, frozen=True):
    """How a conversation began.

    Attributes:
        digest: BLAKE2b, 16 bytes, of the first 16 KiB of the system prompt and of the first user message. Only their
            words count: clients move their cache marks from one message to the next with every turn.
        continuing: whether the history holds an assistant message, so that a prompt cache may exist.
    """

    digest: bytes
    continuing: bool


def turns_in(items: Iterable[msgspec.Raw], field: str) -> Iterator[Turn]:
    """The items of a list as turns, read one by one; `field` is what the request calls the list.

    Raises InvalidRequest for an item that is no object.
    """
    for number, item in enumerate(items):
        try:
            yield _turn.decode(item)
        except (ValueError, RecursionError) as error:
            raise invalid(error, f"{field}[{number}]") from None


def opening(turns: Iterable[Turn] | None, system: Anything = msgspec.UNSET) -> Opening:
    """Look at a history no further than needed. Raises what taking its turns raises."""
    begin, first = system, msgspec.Raw()
    continuing = False
    for turn in turns or ():
        role = turn.role
        if role == "assistant":
            continuing = True
        elif role == "user" and not first:
            first = turn.content or msgspec.Raw(msgspec.json.encode(turn))
        elif role in _INSTRUCTIONS and begin is msgspec.UNSET:
            begin = turn.content
        if continuing and first:
            break
    return Opening(_digest(begin, first), continuing)


def session_in(metadata: Anything) -> str:
    """The session that clients like Claude Code put as JSON into ``metadata.user_id``; empty where there is none."""
    if metadata is msgspec.UNSET:
        return ""
    try:
        user_id = msgspec.json.decode(metadata, type=_Metadata).user_id or ""
        return short(msgspec.json.decode(user_id, type=_UserId).session_id) if user_id.startswith("{") else ""
    except (ValueError, RecursionError):
        return ""


def name_in(*fields: Anything) -> str:
    """The name a client gives a conversation in the first of some fields that has one; empty for what is no string."""
    for field in fields:
        if field is msgspec.UNSET:
            continue
        try:
            if name := msgspec.json.decode(field, type=str):
                return short(name)
        except (ValueError, RecursionError):
            continue
    return ""


def short(name: str) -> str:
    """A client's name for a conversation, or a digest of one that is long."""
    if len(name) <= _NAME_MAX_CHARS:
        return name
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def _digest(*contents: Anything) -> bytes:
    words = b""
    for content in contents:
        words += b"\0" if content is msgspec.UNSET or not content else _words(content) + b"\0"
    return blake2b(words, digest_size=_DIGEST_BYTES).digest()


def _beginning(content: msgspec.Raw) -> str | None:
    """Of a long text as much as is looked at, and a little more; None where it has to be read whole for that."""
    view = memoryview(content)
    if view.nbytes <= _BEGINNING_BYTES:
        return None
    written = view[:_BEGINNING_BYTES].tobytes()
    if not written.startswith(b'"'):
        return None
    try:
        text = _text.decode(b'%b"' % written.decode("utf-8", "ignore").encode())
    except ValueError:
        # an escape was cut
        return None
    return text if len(text) >= _PREFIX_MAX_BYTES else None


def _words(content: msgspec.Raw) -> bytes:
    """The beginning of what a text, or the texts among some blocks, say; of anything else as it was written."""
    try:
        found = _beginning(content) or _content.decode(content)
    except (ValueError, RecursionError):
        return bytes(memoryview(content)[:_PREFIX_MAX_BYTES])
    text = found if isinstance(found, str) else "\n".join([part.text for part in found])
    return text[:_PREFIX_MAX_BYTES].encode("utf-8", "surrogatepass")[:_PREFIX_MAX_BYTES]
