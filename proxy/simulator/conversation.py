"""What the simulated Claude demands of the messages themselves: who speaks when, and what a turn may hold.

Sources of the wordings: Anthropic's documentation of tool use and thinking, messages in public reports.
"""

import re
from collections.abc import Iterator
from itertools import takewhile

from proxy.simulator.media import first_bytes, media_type_of
from proxy.simulator.models import Model
from proxy.simulator.signatures import is_signature
from proxy.simulator.wire import Block, Message, Source, TokenRequest

_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_THINKING = frozenset({"thinking", "redacted_thinking"})
_ROLES = frozenset({"user", "assistant", "system"})
INVALID_SIGNATURE = "Invalid `signature` in `thinking` block"
_NO_PREFILL = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)


def conversation_fault(request: TokenRequest, model: Model, *, strict: bool) -> str | None:
    """Why the messages are refused, or None; `strict` adds what the newest API version refuses."""
    messages = request.messages
    if not messages:
        return "messages: at least one message is required"
    if (fault := _roles(messages, model)) is not None:
        return fault
    if (fault := next(_contents(request, strict=strict), None)) is not None:
        return fault
    return next(_tool_turns(messages), None) or _tool_turn_begin(request) or _ending(request, model)


def _roles(messages: list[Message], model: Model) -> str | None:
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            return f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'"
        if message.role == "system" and not model.system_turns:
            return "role 'system' is not supported on this model"
    if messages[0].role != "user":
        return 'messages: first message must use the "user" role'
    return None


def _tool_turn_begin(request: TokenRequest) -> str | None:
    """With a thinking budget, a turn that is still waiting for its results has to begin with thinking."""
    if request.thinking is None or request.thinking.type != "enabled":
        return None
    spoken = [(index, one) for index, one in enumerate(request.messages) if one.role == "assistant"]
    index, last = spoken[-1] if spoken else (0, request.messages[0])
    blocks = last.content if isinstance(last.content, list) else []
    if not any(block.type == "tool_use" for block in blocks) or blocks[0].type in _THINKING:
        return None
    return (
        f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
        f"`{blocks[0].type}`. When `thinking` is enabled, a final `assistant` message must start with a thinking "
        "block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
    )


def _ending(request: TokenRequest, model: Model) -> str | None:
    last = request.messages[-1]
    if last.role != "assistant":
        return None
    thinks = request.thinking is not None and request.thinking.type == "enabled"
    if not model.prefill or thinks:
        return _NO_PREFILL
    text = last.content if isinstance(last.content, str) else (last.content[-1].text or "")
    if text != text.rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None


def _contents(request: TokenRequest, *, strict: bool) -> Iterator[str]:
    if isinstance(request.system, list):
        yield from _texts(request.system, "system")
    last = len(request.messages) - 1
    for index, message in enumerate(request.messages):
        content = message.content
        if not content:
            if message.role == "user" or (message.role == "assistant" and index != last):
                yield (
                    f"messages.{index}: all messages must have non-empty content "
                    "except for the optional final assistant message"
                )
            continue
        if isinstance(content, str):
            if message.role == "user" and not content.strip():
                yield "messages: text content blocks must contain non-whitespace text"
            continue
        yield from _texts(content, "messages")
        for position, block in enumerate(content):
            yield from _block(block, f"messages.{index}.content.{position}", message.role, strict=strict)


def _texts(blocks: list[Block], where: str) -> Iterator[str]:
    texts = [block.text for block in blocks if block.type == "text"]
    if "" in texts:
        yield f"{where}: text content blocks must be non-empty"
    if len(blocks) == 1 and texts and not (texts[0] or "").strip():
        yield f"{where}: text content blocks must contain non-whitespace text"


def _block(block: Block, where: str, role: str, *, strict: bool) -> Iterator[str]:
    match block.type:
        case "text" if block.text is None:
            yield f"{where}.text.text: Field required"
        case "image":
            yield from _image(block, where)
        case "document":
            yield from _document(block, where)
            if strict and role == "assistant":
                yield f"{where}: `document` blocks are not permitted in assistant messages"
        case "tool_use" if not _TOOL_ID.fullmatch(block.id):
            yield f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        case "thinking" if block.signature is None:
            yield f"{where}.thinking.signature: Field required"
        case "thinking" if not is_signature(block.signature or ""):
            yield f"{where}: {INVALID_SIGNATURE}"
        case _:
            pass


def _document(block: Block, where: str) -> Iterator[str]:
    if not isinstance(block.source, Source):
        yield f"{where}.document.source: Field required"
        return
    here = f"{where}.document.source.{block.source.type}"
    declared = block.source.media_type
    if block.source.type == "base64" and declared != "application/pdf":
        yield f"{here}.media_type: Input should be 'application/pdf'"
    elif block.source.type == "base64" and not first_bytes(block.source.data).startswith(b"%PDF-"):
        yield f"{where}: The PDF specified was not valid."
    elif block.source.type == "text" and declared != "text/plain":
        yield f"{here}.media_type: Input should be 'text/plain'"


def _image(block: Block, where: str) -> Iterator[str]:
    if not isinstance(block.source, Source):
        yield f"{where}.image.source: Field required"
    elif block.source.type == "base64":
        here = f"{where}.image.source.base64"
        declared = block.source.media_type
        if declared not in _IMAGE_TYPES:
            yield (
                f"{here}.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
            )
            return
        found = media_type_of(first_bytes(block.source.data))
        if found is None:
            yield f"{where}: Could not process image"
        elif found != declared:
            yield (
                f"{here}: The image was specified using the {declared} media type, "
                f"but the image appears to be a {found} image"
            )


def _tool_turns(messages: list[Message]) -> Iterator[str]:
    asked: list[str] = []
    for index, message in enumerate(messages):
        blocks = message.content if isinstance(message.content, list) else []
        results = {block.tool_use_id for block in takewhile(_is_result, blocks)}
        if message.role == "system" and not results:
            continue
        if missing := [tool_id for tool_id in asked if tool_id not in results]:
            yield _unanswered(index - 1, missing)
        if orphans := sorted(results.difference(asked)):
            yield (
                f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(orphans)}. Each `tool_result` block must have a corresponding `tool_use` block "
                "in the previous message."
            )
        asked = [block.id for block in blocks if block.type == "tool_use"]
    if asked:
        yield _unanswered(len(messages) - 1, asked)


def _is_result(block: Block) -> bool:
    return block.type == "tool_result"


def _unanswered(index: int, tool_ids: list[str]) -> str:
    return (
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(tool_ids)}. Each `tool_use` block must have a corresponding `tool_result` block "
        "in the next message."
    )
