"""What a request asks of Claude Code: what it may see as its history, what is new, and what goes beside both."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from proxy.credentials import Kind
from proxy.dialects.anthropic import read_messages
from proxy.errors import InvalidRequest
from proxy.model.content import (
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage
from proxy.pool import UpstreamError
from proxy.upstreams.base import Source, UpstreamRefused
from proxy.upstreams.claude_code.arguments import model_fits
from proxy.upstreams.claude_code.carrying import APPLIED, NOTHING, refusal, results_in
from proxy.upstreams.claude_code.environment import Carried
from proxy.upstreams.claude_code.turn import Edits

OWN_MODEL: Final = "claude-code"
_TOOLS: Final = frozenset({"tools", "tool_choice"})
_CARRIED_MAX_BYTES: Final = 120 * 1024
_DIGEST_BYTES: Final = 16
_encoder = msgspec.json.Encoder()
_orderly = msgspec.json.Encoder(order="sorted")


class _Fields(msgspec.Struct):
    model: str = ""
    system: str | list[TextBlock] | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        model: the model id; empty for the program's own choice.
        system: the system texts, with a blank line between two.
        history: what was said before the question, roles in turns.
        question: what the user says now.
        fields: further fields of the request, as JSON.
        owner: the name of the client's key.
    """

    model: str
    system: str
    history: tuple[InputMessage, ...]
    question: tuple[Block, ...]
    fields: dict[str, msgspec.Raw]
    owner: str = ""

    @property
    def resumes(self) -> bool:
        """Whether it brings results of tools, which a new process has to find in its history."""
        return bool(results_in(self.question))

    @property
    def brings_tools(self) -> bool:
        """Whether its client runs tools itself."""
        return self.resumes or any(bytes(self.fields.get(name, NOTHING[0])) not in NOTHING for name in _TOOLS)

    def edits(self, *, acts: bool = False) -> Edits:
        """What becomes of the program's request: the client's fields in place of its own.

        Where it `acts` the tools are the program's own.
        """
        found = {name: bytes(value) for name, value in self.fields.items() if not acts or name not in _TOOLS}
        taken = found.keys() | {"max_tokens"} | (_TOOLS if acts else frozenset())
        return Edits(found, frozenset(APPLIED) - taken)

    def carried(self) -> Carried:
        """The same for a program that goes out by itself. Raises UpstreamRefused for more than an environment holds."""
        others = {name: value for name, value in self.fields.items() if name != "max_tokens"}
        text = _encoder.encode(others).decode() if others else ""
        if len(text) > _CARRIED_MAX_BYTES:
            raise refused("tools: they are too large for a Claude Code login.")
        tokens = self.fields.get("max_tokens")
        return Carried(msgspec.json.decode(tokens, type=int) if tokens is not None else None, text)


def read_asked(body: bytes, owner: str = "") -> Asked:
    """Read the body of a Messages request. Raises UpstreamRefused for what Claude Code cannot be asked."""
    try:
        fields = msgspec.json.decode(body, type=_Fields)
        every = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        said = read_messages(body)
        messages = _in_turns(said)
    except InvalidRequest as problem:
        raise refused(problem.message) from None
    except (ValueError, RecursionError):
        raise refused("The request could not be read.") from None
    if (found := refusal(every, said)) is not None:
        raise refused(f"{found.param}: {found.message}")
    model = "" if fields.model == OWN_MODEL else fields.model
    if model and not model_fits(model):
        raise refused("model: it is not the id of a model.")
    return Asked(
        model=model,
        system=_system(fields.system),
        history=tuple(messages[:-1]),
        question=tuple(messages[-1].content),
        fields={name: every[name] for name in APPLIED if name in every},
        owner=owner,
    )


def refused(message: str) -> UpstreamRefused:
    """The answer to a request that cannot be carried, in the words the API would have used."""
    error = UpstreamError(
        status=400,
        type="invalid_request_error",
        message=message,
        code=None,
        headers={},
        kind=Kind.CLAUDE_CODE,
    )
    return UpstreamRefused(error, Source())


def digest(messages: Iterable[InputMessage], before: bytes = b"") -> bytes:
    """16 bytes that follow a conversation from its beginning, or from the digest of what came `before`.

    What clients do not bring back as they got it leaves no trace: thinking, marks for the prompt cache, the order of
    keys in the input of tools, where one text block ends and the next begins.
    """
    for message in messages:
        told = _encoder.encode((message.role, _plain(message.content)))
        before = blake2b(before + told, digest_size=_DIGEST_BYTES).digest()
    return before


def unmarked(block: Block) -> Block:
    """A block without its mark for the prompt cache, as the program sets marks of its own."""
    if isinstance(block, msgspec.Raw | ThinkingBlock | RedactedThinkingBlock):
        return block
    return block if block.cache_control is None else msgspec.structs.replace(block, cache_control=None)


def _plain(content: Sequence[Block]) -> list[object]:
    found: list[object] = []
    for block in content:
        match block:
            case ThinkingBlock() | RedactedThinkingBlock():
                continue
            case TextBlock(text=text):
                if found and isinstance(found[-1], str):
                    found[-1] += text
                elif text:
                    found.append(text)
            case ToolUseBlock(id=call, name=name, input=given):
                found.append((call, name, msgspec.Raw(_orderly.encode(msgspec.json.decode(given)))))
            case _:
                found.append(unmarked(block))
    return found


def _in_turns(messages: Sequence[InputMessage]) -> list[InputMessage]:
    """The same with neighbours of one role joined, and instructions in mid-conversation as the user's reminders."""
    found: list[InputMessage] = []
    for message in messages:
        content = [unmarked(block) for block in message.content]
        role = message.role
        if role == "system":
            role, content = "user", [_reminder(block) for block in content]
        if not content:
            continue
        if found and found[-1].role == role:
            content = [*found.pop().content, *content]
        found.append(InputMessage(role, content))
    if not found:
        raise InvalidRequest("messages: there is nothing in them.", param="messages")
    return found


def _reminder(block: Block) -> Block:
    if isinstance(block, TextBlock):
        return TextBlock(f"<system-reminder>\n{block.text}\n</system-reminder>")
    return block


def _system(system: str | list[TextBlock] | None) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    return "\n\n".join(block.text for block in system)
