"""What the simulated model says: an echo of the request, precise enough for a test to see what arrived."""

import re

import msgspec

from proxy.simulator.media import Attachment, attachments_of
from proxy.simulator.models import Model
from proxy.simulator.prefix import NO_CACHING, Caching
from proxy.simulator.sample import sample
from proxy.simulator.wire import (
    Block,
    MessagesRequest,
    Tool,
    last_user_blocks,
    texts_of,
)

_MAX_ECHO_CHARACTERS = 1000
_PIECES = re.compile(r"\S+\s*|\s+")
_FILLER = "and so on "
_encoder = msgspec.json.Encoder()


class Text(msgspec.Struct):
    """Text, in the pieces a stream brings it in."""

    pieces: list[str]

    @property
    def text(self) -> str:
        """The whole."""
        return "".join(self.pieces)


class Thought(msgspec.Struct):
    """Thinking; `shown` is empty where only the signature is given out, which whoever answers puts on."""

    shown: list[str]
    tokens: int
    signature: str = ""


class Call(msgspec.Struct):
    """A call of a tool; `input` is JSON."""

    id: str
    name: str
    input: bytes


Part = Text | Thought | Call


class Answer(msgspec.Struct, kw_only=True):
    """One answer of the simulated model.

    Attributes:
        id: ``msg_`` and 24 characters.
        model: full id of the model.
        parts: the content, in order.
        stop_reason: why it ended.
        stop_sequence: the one that was met, if any.
        prompt_tokens: all of the prompt's tokens, cached ones included.
        output_tokens: words of all parts.
        caching: how the prompt was served.
    """

    id: str
    model: str
    parts: list[Part]
    stop_reason: str
    prompt_tokens: int
    output_tokens: int
    stop_sequence: str | None = None
    caching: Caching = NO_CACHING


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer is made with, beside the request.

    Attributes:
        number: counts answers; ids are made of it.
        prefix: what every text begins with.
        events: exactly so many pieces of text, or None.
        text: said instead of the echo, or None.
    """

    number: int
    prefix: str = ""
    events: int | None = None
    text: str | None = None


def message_id(number: int) -> str:
    """The id of an answer, by its number."""
    return f"msg_01sim{number:019d}"


def split_words(text: str) -> list[str]:
    """Text in words, each with the blanks that follow it; joined they are the text again."""
    return _PIECES.findall(text)


def thinks(request: MessagesRequest) -> bool:
    """Whether the answer begins with a thinking block: asked for, and no tool forced."""
    forced = request.tool_choice is not None and request.tool_choice.type in {"any", "tool"}
    return request.thinking is not None and request.thinking.type in {"enabled", "adaptive"} and not forced


def compose(request: MessagesRequest, model: Model, voice: Voice) -> Answer:
    """The answer to a request that was checked; the same for the same request and voice."""
    parts: list[Part] = []
    if thinks(request):
        parts.append(_thought(request, model))
    calls = _calls(request, voice.number) if voice.text is None else []
    text = _text(request, voice, calling=bool(calls))
    stop_reason, stop_sequence = ("tool_use" if calls else "end_turn"), None
    cut, met = _cut_at_stop(text, request.stop_sequences)
    if met is not None:
        calls, text, stop_reason, stop_sequence = [], cut, "stop_sequence", met
    pieces = split_words(text)
    if voice.events is not None:
        pieces = exactly(pieces, voice.events)
    if pieces:
        parts.append(Text(pieces))
    parts.extend(calls)
    parts, tokens, complete = _fit(parts, request.max_tokens)
    if not complete:
        stop_reason, stop_sequence = "max_tokens", None
    return Answer(
        id=message_id(voice.number),
        model=model.id,
        parts=parts,
        stop_reason=stop_reason,
        stop_sequence=stop_sequence,
        prompt_tokens=0,
        output_tokens=tokens,
    )


def _thought(request: MessagesRequest, model: Model) -> Thought:
    asked = request.thinking
    display = asked.display if asked is not None else None
    manual = asked is not None and asked.type == "enabled"
    count = len(texts_of(last_user_blocks(request.messages)))
    pieces = split_words(f"The user wrote {count} characters. I shall repeat them.")
    shown = display == "summarized" or (display is None and (manual or model.summarizes))
    return Thought(pieces if shown else [], len(pieces))


def _text(request: MessagesRequest, voice: Voice, *, calling: bool) -> str:
    if voice.text is not None:
        return voice.prefix + voice.text
    if calling:
        chosen = request.tool_choice
        forced = chosen is not None and chosen.type in {"any", "tool"}
        return "" if forced else voice.prefix + "Let me use a tool."
    structure = request.output_config.format if request.output_config is not None else None
    if structure is not None and structure.type == "json_schema":
        return _encoder.encode(sample(structure.schema)).decode()
    return voice.prefix + _echo(request)


def _echo(request: MessagesRequest) -> str:
    blocks = last_user_blocks(request.messages)
    results = [block for block in blocks if block.type == "tool_result"]
    if results:
        quoted = ", ".join(f'"{_shortened(_result_text(block))}"' for block in results)
        said = f"The tools returned: {quoted}"
        if words := texts_of(blocks):
            said += f' and you said: "{_shortened(words)}"'
    else:
        said = f'You said: "{_shortened(texts_of(blocks))}"'
    return f"{said} ({', '.join(_counts(request))})"


def _result_text(block: Block) -> str:
    content = block.content
    if isinstance(content, list):
        return texts_of(content)
    text = content if isinstance(content, str) else ""
    return f"error: {text}" if block.is_error else text


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_ECHO_CHARACTERS else text[:_MAX_ECHO_CHARACTERS] + "…"


def _counts(request: MessagesRequest) -> list[str]:
    counts = [_count(len(request.messages), "message")]
    if request.system:
        counts.append(f"system {_count(len(texts_of(request.system).encode()), 'byte')}")
    attachments = attachments_of(request.messages)
    for kind in ("image", "document"):
        counts.extend(_described(kind, [one for one in attachments if one.kind == kind]))
    if request.tools:
        counts.append(_count(len(request.tools), "tool"))
    return counts


def _described(kind: str, attachments: list[Attachment]) -> list[str]:
    if not attachments:
        return []
    details = "; ".join(attachment.describe() for attachment in attachments)
    return [f"{_count(len(attachments), kind)}: {details}"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _calls(request: MessagesRequest, number: int) -> list[Call]:
    choice = request.tool_choice
    tools = [tool for tool in request.tools or () if tool.input_schema is not None]
    blocks = last_user_blocks(request.messages)
    if (
        not tools
        or (choice is not None and choice.type == "none")
        or any(block.type == "tool_result" for block in blocks)
    ):
        return []
    alone = choice is not None and choice.disable_parallel_tool_use
    chosen = _chosen(tools, texts_of(blocks), choice.name if choice is not None else "")
    if not chosen and choice is not None and choice.type in {"any", "tool"}:
        chosen = tools[:1]
    return [
        Call(
            f"toolu_01s{number:019d}{index:02d}", tool.name, _encoder.encode(sample(tool.input_schema or {}))
        )
        for index, tool in enumerate(chosen[:1] if alone else chosen)
    ]


def _chosen(tools: list[Tool], text: str, wanted: str) -> list[Tool]:
    if wanted:
        tools = [tool for tool in tools if tool.name == wanted]
    if "parallel" in text:
        return tools[:2] if len(tools) > 1 else tools * 2
    if wanted:
        return tools
    return [tool for tool in tools if tool.name in text][:1]


def _cut_at_stop(text: str, sequences: list[str] | None) -> tuple[str, str | None]:
    found = [(text.find(sequence), sequence) for sequence in sequences or () if sequence in text]
    if not found:
        return text, None
    position, sequence = min(found)
    return text[:position], sequence


def exactly(pieces: list[str], count: int) -> list[str]:
    """So many pieces: the first ones, or all and some more words."""
    if len(pieces) >= count:
        return pieces[:count]
    filler = split_words(_FILLER)
    missing = count - len(pieces)
    padded = [*pieces[:-1], pieces[-1].rstrip() + " "] if pieces else []
    return [*padded, *(filler * (missing // len(filler) + 1))[:missing]]


def _fit(parts: list[Part], most: int) -> tuple[list[Part], int, bool]:
    """Parts cut to `most` tokens, what they cost, and whether nothing was cut."""
    fitting: list[Part] = []
    used = 0
    for part in parts:
        cost = _cost(part)
        if used + cost <= most:
            fitting.append(part)
            used += cost
            continue
        if isinstance(part, Text) and used < most:
            fitting.append(Text(part.pieces[: most - used]))
        return fitting, most, False
    return fitting, used, True


def _cost(part: Part) -> int:
    match part:
        case Text():
            return len(part.pieces)
        case Thought():
            return part.tokens
        case Call():
            return max(1, len(part.input) // 4)
