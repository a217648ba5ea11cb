"""What a conversation was up to its newest question, as a digest, so that one the site holds already is recognised.

Whoever asks again sends everything that was said. Where a session holds exactly that, only what is new has to be
sent. An answer counts by its text alone, since clients bring back no more of it; thinking and cache marks never count,
since clients drop and move them.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from proxy.model.content import (
    Block,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage, Request

_DIGEST_BYTES: Final = 24
# clients that read only text are shown thinking ahead of it, and bring it back there
_SHOWN_THINKING: Final = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_encoder = msgspec.json.Encoder()


class History(msgspec.Struct, frozen=True):
    """Digests of a request's messages, in hexadecimal.

    Attributes:
        before: of all up to the last answer; what follows is new.
        whole: of all.
    """

    before: str
    whole: str

    def answered(self, text: str) -> str:
        """The digest of all together with the answer to it: what `before` is in the next request."""
        return _next(self.whole, _answer(text))


def history_of(request: Request, owner: str) -> History | None:
    """The history of a request made by `owner`; None where its newest message is an answer that is to go on."""
    if not request.messages or request.messages[-1].role == "assistant":
        return None
    before = whole = _next("", _encoder.encode([owner, *(block.text for block in request.system)]))
    for message in request.messages:
        whole = _next(whole, _said(message))
        if message.role == "assistant":
            before = whole
    return History(before, whole)


def newest(request: Request) -> Request | None:
    """The request with only what was said after the last answer; None where there was no answer."""
    answers = [index for index, message in enumerate(request.messages) if message.role == "assistant"]
    if not answers or answers[-1] + 1 == len(request.messages):
        return None
    return msgspec.structs.replace(request, system=[], messages=request.messages[answers[-1] + 1 :])


def _next(digest: str, said: bytes) -> str:
    return hashlib.blake2b(digest.encode() + said, digest_size=_DIGEST_BYTES).hexdigest()


def _answer(text: str) -> bytes:
    return b"assistant" + _SHOWN_THINKING.sub("", text).strip().encode()


def _said(message: InputMessage) -> bytes:
    if message.role == "assistant" and all(
        isinstance(block, TextBlock | ThinkingBlock | RedactedThinkingBlock) for block in message.content
    ):
        return _answer("".join(block.text for block in message.content if isinstance(block, TextBlock)))
    return _encoder.encode([message.role, _blocks(message.content)])


def _blocks(blocks: Sequence[Block]) -> list[object]:
    return [_block(block) for block in blocks]


def _block(block: Block) -> object:
    if isinstance(block, msgspec.Raw):
        return bytes(block).decode("utf-8", "replace")
    match block:
        case TextBlock(text=text):
            return text
        case ImageBlock(source=source):
            return ["image", source]
        case DocumentBlock(source=source, title=title):
            return ["document", title, source]
        case ToolUseBlock(name=name, input=given):
            return ["call", name, bytes(given).decode()]
        case ToolResultBlock(content=content):
            return ["result", _blocks(content)]
        case ThinkingBlock() | RedactedThinkingBlock():
            return None
        case _:
            assert_never(block)
