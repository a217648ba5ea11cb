"""The tools of a request and the choice among them.

Sources: "Function calling" in OpenAI's documentation; "Tool use" in Anthropic's.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.openai_chat.definitions import StrictRoom, read_definitions
from proxy.dialects.openai_chat.fields import loss
from proxy.dialects.openai_chat.schema import AllowedTools, ChatRequest, NamedChoice, NamedFunction
from proxy.errors import InvalidRequest
from proxy.model.catalog import ForcedToolChoice, ModelFacts
from proxy.model.content import ToolUseBlock
from proxy.model.request import (
    InputMessage,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
)

_ANY_OBJECT: Final = msgspec.Raw(b'{"type":"object"}')
_ALLOWED: Final = "tool_choice.allowed_tools.tools"
# a union that is written where it is asked for is made anew each time
_FORCING: Final = (ToolChoiceAny, ToolChoiceTool)


class Tooling(msgspec.Struct):
    """The tools of a request.

    Attributes:
        tools: what the model may call.
        choice: how it has to choose; None leaves it the choice.
        wish: a sentence that asks for what a model cannot be made to do.
        dropped: what was lost.
        wants_call: whether a call is demanded that can only be wished for.
        custom: the tools whose calls are told with plain text.
    """

    tools: list[Tool | msgspec.Raw]
    choice: ToolChoice | None
    wish: str | None
    dropped: list[Dropped]
    wants_call: bool = False
    custom: frozenset[str] = frozenset()

    @property
    def forced(self) -> bool:
        """Whether a tool call is demanded."""
        return isinstance(self.choice, _FORCING)


def read_tools(
    request: ChatRequest, turns: Sequence[InputMessage], facts: ModelFacts, room: StrictRoom
) -> Tooling:
    """The tools and the choice. Raises InvalidRequest naming the field that cannot be carried."""
    if not request.tools and not request.functions:
        if request.tool_choice is not None and _demands(request.tool_choice):
            raise InvalidRequest("tool_choice is only allowed when tools are given.", param="tool_choice")
        stubs = _stubs(turns)
        return Tooling(stubs, ToolChoiceNone() if stubs else None, None, [])
    given, at = _given(request)
    defined = read_definitions(request, room)
    dropped = defined.dropped
    tools: list[Tool | msgspec.Raw] = [*defined.tools]
    chosen = _choice(given, {tool.name for tool in defined.tools}, at)
    wish = None
    if isinstance(given, NamedChoice) and given.allowed_tools is not None:
        chosen, wish = _among(given.allowed_tools, chosen, {tool.name for tool in defined.tools})
        dropped += [loss(_ALLOWED)] if wish else []
    wants_call = False
    if isinstance(chosen, _FORCING) and (facts.forced_tool_choice is ForcedToolChoice.REFUSED):
        wants_call = True
        wish = wish or _wish(chosen)
        dropped.append(Dropped(at, "the model cannot be forced; asked in words"))
        chosen = ToolChoiceAuto()
    # an answer in the style before tools has room for one call
    parallel = False if request.functions else request.parallel_tool_calls
    return Tooling(
        tools, _one_at_a_time(chosen, parallel), wish, dropped, wants_call, frozenset(defined.custom)
    )


def _given(request: ChatRequest) -> tuple[str | NamedChoice | None, str]:
    """The choice as the client made it, and the field it made it in."""
    if request.functions and request.function_call is not None:
        call = request.function_call
        return (NamedChoice("function", call) if isinstance(call, NamedFunction) else call), "function_call"
    return request.tool_choice, "tool_choice"


def _demands(choice: str | NamedChoice) -> bool:
    return choice == "required" or (isinstance(choice, NamedChoice) and choice.type != "allowed_tools")


def _choice(given: str | NamedChoice | None, names: set[str], at: str) -> ToolChoice | None:
    match given:
        case None:
            return None
        case "auto":
            return ToolChoiceAuto()
        case "none":
            return ToolChoiceNone()
        case "required" if at == "tool_choice":
            return ToolChoiceAny()
        case NamedChoice(type="allowed_tools", allowed_tools=allowed):
            required = allowed is not None and allowed.mode == "required"
            return ToolChoiceAny() if required else ToolChoiceAuto()
        case (
            NamedChoice(type="function" as kind, function=NamedFunction(name=name))
            | NamedChoice(type="custom" as kind, custom=NamedFunction(name=name))
        ):
            if name not in names:
                raise InvalidRequest(
                    f"{at} names a {kind} that is not among the tools.",
                    param=f"{at}.{kind}.name" if at == "tool_choice" else f"{at}.name",
                    code="invalid_value",
                )
            return ToolChoiceTool(name)
        case _:
            raise InvalidRequest(
                f"{at} has to be auto, none, required, or an object that names a function.",
                param=at,
                code="invalid_value",
            )


def _among(
    allowed: AllowedTools, chosen: ToolChoice | None, names: set[str]
) -> tuple[ToolChoice | None, str | None]:
    """The choice among some of the tools, and the sentence that names them; taking tools away would cost the cache."""
    wanted = list(_names(allowed))
    if set(wanted) >= names or not wanted:
        return chosen, None
    if not set(wanted) <= names:
        raise InvalidRequest(
            "allowed_tools names a tool that is not among the tools.", param=_ALLOWED, code="invalid_value"
        )
    if len(wanted) == 1 and isinstance(chosen, ToolChoiceAny):
        return ToolChoiceTool(wanted[0]), None
    must = isinstance(chosen, ToolChoiceAny)
    asked = "Answer by calling at least one of these tools" if must else "Of your tools call none but these"
    return chosen, f"{asked}: {', '.join(wanted)}."


def _names(allowed: AllowedTools) -> Iterable[str]:
    for tool in allowed.tools or ():
        named = tool.custom if tool.type == "custom" else tool.function
        if named is not None:
            yield named.name


def _wish(choice: ToolChoiceAny | ToolChoiceTool) -> str:
    if isinstance(choice, ToolChoiceTool):
        return f"Answer by calling the tool {choice.name}."
    return "Answer by calling at least one of your tools."


def _one_at_a_time(choice: ToolChoice | None, parallel: bool | None) -> ToolChoice | None:
    if parallel is not False or isinstance(choice, ToolChoiceNone):
        return choice
    return msgspec.structs.replace(choice or ToolChoiceAuto(), disable_parallel_tool_use=True)


def _stubs(turns: Sequence[InputMessage]) -> list[Tool | msgspec.Raw]:
    """A history with tool calls is only taken together with tools of these names."""
    names: dict[str, None] = {}
    for turn in turns:
        for block in turn.content:
            if isinstance(block, ToolUseBlock):
                names[block.name] = None
    return [Tool(name, _ANY_OBJECT) for name in names] if names else []
