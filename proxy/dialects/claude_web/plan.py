"""A canonical request as what is done for it at claude.ai: a prompt, what comes with it, and what is watched here.

The site has no tools of the client's, no sampling settings, no stop sequences and no limit on tokens. What would
change the meaning of an answer is refused, what only tunes it is reported, and the last two are kept by cutting
the answer.
"""

from typing import Final, assert_never

import msgspec

from proxy.dialects.claude_web.files import (
    CONTEXT_NAME,
    Attachment,
    FileCollector,
    Upload,
    text_attachment,
)
from proxy.dialects.claude_web.flattening import SYSTEM_PREFIX, flatten
from proxy.dialects.claude_web.history import History, history_of, newest
from proxy.dialects.common import Dropped
from proxy.errors import InvalidRequest
from proxy.model.request import (
    Request,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingDisabled,
    ThinkingEnabled,
    ToolChoiceNone,
)

BYTES_PER_TOKEN: Final = 4
"""What a token is taken for where the site tells none."""

_ANSWER_FILE: Final = (
    f"The attached {CONTEXT_NAME} holds our conversation so far. Answer its last message in the assistant's "
    "place, and do not mention the file."
)
_NO_ARTIFACTS: Final = (
    "Write all code as fenced Markdown code blocks in the answer itself, never as artifacts."
)
_EFFORTS: Final = ("low", "medium", "high")
_STOP_SEQUENCES_MAX: Final = 64
_STOP_SEQUENCE_MAX_CHARACTERS: Final = 1000
_NO_SAMPLING: Final = "a claude.ai session has no sampling settings"


class PromptOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the operator wants prompts written.

    Attributes:
        max_history_characters: above so many characters the flattened history goes as a file.
        role_prefixes: whether each message says whose it is.
        disable_artifacts: whether the model is asked to write no artifacts.
        continues: whether conversations are kept at the site, so that one may be gone on with.
    """

    max_history_characters: int = 10_000
    role_prefixes: bool = True
    disable_artifacts: bool = False
    continues: bool = False


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What is said in one completion.

    Attributes:
        text: of the completion.
        attachments: texts inside it.
        uploads: files uploaded before it.
    """

    text: str
    attachments: tuple[Attachment, ...] = ()
    uploads: tuple[Upload, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is done for one request.

    Attributes:
        prompt: all that was said, for a new conversation.
        latest: only what is new in it, for a conversation that holds the rest; None where none can.
        history: by which such a conversation is recognised; None where none is.
        model: the model asked for; left out of the calls of accounts that may not choose.
        max_tokens: tokens after which the answer is cut.
        thinking: whether extended thinking is asked for.
        effort: ``low``, ``medium`` or ``high``, or None.
        stop_sequences: texts at which the answer is cut.
        dropped: what could not be carried.
    """

    prompt: Prompt
    model: str
    max_tokens: int
    latest: Prompt | None = None
    history: History | None = None
    thinking: bool = False
    effort: str | None = None
    stop_sequences: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def estimated_input_tokens(self) -> int:
        """A guess at the prompt's tokens from the bytes of its texts; at least 1."""
        attached_bytes = sum(attachment.file_size for attachment in self.prompt.attachments)
        return max(1, (len(self.prompt.text.encode()) + attached_bytes) // BYTES_PER_TOKEN)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Plan)


def encode_plan(plan: Plan) -> bytes:
    """A plan as the body of a call, to be read by `decode_plan`."""
    return _encoder.encode(plan)


def decode_plan(body: bytes) -> Plan:
    """A plan that `encode_plan` wrote."""
    return _decoder.decode(body)


def plan_request(request: Request, options: PromptOptions, owner: str = "") -> Plan:
    """Plan a request made by `owner`, whose conversations are nobody else's.

    Raises InvalidRequest naming the field that a claude.ai session cannot serve.
    """
    _check_servable(request)
    prompt, dropped = _prompt(request, options)
    history = history_of(request, owner) if options.continues else None
    new = newest(request) if history is not None else None
    effort = request.output_config.effort if request.output_config is not None else None
    return Plan(
        prompt=prompt,
        latest=_prompt(new, options, going_on=True)[0] if new is not None else None,
        history=history,
        model=request.model,
        max_tokens=request.max_tokens,
        thinking=_thinks(request),
        effort=effort if effort is None or effort in _EFFORTS else _EFFORTS[-1],
        stop_sequences=tuple(sequence for sequence in request.stop_sequences if sequence),
        dropped=(*dropped, *_lost(request, effort)),
    )


def _prompt(
    request: Request, options: PromptOptions, *, going_on: bool = False
) -> tuple[Prompt, tuple[Dropped, ...]]:
    """What is said, and what of it has no words; `going_on` where the rules were given at the beginning."""
    files = FileCollector()
    flattened = flatten(request, files, role_prefixes=options.role_prefixes)
    text, attachments = flattened.text, files.attachments
    if len(text) > options.max_history_characters:
        attachments = [text_attachment(CONTEXT_NAME, text), *attachments]
        text = _ANSWER_FILE
    if options.disable_artifacts and not going_on:
        rule = f"{SYSTEM_PREFIX}{_NO_ARTIFACTS}" if flattened.prefixed else _NO_ARTIFACTS
        text = f"{rule}\n\n{text}"
    prompt = Prompt(text=text, attachments=tuple(attachments), uploads=tuple(files.uploads))
    return prompt, flattened.dropped


def _check_servable(request: Request) -> None:
    if request.tools and not isinstance(request.tool_choice, ToolChoiceNone):
        raise InvalidRequest(
            "A claude.ai session cannot call tools; an API key can.",
            param="tools",
            code="unsupported_parameter",
        )
    config = request.output_config
    if config is not None and config.format is not msgspec.UNSET:
        raise InvalidRequest(
            "A claude.ai session cannot follow a schema; an API key can.",
            param="output_config.format",
            code="unsupported_parameter",
        )
    if len(request.stop_sequences) > _STOP_SEQUENCES_MAX:
        raise InvalidRequest(
            f"There are more than {_STOP_SEQUENCES_MAX} stop sequences.", param="stop_sequences"
        )
    for index, sequence in enumerate(request.stop_sequences):
        if len(sequence) > _STOP_SEQUENCE_MAX_CHARACTERS:
            raise InvalidRequest(
                f"The stop sequence has more than {_STOP_SEQUENCE_MAX_CHARACTERS} characters.",
                param=f"stop_sequences[{index}]",
            )


def _thinks(request: Request) -> bool:
    match request.thinking:
        case ThinkingAdaptive() | ThinkingEnabled():
            return True
        case None | ThinkingDisabled() | ThinkingBetweenTools():
            return False
        case _:
            assert_never(request.thinking)


def _lost(request: Request, effort: str | None) -> list[Dropped]:
    given = (
        ("temperature", request.temperature is not None, _NO_SAMPLING),
        ("top_p", request.top_p is not None, _NO_SAMPLING),
        ("top_k", request.top_k is not None, _NO_SAMPLING),
        ("tools", bool(request.tools), "none of them may be called"),
        ("metadata", request.metadata is not None, "a claude.ai session has no end users"),
        ("service_tier", request.service_tier is not None, "a claude.ai session has no service tiers"),
        ("speed", request.speed is not None, "a claude.ai session has one speed"),
        (
            "thinking.budget_tokens",
            isinstance(request.thinking, ThinkingEnabled),
            "thinking has no budget here",
        ),
        (
            "output_config.effort",
            effort is not None and effort not in _EFFORTS,
            "the greatest effort is high",
        ),
        ("cache_control", request.cache_control is not None, "there is no prompt cache"),
    )
    return [Dropped(field, reason) for field, lost, reason in given if lost]
