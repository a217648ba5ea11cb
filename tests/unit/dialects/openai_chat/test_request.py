"""A whole Chat Completions request."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic import encode_request, with_cache_marks
from proxy.dialects.common import Envelope, Target, Translated
from proxy.dialects.openai_chat.request import decode_request, peek
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog

_CATALOG = Catalog.load()
_HELLO = {"role": "user", "content": "hi"}


def _translate(model: str = "claude-opus-5-5", *, stream: bool = False, **fields: object) -> Translated:
    target = Target(facts=_CATALOG.facts(model), model=model, stream=stream)
    return decode_request(msgspec.json.encode({"messages": [_HELLO], **fields}), target)


def _sent(model: str = "claude-opus-5-5", **fields: object) -> dict[str, object]:
    translated = _translate(model, stream=fields.pop("stream", False) is True, **fields)
    return msgspec.json.decode(encode_request(translated.request), type=dict[str, object])


@pytest.mark.parametrize(
    ("body", "envelope"),
    [
        (b'{"model":"m"}', Envelope("m", stream=False)),
        (b'{"model":"m","stream":true,"stream_options":null}', Envelope("m", stream=True)),
        (b'{"stream_options":{"include_usage":true}}', Envelope("", stream=False, include_usage=True)),
        (
            b'{"conversation_id":"c","project_id":null}',
            Envelope("", stream=False, own_fields=("conversation_id",), conversation="c"),
        ),
        (b'{"messages":[{"role":"assistant"}]}', Envelope("", stream=False, continuing=True)),
        (b'{"prompt_cache_key":"k"}', Envelope("", stream=False, conversation="k")),
        (
            b'{"prompt_cache_key":"k","conversation_id":"c"}',
            Envelope("", stream=False, conversation="c", own_fields=("conversation_id",)),
        ),
        (b'{"messages":[{"role":"user"},{}]}', Envelope("", stream=False)),
    ],
)
def test_the_peek_reads_what_routing_needs(body: bytes, envelope: Envelope) -> None:
    """And nothing else."""
    assert msgspec.structs.replace(peek(body), opening=b"") == envelope


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"nonsense", None), (b"[]", None), (b'{"model":[]}', "model"), (b'{"stream":1}', "stream")],
)
def test_a_peek_at_something_wrong_is_a_400(body: bytes, param: str | None) -> None:
    """Named where there is a name."""
    with pytest.raises(InvalidRequest) as caught:
        peek(body)
    assert caught.value.param == param


def test_the_smallest_request() -> None:
    """What the upstream needs, and nothing it was not asked for."""
    assert _sent() == {
        "model": "claude-opus-5-5",
        "max_tokens": 16_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_a_request_with_everything() -> None:
    """All parts find their place."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    sent = _sent(
        "claude-opus-5",
        messages=[{"role": "system", "content": "s"}, _HELLO],
        tools=[tool],
        tool_choice="required",
        stop=["a", " ", ""],
        max_completion_tokens=50,
        reasoning_effort="low",
        user="ann",
        service_tier="default",
        stream=True,
    )
    user_id = msgspec.convert(sent["metadata"], dict[str, str])["user_id"]
    assert len(user_id) == 32
    assert "ann" not in user_id
    assert sent == {
        "model": "claude-opus-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "system": [{"type": "text", "text": "s"}],
        "stop_sequences": ["a"],
        "stream": True,
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any"},
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "low"},
        "metadata": {"user_id": user_id},
        "service_tier": "standard_only",
    }


@pytest.mark.parametrize(
    ("stop", "sent"), [("x", ["x"]), (" ", None), (None, None), (["a", "b"], ["a", "b"])]
)
def test_stop_sequences(stop: object, sent: list[str] | None) -> None:
    """A single one is a list of one; blank ones would be refused."""
    assert _sent(stop=stop).get("stop_sequences") == sent


def test_a_wish_stands_at_the_end_of_what_the_user_says() -> None:
    """There it changes no cached prefix."""
    tool = {"type": "function", "function": {"name": "f"}}
    last = _translate(tools=[tool], tool_choice="required").request.messages[-1]
    assert [getattr(block, "text", "") for block in last.content] == [
        "hi",
        "<system-reminder>\nAnswer by calling at least one of your tools.\n</system-reminder>",
    ]
    messages = [_HELLO, {"role": "system", "content": "s"}]
    after = _translate(tools=[tool], tool_choice="required", messages=messages).request.messages[-1]
    assert (after.role, len(after.content)) == ("system", 2)


@pytest.mark.parametrize(
    ("model", "effort", "roles"),
    [
        ("claude-haiku-4-5", None, ["user", "assistant"]),
        ("claude-haiku-4-5", "low", ["user", "assistant", "user"]),
        ("claude-opus-5-5", None, ["user", "assistant", "user"]),
        ("claude-opus-4-6", None, ["user", "assistant", "user"]),
    ],
)
def test_prefill_only_where_it_is_taken(model: str, effort: str | None, roles: list[str]) -> None:
    """By models of the 4.5 generation, while they do not think."""
    messages = [_HELLO, {"role": "assistant", "content": "I"}]
    translated = _translate(model, messages=messages, reasoning_effort=effort)
    assert [message.role for message in translated.request.messages] == roles


@pytest.mark.parametrize(
    ("messages", "tool_choice", "thinks"),
    [
        ([_HELLO], None, True),
        ([_HELLO], "required", False),
        (
            [
                _HELLO,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}],
                },
                {"role": "tool", "tool_call_id": "a", "content": "r"},
            ],
            None,
            False,
        ),
        (
            [
                _HELLO,
                {
                    "role": "assistant",
                    "reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s"}],
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}],
                },
                {"role": "tool", "tool_call_id": "a", "content": "r"},
            ],
            None,
            True,
        ),
    ],
)
def test_a_thinking_budget_only_where_it_can_be(
    messages: list[object], tool_choice: str | None, thinks: bool
) -> None:
    """Not with a forced tool, nor in a tool turn whose thinking is gone; then the client is told."""
    tool = {"type": "function", "function": {"name": "f"}}
    translated = _translate(
        "claude-haiku-4-5", messages=messages, tools=[tool], tool_choice=tool_choice, reasoning_effort="low"
    )
    assert (translated.request.thinking is not None) is thinks
    assert [loss.field for loss in translated.dropped] == ([] if thinks else ["reasoning_effort"])


def test_all_losses_are_told() -> None:
    """Messages, sampling, plain fields and unknown ones, in one list; our own fields among them."""
    translated = _translate(
        messages=[_HELLO | {"name": "n"}],
        temperature=0.5,
        seed=1,
        chat_template_kwargs={},
        conversation_id="c",
    )
    assert [loss.field for loss in translated.dropped] == [
        "messages[0].name",
        "temperature",
        "seed",
        "chat_template_kwargs",
        "conversation_id",
    ]


def test_the_same_history_gives_the_same_bytes() -> None:
    """A longer conversation begins with the bytes of the shorter one."""
    call = {"id": "call|1", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}}
    history: list[object] = [
        {"role": "system", "content": "s"},
        _HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call|1", "content": "r"},
        {"role": "assistant", "content": "done"},
        _HELLO,
    ]
    short = _translate(messages=history[:4]).request
    long = _translate(messages=history).request
    assert msgspec.json.encode(long.messages[: len(short.messages)]) == msgspec.json.encode(short.messages)
    assert (long.system, long.tools) == (short.system, short.tools)


@pytest.mark.parametrize(("fields", "param"), [({"messages": []}, "messages"), ({"n": 3}, "n")])
def test_refusals_name_the_field(fields: dict[str, object], param: str) -> None:
    """Before any credential is asked."""
    with pytest.raises(InvalidRequest) as caught:
        _translate(**fields)  # type: ignore[arg-type]  # fields of a request
    assert caught.value.param == param


def test_instructions_alone_are_a_request() -> None:
    """OpenAI takes them; the upstream needs a message."""
    sent = _sent(messages=[{"role": "system", "content": "s"}])
    assert sent["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "(conversation start)"}]}
    ]


_CLIENTS_WORDS = st.text(max_size=20)
_STEPS = st.lists(
    st.tuples(st.sampled_from(["text", "calls", "thinks"]), _CLIENTS_WORDS, _CLIENTS_WORDS),
    min_size=2,
    max_size=6,
)


def _history(steps: list[tuple[str, str, str]]) -> list[dict[str, object]]:
    """A client's messages, every second step the assistant's, calls answered."""
    history: list[dict[str, object]] = []
    for number, (kind, asked, said) in enumerate(steps):
        history.append({"role": "user", "content": asked})
        spoken: dict[str, object] = {"role": "assistant", "content": said}
        if kind == "thinks":
            spoken["reasoning_details"] = [{"type": "reasoning.text", "text": said, "signature": "s"}]
        if kind != "text":
            call = {"id": f"t:{number}", "type": "function", "function": {"name": "f", "arguments": asked}}
            spoken["tool_calls"] = [call]
        history.append(spoken)
        if kind != "text":
            history.append({"role": "tool", "tool_call_id": f"t:{number}", "content": said})
    return history


@given(_STEPS)
def test_any_conversation_grows_without_changing_its_beginning(steps: list[tuple[str, str, str]]) -> None:
    """Prompt caches and signatures depend on it, at every model's rules; marks are four at most."""
    for model in ("claude-opus-5-5", "claude-haiku-4-5"):
        facts = msgspec.structs.replace(_CATALOG.facts(model), min_cache_prefix_tokens=1)
        last = {"role": "user", "content": "more"}
        requests = [
            _translate(model, messages=[*_history(steps[:end]), last]).request
            for end in range(1, len(steps) + 1)
        ]
        for shorter, longer in pairwise(requests):
            # the last question differs from turn to turn, and may share its message with results
            same = len(shorter.messages) - 1
            assert longer.messages[:same] == shorter.messages[:same]
            assert encode_request(with_cache_marks(longer, facts)).count(b'"cache_control"') <= 4
