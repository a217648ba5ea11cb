"""What the simulated claude.ai says: an echo precise enough for a test to see what arrived.

The word ``artifact`` in a prompt makes the model write one, and ``web search`` makes it look something up first.
"""

from collections.abc import Sequence

from proxy.simulator.messages import exactly, split_words
from proxy.simulator.web_ledger import Conversation, StoredFile
from proxy.simulator.web_render import WebPart, WebText, WebThought, WebTool
from proxy.simulator.web_wire import CompletionBody

_MAX_ECHO_CHARACTERS = 1000
_ARTIFACT: dict[str, object] = {
    "command": "create",
    "id": "simulated",
    "type": "application/vnd.ant.code",
    "language": "python",
    "title": "Simulated",
    "content": 'print("simulated")\n',
}


def compose(
    asked: CompletionBody,
    conversation: Conversation,
    files: Sequence[StoredFile],
    *,
    prefix: str,
    events: int | None,
    text: str | None,
) -> list[WebPart]:
    """The parts of an answer; `text` replaces the echo, `events` is the exact number of its pieces."""
    parts: list[WebPart] = []
    if asked.thinking_mode == "extended" or conversation.settings.get("paprika_mode") == "extended":
        thought = f"The user wrote {len(asked.prompt)} characters. I shall repeat them."
        parts.append(WebThought(split_words(thought), "Counted the characters."))
    if text is not None:
        return [*parts, WebText(_pieces(prefix + text, events))]
    words = asked.prompt.lower()
    if "web search" in words:
        parts.append(WebTool("toolu_01simsearch", "web_search", {"query": "simulated"}, "a page"))
    parts.append(WebText(_pieces(prefix + _echo(asked, files), events)))
    if "artifact" in words:
        parts.append(WebTool("toolu_01simartifact", "artifacts", _ARTIFACT, "OK"))
    return parts


def _pieces(text: str, events: int | None) -> list[str]:
    pieces = split_words(text)
    return pieces if events is None else exactly(pieces, events)


def _echo(asked: CompletionBody, files: Sequence[StoredFile]) -> str:
    prompt = asked.prompt
    shown = prompt if len(prompt) <= _MAX_ECHO_CHARACTERS else prompt[:_MAX_ECHO_CHARACTERS] + "…"
    came = [f"attachment {text.file_name} {text.file_size} bytes" for text in asked.attachments]
    came += [f"file {one.name} {one.media_type} {one.size_bytes} bytes" for one in files]
    return f'You said: "{shown}"' + (f" ({'; '.join(came)})" if came else "")
