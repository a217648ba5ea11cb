"""A conversation as one text, since the site takes a prompt and no messages.

Roles become words before each message and a blank line parts them, as the public clients of the site have it.
"""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from proxy.dialects.claude_web.files import FileCollector
from proxy.dialects.common import Dropped
from proxy.errors import InvalidRequest
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
from proxy.model.request import Request, Role

SYSTEM_PREFIX: Final = "System: "
_PREFIXES: Final[dict[Role, str]] = {"system": SYSTEM_PREFIX, "user": "Human: ", "assistant": "Assistant: "}
_BETWEEN: Final = "\n\n"
_LOOK: Final = "Please look at the attached files."


class Flattened(msgspec.Struct, frozen=True):
    """A request's messages as one text.

    Attributes:
        text: all of them.
        prefixed: whether their roles stand before them.
        dropped: blocks that have no words.
    """

    text: str
    prefixed: bool
    dropped: tuple[Dropped, ...]


def flatten(request: Request, files: FileCollector, *, role_prefixes: bool) -> Flattened:
    """Flatten a request; its files go to `files`. A single message of the user alone stays as it is.

    Raises InvalidRequest naming a block that cannot be carried, or ``messages`` where there is nothing to ask.
    """
    reader = _Reader(files)
    alone = not request.system and len(request.messages) == 1 and request.messages[0].role == "user"
    prefixed = role_prefixes and not alone
    said: list[tuple[Role, str]] = [("system", reader.instruction(block)) for block in request.system]
    for index, message in enumerate(request.messages):
        said.append((message.role, reader.words(message.content, f"messages[{index}]", named=not alone)))
    parts = [f"{_PREFIXES[role]}{text}" if prefixed else text for role, text in said if text]
    text = _BETWEEN.join(parts)
    if not text.strip():
        if not files.attachments and not files.uploads:
            raise InvalidRequest("messages has to hold a text or a file.", param="messages")
        text = _LOOK
    return Flattened(text, prefixed, tuple(reader.dropped.values()))


class _Reader:
    """Blocks to words.

    Attributes:
        dropped: what has none, by field.
    """

    def __init__(self, files: FileCollector) -> None:
        self.dropped: dict[str, Dropped] = {}
        self._files = files

    def instruction(self, block: TextBlock) -> str:
        """A text of the system prompt."""
        self._uncached(block)
        return block.text

    def words(self, blocks: Sequence[Block], at: str, *, named: bool) -> str:
        """The words of a message; `named` puts the names of files where they stood."""
        pieces = (
            self._piece(block, f"{at}.content[{index}]", named=named) for index, block in enumerate(blocks)
        )
        return "\n".join(piece for piece in pieces if piece)

    def _piece(self, block: Block, at: str, *, named: bool) -> str:
        if isinstance(block, msgspec.Raw):
            self._drop(at, "a block the site has no words for")
            return ""
        if isinstance(block, ThinkingBlock | RedactedThinkingBlock):
            self._drop("messages.thinking", "earlier thinking is not sent again")
            return ""
        self._uncached(block)
        match block:
            case TextBlock(text=text):
                return text
            case ImageBlock():
                name = self._files.image(block, at)
            case DocumentBlock():
                name = self._document(block, at)
            case ToolUseBlock():
                return f"[called {block.name} with {bytes(block.input).decode()}]"
            case ToolResultBlock(content=content):
                if block.is_error:
                    self._drop(f"{at}.is_error", "words do not say that a result is an error")
                return f"[the tool answered: {self.words(content, at, named=True)}]"
            case _:
                assert_never(block)
        return f"[{name}]" if named else ""

    def _document(self, block: DocumentBlock, at: str) -> str:
        if block.context:
            self._drop(f"{at}.context", "a document has no context here")
        if block.citations is not None and block.citations.enabled:
            self._drop(f"{at}.citations", "answers cite no documents here")
        return self._files.document(block, at)

    def _uncached(
        self, block: TextBlock | ImageBlock | DocumentBlock | ToolUseBlock | ToolResultBlock
    ) -> None:
        if block.cache_control is not None:
            self._drop("cache_control", "there is no prompt cache")

    def _drop(self, field: str, reason: str) -> None:
        self.dropped.setdefault(field, Dropped(field, reason))
