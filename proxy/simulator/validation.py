"""Which requests the simulated Claude refuses, in the words of the real one.

Sources of the wordings: the errors, thinking and migration pages of Anthropic's documentation, and messages
quoted in public reports.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import msgspec

from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.simulator.conversation import conversation_fault
from proxy.simulator.models import Model, find_model
from proxy.simulator.prefix import estimate_tokens, lifetimes_of, marks_of
from proxy.simulator.structure import structure_fault
from proxy.simulator.wire import BETA_FIELDS, MessagesRequest, TokenRequest

CURRENT_VERSION = "2026-10-21"

_T = TypeVar("_T", bound=TokenRequest)
_MAX_MARKS = 4
_DEFAULTS = {"temperature": (1.0,), "top_p": (0.99, 1.0), "top_k": ()}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"contains unknown field `(.*)`")
_EXPECTED = re.compile(r"Expected `([^`]*)`")
_PLAIN_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "list",
    "object": "dictionary",
}


class Checked(msgspec.Struct, frozen=True):
    """A request that may be answered, with what was found out on the way.

    Attributes:
        model: the model it names.
        version: the ``anthropic-version`` it came with.
        prompt_tokens: what the prompt weighs.
        marked: whether any of it is to be cached.
    """

    model: Model
    version: str
    prompt_tokens: int
    marked: bool


def _as_it_is(_request: TokenRequest) -> None:
    pass


def read_request(
    body: bytes, shape: type[_T], headers: dict[str, str], unfold: Callable[[_T], None] = _as_it_is
) -> tuple[_T, Checked]:
    """Decode and check a request; raises `GatewayError` with the real API's status and message.

    `unfold` puts in what the request leaves to be remembered, before it is checked.
    """
    version = headers.get("anthropic-version")
    if not version:
        raise InvalidRequest("anthropic-version: header is required")
    try:
        request = msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_in_their_words(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    if "anthropic-beta" not in headers:
        for name in BETA_FIELDS:
            if bytes(getattr(request, name, b"")):
                raise InvalidRequest(f"{name}: Extra inputs are not permitted")
    unfold(request)
    model = find_model(request.model)
    if model is None:
        raise GatewayError(404, ErrorKind.NOT_FOUND, f"model: {request.model}")
    return request, check(request, model, version)


def check(request: TokenRequest, model: Model, version: str) -> Checked:
    """Raise `InvalidRequest` unless the model would answer this request."""
    for find_fault in _CHECKS:
        if (fault := find_fault(request, model)) is not None:
            raise InvalidRequest(fault)
    if (fault := _sampling(request, model, version)) is not None:
        raise InvalidRequest(fault)
    if (fault := structure_fault(request)) is not None:
        raise InvalidRequest(fault)
    if (fault := conversation_fault(request, model, strict=version == CURRENT_VERSION)) is not None:
        raise InvalidRequest(fault)
    if (marks := marks_of(request)) > _MAX_MARKS:
        raise InvalidRequest(
            f"A maximum of {_MAX_MARKS} blocks with cache_control may be provided. Found {marks}."
        )
    lifetimes = lifetimes_of(request)
    if any(earlier == "5m" and later == "1h" for earlier, later in pairwise(lifetimes)):
        raise InvalidRequest(
            "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control "
            "block. Note that blocks are processed in the following order: `tools`, `system`, `messages`."
        )
    tokens = estimate_tokens(request, model)
    if tokens > model.window[0]:
        raise InvalidRequest(f"prompt is too long: {tokens} tokens > {model.window[0]} maximum")
    return Checked(model, version, tokens, marks > 0)


def _in_their_words(error: str) -> str:
    found = _AT.match(error)
    what, where = (found["what"], found["where"] or "") if found is not None else (error, "")
    path = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", where.removeprefix("$")).lstrip(".")
    if (missing := _MISSING.search(what)) is not None:
        return f"{path}.{missing[1]}".lstrip(".") + ": Field required"
    if (unknown := _UNKNOWN.search(what)) is not None:
        return f"{path}.{unknown[1]}".lstrip(".") + ": Extra inputs are not permitted"
    if (expected := _EXPECTED.search(what)) is not None:
        name = expected[1].split(" | ")[0]
        name = _PLAIN_NAMES.get(name, name)
        return f"{path or 'body'}: Input should be a valid {name}"
    return f"{path or 'body'}: {what}"


def _output(request: TokenRequest, model: Model) -> str | None:
    if not isinstance(request, MessagesRequest):
        return None
    most = model.window[1]
    if request.max_tokens > most:
        allowed = "which is the maximum allowed number of output tokens for this model"
        return f"max_tokens: {request.max_tokens} > {most}, {allowed}"
    if request.max_tokens < 0 or (request.max_tokens == 0 and request.stream):
        return "max_tokens: Input should be greater than or equal to 1"
    if any(not text.strip() for text in request.stop_sequences or ()):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    return None


def _sampling(request: TokenRequest, model: Model, version: str) -> str | None:
    given = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if version == CURRENT_VERSION:
            return f"{name}: Extra inputs are not permitted"
        if model.sampling == "refused" or (model.sampling == "defaults" and value not in _DEFAULTS[name]):
            return f"`{name}` is deprecated for this model."
    if request.temperature is not None and not 0 <= request.temperature <= 1:
        return "temperature: range: 0..1"
    if "temperature" in given and "top_p" in given:
        return "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    if request.thinking is not None and request.thinking.type == "enabled":
        if request.temperature not in (None, 1):
            return "`temperature` may only be set to 1 when thinking is enabled."
        if "top_k" in given:
            return "`top_k` must be unset when thinking is enabled."
    return None


def _thinking(request: TokenRequest, model: Model) -> str | None:
    thinking = request.thinking
    if thinking is None:
        return None
    if thinking.type not in {"enabled", "adaptive", "disabled", "between_tools"}:
        return "thinking: Input tag does not match any of the expected tags"
    if thinking.type not in model.thinking:
        return _refused_thinking(thinking.type)
    if thinking.type != "enabled":
        return None
    if thinking.budget_tokens is None:
        return "thinking.enabled.budget_tokens: Field required"
    if thinking.budget_tokens < 1024:
        return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if isinstance(request, MessagesRequest) and request.max_tokens <= thinking.budget_tokens:
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    return None


def _refused_thinking(kind: str) -> str:
    if kind == "adaptive":
        return "adaptive thinking is not supported on this model"
    if kind == "enabled":
        instead = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        return f'"thinking.type.enabled" is not supported for this model. {instead}'
    return f'"thinking.type.{kind}" is not supported for this model.'


def _effort(request: TokenRequest, model: Model) -> str | None:
    effort = request.output_config.effort if request.output_config is not None else None
    if effort is None or effort in model.efforts:
        return None
    if not model.efforts:
        return "This model does not support the effort parameter."
    return f"output_config.effort: Input should be {_one_of(model.efforts)}"


def _one_of(words: tuple[str, ...]) -> str:
    *most, last = (f"'{word}'" for word in words)
    return f"{', '.join(most)} or {last}"


def _tools(request: TokenRequest, _model: Model) -> str | None:
    tools = request.tools or []
    for index, tool in enumerate(tools):
        if tool.type not in {None, "custom"}:
            continue
        if not _NAME.fullmatch(tool.name):
            return f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        if tool.input_schema is None:
            return f"tools.{index}.custom.input_schema: Field required"
        if {"oneOf", "anyOf", "allOf"} & tool.input_schema.keys():
            refused = "input_schema does not support oneOf, allOf, or anyOf at the top level"
            return f"tools.{index}.custom.input_schema: {refused}"
        if tool.input_schema.get("type") != "object":
            return f"tools.{index}.custom.input_schema.type: Field required"
    if len({tool.name for tool in tools}) != len(tools):
        return "tools: Tool names must be unique."
    return None


def _tool_choice(request: TokenRequest, model: Model) -> str | None:
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.type not in {"auto", "any", "tool", "none"}:
        return "tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'"
    if not request.tools:
        return "tool_choice: tool_choice may only be specified while providing tools"
    if choice.type not in {"any", "tool"}:
        return None
    if not model.forced_tools:
        return 'tool_choice: type "tool" and "any" are not supported for this model.'
    if request.thinking is not None and request.thinking.type == "enabled":
        return "Thinking may not be enabled when tool_choice forces tool use."
    if choice.type == "tool" and all(tool.name != choice.name for tool in request.tools):
        return f"Tool '{choice.name}' not found in provided tools"
    return None


def _speed(request: TokenRequest, model: Model) -> str | None:
    if request.speed in {None, "standard"} or (request.speed == "fast" and model.fast):
        return None
    return f'speed: "{request.speed}" is not supported on this model.'


_Check = Callable[[TokenRequest, Model], str | None]
_CHECKS: tuple[_Check, ...] = (_output, _thinking, _effort, _tools, _tool_choice, _speed)
