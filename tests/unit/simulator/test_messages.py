"""What the simulated model says."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.messages import Answer, Call, Part, Text, Thought, Voice, compose, split_words
from proxy.simulator.models import find_model
from proxy.simulator.wire import MessagesRequest
from tests.unit.simulator.client import question

_LOOK = {"name": "look", "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}}}
_FIND = {"name": "find", "input_schema": {"type": "object"}}
_SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def _compose(body: dict[str, object], **voice: object) -> Answer:
    request = msgspec.convert(body, MessagesRequest)
    model = find_model(request.model)
    assert model is not None
    return compose(request, model, msgspec.convert({"number": 7} | voice, Voice))


def _text(answer: Answer) -> str:
    return "".join(part.text for part in answer.parts if isinstance(part, Text))


def _kinds(answer: Answer) -> list[type[Part]]:
    return [type(part) for part in answer.parts]


def _called(answer: Answer) -> list[str]:
    return [part.name for part in answer.parts if isinstance(part, Call)]


@given(st.text())
def test_words_joined_are_the_text(text: str) -> None:
    """A client that joins the deltas has the answer."""
    assert "".join(split_words(text)) == text
    assert all(split_words(text))


def test_the_answer_repeats_and_counts_what_arrived() -> None:
    """A test sees by it what reached the upstream."""
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": [image, image, {"type": "text", "text": "Hello"}]},
    ]
    answer = _compose(question(messages=messages, system="be nice", tools=[_LOOK, _SEARCH]), prefix="[demo] ")
    assert _text(answer) == (
        '[demo] You said: "Hello" (3 messages, system 7 bytes, 2 images: url 0 bytes; url 0 bytes, 2 tools)'
    )
    assert (answer.stop_reason, answer.output_tokens) == ("end_turn", len(split_words(_text(answer))))
    assert len(answer.id) == len("msg_") + 24


def test_long_texts_are_shortened() -> None:
    """A request of megabytes gets a short answer."""
    assert _text(_compose(question("x" * 5000))) == f'You said: "{"x" * 1000}…" (1 message)'


def test_the_model_of_an_alias_is_named_in_full() -> None:
    """As the real API does."""
    assert _compose(question(model="claude-haiku-4-5")).model == "claude-haiku-4-5-20251001"


def test_an_answer_longer_than_max_tokens_is_cut() -> None:
    """And says so."""
    answer = _compose(question(max_tokens=2))
    assert (_text(answer), answer.stop_reason, answer.output_tokens) == ("You said: ", "max_tokens", 2)
    assert _compose(question(max_tokens=0)).parts == []
    assert _compose(question(max_tokens=5)).stop_reason == "end_turn"


def test_an_answer_ends_before_a_stop_sequence() -> None:
    """The earliest one counts, and is named."""
    answer = _compose(question("one STOP two END", stop_sequences=["END", "STOP", "never"]))
    assert _text(answer) == 'You said: "one '
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "STOP")


def test_a_stop_sequence_beyond_max_tokens_is_not_reached() -> None:
    """The limit comes first."""
    answer = _compose(question("a b c d e f STOP", max_tokens=3, stop_sequences=["STOP"]))
    assert (answer.stop_reason, answer.stop_sequence) == ("max_tokens", None)


@pytest.mark.parametrize(
    ("text", "called"), [("look there", ["look"]), ("hello", []), ("find and look", ["look"])]
)
def test_a_tool_is_called_when_its_name_is_mentioned(text: str, called: list[str]) -> None:
    """The first of the tools named."""
    answer = _compose(question(text, tools=[_LOOK, _FIND]))
    assert _called(answer) == called
    assert answer.stop_reason == ("tool_use" if called else "end_turn")


def test_the_input_of_a_call_fits_its_schema() -> None:
    """After a short text, as the real model likes to."""
    answer = _compose(question("look", tools=[_LOOK]), prefix="[demo] ")
    assert _kinds(answer) == [Text, Call]
    assert _text(answer).startswith("[demo] ")
    call = answer.parts[1]
    assert isinstance(call, Call)
    assert call.input == b'{"where":"simulated"}'
    assert len(call.id) == len("toolu_") + 24


@pytest.mark.parametrize(
    ("tools", "choice", "called"),
    [
        ([_LOOK, _FIND], {"type": "auto"}, ["look", "find"]),
        ([_LOOK], {"type": "auto"}, ["look", "look"]),
        ([_LOOK, _FIND], {"type": "auto", "disable_parallel_tool_use": True}, ["look"]),
        ([_LOOK, _FIND], {"type": "none"}, []),
        ([_SEARCH], {"type": "auto"}, []),
    ],
)
def test_the_word_parallel_makes_two_calls(
    tools: list[dict[str, object]], choice: dict[str, object], called: list[str]
) -> None:
    """Their ids differ."""
    answer = _compose(question("in parallel", tools=tools, tool_choice=choice))
    assert _called(answer) == called
    assert len({part.id for part in answer.parts if isinstance(part, Call)}) == len(called)


@pytest.mark.parametrize(
    ("choice", "called"),
    [({"type": "any"}, ["look"]), ({"type": "tool", "name": "find"}, ["find"])],
)
def test_a_forced_tool_is_called_without_a_word(choice: dict[str, object], called: list[str]) -> None:
    """And without a thinking block."""
    body = question(
        model="claude-opus-5", tools=[_LOOK, _FIND], tool_choice=choice, thinking={"type": "adaptive"}
    )
    answer = _compose(body)
    assert (_called(answer), _kinds(answer)) == (called, [Call])


def test_results_of_tools_are_quoted() -> None:
    """The second half of a tool loop ends it, whatever the words."""
    results = [
        {"type": "tool_result", "tool_use_id": "1", "content": "sunny"},
        {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "warm"}]},
        {"type": "tool_result", "tool_use_id": "3", "content": "gone", "is_error": True},
        {"type": "text", "text": "look"},
    ]
    answer = _compose(question(messages=[{"role": "user", "content": results}], tools=[_LOOK]))
    assert _text(answer).startswith(
        'The tools returned: "sunny", "warm", "error: gone" and you said: "look" ('
    )
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("model", "thinking", "shown"),
    [
        ("claude-opus-5-5", {"type": "adaptive"}, False),
        ("claude-opus-5-5", {"type": "adaptive", "display": "summarized"}, True),
        ("claude-opus-4-6", {"type": "adaptive"}, True),
        ("claude-opus-4-6", {"type": "adaptive", "display": "omitted"}, False),
        ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 1024}, True),
    ],
)
def test_thinking_is_shown_as_asked(model: str, thinking: dict[str, object], *, shown: bool) -> None:
    """Hidden thinking still costs tokens."""
    answer = _compose(question(model=model, max_tokens=2000, thinking=thinking))
    thought = answer.parts[0]
    assert isinstance(thought, Thought)
    assert bool(thought.shown) is shown
    assert thought.tokens > 0
    assert _kinds(answer) == [Thought, Text]


@pytest.mark.parametrize("kind", ["disabled", "between_tools"])
def test_no_thinking_is_asked_for_by_its_type(kind: str) -> None:
    """Both mean an answer of text alone."""
    assert _kinds(_compose(question(thinking={"type": kind}))) == [Text]


def test_a_structured_answer_is_json_without_a_prefix() -> None:
    """A prefix would make it no JSON."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    answer = _compose(
        question(output_config={"format": {"type": "json_schema", "schema": schema}}), prefix="[demo] "
    )
    assert _text(answer) == '{"n":1}'


@pytest.mark.parametrize("events", [1, 5, 200])
def test_a_number_of_events_is_kept_exactly(events: int) -> None:
    """Benchmarks count them."""
    answer = _compose(question(), events=events)
    assert answer.output_tokens == events
    assert len(next(part for part in answer.parts if isinstance(part, Text)).pieces) == events


def test_a_given_text_is_said_after_the_prefix() -> None:
    """A script may choose the words; tools are not called then."""
    answer = _compose(question("look", tools=[_LOOK]), prefix="[demo] ", text="my words")
    assert (_text(answer), answer.stop_reason) == ("[demo] my words", "end_turn")
