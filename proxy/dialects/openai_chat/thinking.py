"""How much a model thinks and how it samples: one rule table a model, asked for in OpenAI's words.

Sources: "Reasoning" in OpenAI's documentation; "Extended thinking", "Adaptive thinking" and "Effort" in
Anthropic's.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import Dropped, Target
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.model.catalog import ModelFacts, Sampling, ThinkingMode
from proxy.model.request import (
    Thinking,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingDisabled,
    ThinkingEnabled,
)

_STREAM_MAX_TOKENS: Final = 32_000
_UNARY_MAX_TOKENS: Final = 16_000
_BUDGET_MIN: Final = 1024
_SUMMARIZED: Final = "summarized"
_LADDER: Final = ("low", "medium", "high", "xhigh", "max")
_BUDGETS: Final[Mapping[str, int]] = MappingProxyType(
    {"low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_000, "max": 63_999}
)


class Reasoning(msgspec.Struct):
    """How a request is reasoned about.

    Attributes:
        max_tokens: thinking and answer together.
        thinking: None leaves it to the model's default.
        effort: None leaves it to the model's default.
        dropped: what was lost.
    """

    max_tokens: int
    thinking: Thinking | None = None
    effort: str | None = None
    dropped: list[Dropped] = []

    def thinks(self, facts: ModelFacts) -> bool:
        """Whether the model will think."""
        if self.thinking is None:
            return facts.thinks_by_default
        return isinstance(self.thinking, ThinkingAdaptive | ThinkingEnabled)


def read_reasoning(request: ChatRequest, target: Target, *, no_budget: Callable[[], str | None]) -> Reasoning:
    """Thinking, effort and the token limit.

    `no_budget` gives the reason why this request cannot have a thinking budget, if there is one.
    """
    facts = target.facts
    reasoning = Reasoning(_max_tokens(request, target))
    wanted = _wanted(request)
    if ThinkingMode.ADAPTIVE in facts.thinking_modes:
        _adaptive(reasoning, wanted.effort, target, request)
    elif wanted.effort in _BUDGETS or (target.think and wanted.effort is None):
        if (reason := no_budget()) is None:
            _budget(reasoning, wanted, facts)
        else:
            reasoning.dropped.append(Dropped(wanted.field, reason))
    return reasoning


class _Wanted(msgspec.Struct, frozen=True):
    """What a client says about reasoning: how much, in tokens where it counts them, and the field that says it."""

    effort: str | None
    field: str
    budget_tokens: int | None = None


def _wanted(request: ChatRequest) -> _Wanted:
    """Anthropic's own field comes first, then OpenAI's, then OpenRouter's."""
    if (thinking := request.thinking) is not None:
        if thinking.type in {"disabled", "between_tools"}:
            return _Wanted("none", "thinking")
        return _Wanted(_effort_of(thinking.budget_tokens), "thinking", thinking.budget_tokens)
    if request.reasoning_effort is not None:
        return _Wanted(request.reasoning_effort, "reasoning_effort")
    if (options := request.reasoning) is None:
        return _Wanted(None, "model")
    if options.enabled is False:
        return _Wanted("none", "reasoning")
    if options.effort is not None or options.max_tokens is None:
        return _Wanted(options.effort or ("medium" if options.enabled else None), "reasoning")
    return _Wanted(_effort_of(options.max_tokens), "reasoning", options.max_tokens)


def _effort_of(budget_tokens: int | None) -> str:
    """The least level whose budget is no smaller; the middle one where none is said."""
    if budget_tokens is None:
        return "medium"
    return next((level for level, budget in _BUDGETS.items() if budget_tokens <= budget), "max")


def _leaves_little(request: ChatRequest) -> bool:
    """Whether the client asks for so short an answer that thinking could use it up."""
    asked = request.max_completion_tokens or request.max_tokens
    return asked is not None and asked <= _BUDGET_MIN


def _max_tokens(request: ChatRequest, target: Target) -> int:
    wanted = request.max_completion_tokens or request.max_tokens or target.default_max_tokens
    if wanted is None:
        wanted = _STREAM_MAX_TOKENS if target.stream else _UNARY_MAX_TOKENS
    return min(wanted, target.facts.max_output_tokens)


def _adaptive(reasoning: Reasoning, effort: str | None, target: Target, request: ChatRequest) -> None:
    facts = target.facts
    if effort == "none":
        match facts.thinking_off:
            case ThinkingMode.DISABLED:
                reasoning.thinking = ThinkingDisabled()
            case ThinkingMode.BETWEEN_TOOLS:
                reasoning.thinking = ThinkingBetweenTools()
            case _:
                reasoning.effort = _accepted("low", facts)
    elif effort is not None:
        reasoning.thinking = ThinkingAdaptive(_SUMMARIZED)
        reasoning.effort = _accepted("low" if effort == "minimal" else effort, facts)
    elif target.think:
        reasoning.thinking = ThinkingAdaptive(_SUMMARIZED)
    elif facts.thinks_by_default and facts.thinking_off is None and _leaves_little(request):
        reasoning.effort = _accepted("low", facts)


def _budget(reasoning: Reasoning, wanted: _Wanted, facts: ModelFacts) -> None:
    """A budget beside the answer's own tokens, as far as the model's limit has room for both."""
    effort = wanted.effort or "medium"
    limit, answer = facts.max_output_tokens, reasoning.max_tokens
    budget = min(wanted.budget_tokens or _BUDGETS[effort], max(limit - answer, limit // 2))
    if budget < _BUDGET_MIN:
        reasoning.dropped.append(Dropped(wanted.field, "no room for a thinking budget"))
        return
    reasoning.max_tokens = min(limit, budget + answer)
    reasoning.thinking = ThinkingEnabled(budget)
    reasoning.effort = _accepted(effort, facts)


def _accepted(effort: str, facts: ModelFacts) -> str | None:
    """The level itself, or the highest below it that the model knows; None for a model without levels."""
    levels = _LADDER[: _LADDER.index(effort) + 1]
    return next((level for level in reversed(levels) if level in facts.effort_levels), None)


class SamplingFields(msgspec.Struct):
    """What is sent of the sampling fields, and what was lost."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    dropped: list[Dropped] = []


def read_sampling(request: ChatRequest, target: Target, *, thinks: bool) -> SamplingFields:
    """Temperature, top_p and top_k by the model's rules. A temperature of 1 is every model's own: nothing is lost."""
    found = SamplingFields()
    if request.temperature is None and request.top_p is None and request.top_k is None:
        if target.facts.sampling is Sampling.ACCEPTED and not thinks:
            found.temperature = _default_temperature(target)
        return found
    if target.facts.sampling is not Sampling.ACCEPTED:
        _drop_sampling(request, found, "the model takes no sampling fields")
        return found
    if thinks:
        _drop_sampling(request, found, "not together with thinking")
        return found
    found.top_k = request.top_k
    if request.temperature is not None:
        found.temperature = min(request.temperature, 1.0)
        if request.top_p not in {None, 1}:
            found.dropped.append(Dropped("top_p", "not together with temperature"))
    elif request.top_p is not None:
        found.top_p = request.top_p
    else:
        found.temperature = _default_temperature(target)
    return found


def _default_temperature(target: Target) -> float | None:
    default = target.default_temperature
    return None if default is None else min(default, 1.0)


def _drop_sampling(request: ChatRequest, found: SamplingFields, reason: str) -> None:
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value not in {None, 1}:
            found.dropped.append(Dropped(name, reason))
    if request.top_k is not None:
        found.dropped.append(Dropped("top_k", reason))
