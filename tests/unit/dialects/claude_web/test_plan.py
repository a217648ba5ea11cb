"""What a request becomes at claude.ai: the prompt, what comes with it, what is refused and what is reported."""

import msgspec
import pytest

from proxy.dialects.claude_web import Plan, PromptOptions, plan_request
from proxy.errors import InvalidRequest
from proxy.model.content import CacheControl, TextBlock
from proxy.model.request import (
    InputMessage,
    Metadata,
    OutputConfig,
    Request,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingDisabled,
    ThinkingEnabled,
    Tool,
    ToolChoiceNone,
)

_TOOL = Tool("f", msgspec.Raw(b'{"type":"object"}'))


def _request(*texts: str, **fields: object) -> Request:
    """A conversation in which user and assistant take turns."""
    turns = [
        InputMessage("assistant" if index % 2 else "user", [TextBlock(text)])
        for index, text in enumerate(texts or ("Hello",))
    ]
    plain = Request(model="claude-sonnet-4-6", max_tokens=100, messages=turns)
    return msgspec.structs.replace(plain, **fields)


def _plan(request: Request, **options: object) -> Plan:
    return plan_request(request, msgspec.convert(options, PromptOptions))


def _prompt(*texts: str, system: str = "", **options: object) -> str:
    fields = {"system": [TextBlock(system)]} if system else {}
    return _plan(_request(*texts, **fields), **options).prompt.text


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (_prompt("Hi"), "Hi"),
        (_prompt("Hi", role_prefixes=False), "Hi"),
        (_prompt("a", "b", "c"), "Human: a\n\nAssistant: b\n\nHuman: c"),
        (_prompt("a", "b", "c", role_prefixes=False), "a\n\nb\n\nc"),
        (_prompt("Hi", system="Be brief"), "System: Be brief\n\nHuman: Hi"),
        (_prompt("Hi", system="Be brief", role_prefixes=False), "Be brief\n\nHi"),
    ],
)
def test_messages_become_one_text_with_their_roles(prompt: str, expected: str) -> None:
    """Protects what users of such sessions know: prefixes, blank lines between, one message alone bare."""
    assert prompt == expected


def test_the_rule_against_artifacts_stands_first() -> None:
    """Protects PROMPT_DISABLE_ARTIFACTS, with a role only where roles are shown."""
    alone = _prompt("Hi", disable_artifacts=True)
    longer = _prompt("a", "b", "c", disable_artifacts=True)
    assert "artifacts" in alone
    assert alone.endswith(".\n\nHi")
    assert longer == f"System: {alone.removesuffix('Hi')}Human: a\n\nAssistant: b\n\nHuman: c"


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
@pytest.mark.parametrize(
    ("length", "attached"), [(9_999, False), (10_000, False), (10_001, True), (12_000, True)]
)
def test_a_long_history_goes_as_a_file(letter: str, length: int, attached: bool) -> None:
    """Protects MAX_CHAT_HISTORY_LENGTH: characters decide, bytes are told, and the text is the same."""
    history = "Human: a\n\nAssistant: b\n\nHuman: "
    text = letter * (length - len(history))
    plan = _plan(_request("a", "b", text))
    if not attached:
        assert (plan.prompt.text, plan.prompt.attachments) == (history + text, ())
        return
    (context,) = plan.prompt.attachments
    assert (context.file_name, context.file_type) == ("context.txt", "text/plain")
    assert context.extracted_content == history + text
    assert context.file_size == len((history + text).encode())
    assert "context.txt" in plan.prompt.text
    assert len(plan.prompt.text) < 300


def test_a_long_history_of_the_operators_own_length_is_a_file_without_the_rule() -> None:
    """Protects the attached text: nothing of ours is in it."""
    plan = _plan(_request("abcdef"), max_history_characters=5, disable_artifacts=True)
    assert [one.extracted_content for one in plan.prompt.attachments] == ["abcdef"]
    assert "Markdown" in plan.prompt.text


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (_request(tools=[_TOOL]), "tools"),
        (_request(tools=[msgspec.Raw(b'{"type":"web_search_20250305"}')]), "tools"),
        (_request(output_config=OutputConfig(format=msgspec.Raw(b"{}"))), "output_config.format"),
        (_request(stop_sequences=["x"] * 65), "stop_sequences"),
        (_request(stop_sequences=["a", "x" * 1001]), "stop_sequences[1]"),
        (_request(" "), "messages"),
        (_request(messages=[]), "messages"),
    ],
)
def test_what_would_change_the_meaning_is_refused_by_name(request_: Request, param: str) -> None:
    """Protects clients from answers to something they did not ask."""
    with pytest.raises(InvalidRequest) as refused:
        _plan(request_)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (_request(), []),
        (_request(temperature=0.0, top_p=1.0, top_k=1), ["temperature", "top_p", "top_k"]),
        (_request(tools=[_TOOL], tool_choice=ToolChoiceNone()), ["tools"]),
        (_request(metadata=Metadata("u"), service_tier="auto"), ["metadata", "service_tier"]),
        (_request(thinking=ThinkingEnabled(2048)), ["thinking.budget_tokens"]),
        (_request(output_config=OutputConfig(effort="max")), ["output_config.effort"]),
        (_request(output_config=OutputConfig(effort="low")), []),
        (_request(cache_control=CacheControl("ephemeral")), ["cache_control"]),
        (_request(stop_sequences=["x"]), []),
    ],
)
def test_what_only_tunes_an_answer_is_reported(request_: Request, fields: list[str]) -> None:
    """Protects the promise that no loss is silent, and that what is kept here is none."""
    assert [dropped.field for dropped in _plan(request_).dropped] == fields


@pytest.mark.parametrize(
    ("thinking", "asked"),
    [
        (None, False),
        (ThinkingDisabled(), False),
        (ThinkingBetweenTools(), False),
        (ThinkingAdaptive(), True),
        (ThinkingEnabled(2048), True),
    ],
)
def test_thinking_is_on_or_off(thinking: object, asked: bool) -> None:
    """Protects ids that ask for thinking."""
    assert _plan(_request(thinking=thinking)).thinking is asked


@pytest.mark.parametrize(
    ("effort", "sent"), [(None, None), ("low", "low"), ("high", "high"), ("xhigh", "high")]
)
def test_effort_is_the_nearest_there_is(effort: str | None, sent: str | None) -> None:
    """Protects the three words the site knows."""
    assert _plan(_request(output_config=OutputConfig(effort=effort))).effort == sent


def test_a_plan_keeps_the_limits_that_are_watched_here() -> None:
    """Protects stop sequences and max_tokens, which the site does not know; empty ones would end everything."""
    plan = _plan(_request(stop_sequences=["", "END"], max_tokens=7))
    assert (plan.stop_sequences, plan.max_tokens, plan.model) == (("END",), 7, "claude-sonnet-4-6")


def test_input_is_estimated_from_prompt_and_attachments() -> None:
    """Protects usage and limits that count tokens: a long history weighs the same in a file."""
    assert _plan(_request("x" * 400)).estimated_input_tokens == 100
    assert _plan(_request("x" * 20_000)).estimated_input_tokens > 5000
    assert _plan(_request("x")).estimated_input_tokens == 1
