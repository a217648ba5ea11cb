"""Thinking, effort, limits and sampling, model by model."""

import msgspec
import pytest

from proxy.dialects.common import Target
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.dialects.openai_chat.thinking import Reasoning, SamplingFields, read_reasoning, read_sampling
from proxy.model.catalog import Catalog
from proxy.model.request import (
    Thinking,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingDisabled,
    ThinkingEnabled,
)

_CATALOG = Catalog.load()
_ON = ThinkingAdaptive("summarized")
_OFF = ThinkingDisabled()


def _target(model: str, *, think: bool = False, stream: bool = False, **defaults: float | None) -> Target:
    tokens, temperature = defaults.get("max_tokens"), defaults.get("temperature")
    return Target(
        facts=_CATALOG.facts(model),
        model=model,
        think=think,
        stream=stream,
        default_max_tokens=None if tokens is None else int(tokens),
        default_temperature=temperature,
    )


def _request(**fields: object) -> ChatRequest:
    return decode_json(ChatRequest, msgspec.json.encode({"messages": [], **fields}))


def _read(target: Target, *, no_budget: str | None = None, **fields: object) -> Reasoning:
    return read_reasoning(_request(**fields), target, no_budget=lambda: no_budget)


_ADAPTIVE = [
    ("claude-opus-5-5", None, None, None),
    ("claude-opus-5-5", "none", None, "low"),
    ("claude-opus-5-5", "minimal", _ON, "low"),
    ("claude-opus-5-5", "medium", _ON, "medium"),
    ("claude-opus-5-5", "xhigh", _ON, "xhigh"),
    ("claude-opus-5-5", "max", _ON, "max"),
    ("claude-fable-5-2", "none", None, "low"),
    ("claude-mythos-5", "none", None, "low"),
    ("claude-opus-5", "none", _OFF, None),
    ("claude-opus-4-8", "none", _OFF, None),
    ("claude-opus-4-7", "none", _OFF, None),
    ("claude-sonnet-5", "none", _OFF, None),
    ("claude-sonnet-5-5", "none", ThinkingBetweenTools(), None),
    ("claude-haiku-5-5", "none", None, "low"),
    ("claude-haiku-5-5", "high", _ON, "high"),
    ("claude-opus-4-6", "none", _OFF, None),
    ("claude-opus-4-6", "xhigh", _ON, "high"),
    ("claude-sonnet-4-6", "max", _ON, "max"),
]


@pytest.mark.parametrize(("model", "effort", "thinking", "level"), _ADAPTIVE)
def test_adaptive_models(
    model: str, effort: str | None, thinking: Thinking | None, level: str | None
) -> None:
    """Effort and thinking as each model takes them."""
    reasoning = _read(_target(model), reasoning_effort=effort)
    assert (reasoning.thinking, reasoning.effort, reasoning.dropped) == (thinking, level, [])


@pytest.mark.parametrize(
    ("model", "effort", "budget", "level"),
    [
        ("claude-haiku-4-5", None, None, None),
        ("claude-haiku-4-5", "none", None, None),
        ("claude-haiku-4-5", "minimal", None, None),
        ("claude-haiku-4-5", "low", 2048, None),
        ("claude-sonnet-4-5", "medium", 8192, None),
        ("claude-sonnet-4-5", "high", 16_384, None),
        ("claude-sonnet-4-5", "xhigh", 32_000, None),
        ("claude-opus-4-5", "low", 2048, "low"),
        ("claude-opus-4-5", "max", 63_000, "high"),
    ],
)
def test_models_with_a_budget(model: str, effort: str | None, budget: int | None, level: str | None) -> None:
    """The answer keeps its own tokens beside the budget."""
    reasoning = _read(_target(model), reasoning_effort=effort, max_tokens=1000)
    assert reasoning.thinking == (None if budget is None else ThinkingEnabled(budget))
    assert reasoning.effort == level
    assert reasoning.max_tokens == 1000 + (budget or 0)


def test_a_budget_never_leaves_the_models_limit() -> None:
    """Half of it at most when the answer wants everything."""
    reasoning = _read(_target("claude-haiku-4-5"), reasoning_effort="max", max_tokens=64_000)
    assert (reasoning.thinking, reasoning.max_tokens) == (ThinkingEnabled(32_000), 64_000)


def test_a_limit_without_room_for_a_budget_has_none() -> None:
    """A budget under the least the API takes would be refused."""
    facts = msgspec.structs.replace(_CATALOG.facts("claude-haiku-4-5"), max_output_tokens=1500)
    reasoning = _read(Target(facts=facts, model="m"), reasoning_effort="low", max_tokens=1500)
    assert reasoning.thinking is None
    assert [loss.field for loss in reasoning.dropped] == ["reasoning_effort"]


@pytest.mark.parametrize(
    ("fields", "field"), [({"reasoning_effort": "high"}, "reasoning_effort"), ({}, "model")]
)
def test_a_budget_that_cannot_be_is_told(fields: dict[str, object], field: str) -> None:
    """With a forced tool, or in the middle of a tool turn."""
    target = _target("claude-haiku-4-5", think=True)
    reasoning = read_reasoning(_request(**fields), target, no_budget=lambda: "because")
    assert reasoning.thinking is None
    assert [(loss.field, loss.reason) for loss in reasoning.dropped] == [(field, "because")]
    assert _read(_target("claude-opus-5-5", think=True), no_budget="because").thinking == _ON


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("claude-opus-5-5", None, _ON),
        ("claude-opus-4-8", None, _ON),
        ("claude-opus-4-8", "none", _OFF),
        ("claude-haiku-4-5", None, ThinkingEnabled(8192)),
        ("claude-haiku-4-5", "none", None),
        ("claude-haiku-4-5", "low", ThinkingEnabled(2048)),
    ],
)
def test_the_think_suffix(model: str, effort: str | None, thinking: Thinking | None) -> None:
    """Asks for thinking unless the request itself says how much."""
    assert _read(_target(model, think=True), reasoning_effort=effort).thinking == thinking


@pytest.mark.parametrize(
    ("target", "fields", "max_tokens"),
    [
        (_target("claude-opus-5-5"), {}, 16_000),
        (_target("claude-opus-5-5", stream=True), {}, 32_000),
        (_target("claude-opus-5-5", stream=True, max_tokens=777), {}, 777),
        (_target("claude-opus-5-5", max_tokens=777), {"max_tokens": 5}, 5),
        (_target("claude-opus-5-5"), {"max_tokens": 5, "max_completion_tokens": 6}, 6),
        (_target("claude-opus-5-5"), {"max_tokens": 10**6}, 128_000),
        (_target("claude-haiku-4-5"), {"max_tokens": 2**63}, 64_000),
        (_target("claude-haiku-4-5", max_tokens=10**6), {}, 64_000),
    ],
)
def test_the_token_limit(target: Target, fields: dict[str, object], max_tokens: int) -> None:
    """The client's, the operator's, or a default; never more than the model has."""
    assert read_reasoning(_request(**fields), target, no_budget=lambda: None).max_tokens == max_tokens


@pytest.mark.parametrize(
    ("model", "thinking", "thinks"),
    [
        ("claude-opus-5-5", None, True),
        ("claude-opus-4-8", None, False),
        ("claude-opus-4-8", _ON, True),
        ("claude-opus-5", _OFF, False),
        ("claude-sonnet-5-5", ThinkingBetweenTools(), False),
        ("claude-haiku-4-5", ThinkingEnabled(1024), True),
    ],
)
def test_whether_it_thinks(model: str, thinking: Thinking | None, thinks: bool) -> None:
    """Said nothing, a model does what it does by default."""
    assert Reasoning(1, thinking).thinks(_CATALOG.facts(model)) is thinks


_SAMPLING = [
    ("claude-haiku-4-5", False, {}, SamplingFields()),
    ("claude-haiku-4-5", False, {"temperature": 0.3}, SamplingFields(0.3)),
    ("claude-haiku-4-5", False, {"temperature": 1.7}, SamplingFields(1.0)),
    ("claude-haiku-4-5", False, {"top_p": 0.9}, SamplingFields(None, 0.9)),
    ("claude-haiku-4-5", False, {"temperature": 0, "top_p": 1}, SamplingFields(0.0)),
]


@pytest.mark.parametrize(("model", "thinks", "fields", "found"), _SAMPLING)
def test_sampling_where_the_model_takes_it(
    model: str, thinks: bool, fields: dict[str, object], found: SamplingFields
) -> None:
    """Temperature is cut at one."""
    assert read_sampling(_request(**fields), _target(model), thinks=thinks) == found


@pytest.mark.parametrize(
    ("model", "thinks", "fields", "lost"),
    [
        ("claude-haiku-4-5", False, {"temperature": 0.5, "top_p": 0.5}, ["top_p"]),
        ("claude-haiku-4-5", True, {"temperature": 0.5, "top_p": 0.5}, ["temperature", "top_p"]),
        ("claude-opus-5-5", True, {"temperature": 0.5}, ["temperature"]),
        ("claude-opus-4-8", False, {"temperature": 0, "top_p": 0.1}, ["temperature", "top_p"]),
        ("claude-sonnet-5", False, {"temperature": 1, "top_p": 1}, []),
    ],
)
def test_sampling_that_is_lost_is_told(
    model: str, thinks: bool, fields: dict[str, object], lost: list[str]
) -> None:
    """But the models' own default is no loss."""
    found = read_sampling(_request(**fields), _target(model), thinks=thinks)
    assert [loss.field for loss in found.dropped] == lost
    assert found.top_p is None


@pytest.mark.parametrize(
    ("model", "fields", "temperature"),
    [
        ("claude-haiku-4-5", {}, 0.2),
        ("claude-haiku-4-5", {"temperature": 0.9}, 0.9),
        ("claude-haiku-4-5", {"top_p": 0.9}, None),
        ("claude-opus-5-5", {}, None),
    ],
)
def test_the_operators_temperature_only_fills_in(
    model: str, fields: dict[str, object], temperature: float | None
) -> None:
    """And is never told as lost."""
    found = read_sampling(_request(**fields), _target(model, temperature=0.2), thinks=False)
    assert (found.temperature, found.dropped) == (temperature, [])
