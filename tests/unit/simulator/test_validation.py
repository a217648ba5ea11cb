"""The refusals of the real API, word for word."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.simulator.validation import read_request
from proxy.simulator.wire import MessagesRequest, TokenRequest
from tests.unit.simulator.client import question

_OLD = {"anthropic-version": "2023-06-01"}
_NEW = {"anthropic-version": "2026-10-21"}
_NOT_MANUAL = (
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
    '"output_config.effort" to control thinking behavior.'
)
_TOOL = {"name": "look", "input_schema": {"type": "object"}}
_DEEP = (
    b'{"model":"m","max_tokens":1,"messages":[],"tools":[{"name":"a","input_schema":{"a":' + b"[" * 100_000
)
_MANUAL = {"type": "enabled", "budget_tokens": 2048}


def _refusal(body: object, headers: dict[str, str] | None = None) -> tuple[int, str]:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    with pytest.raises(GatewayError) as caught:
        read_request(data, MessagesRequest, _OLD if headers is None else headers)
    return caught.value.status, caught.value.message


def _without(name: str) -> dict[str, object]:
    return {field: value for field, value in question().items() if field != name}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (_without("model"), "model: Field required"),
        (_without("messages"), "messages: Field required"),
        (_without("max_tokens"), "max_tokens: Field required"),
        (question(model=1), "model: Input should be a valid string"),
        (question(messages="hi"), "messages: Input should be a valid list"),
        (question(max_tokens="1"), "max_tokens: Input should be a valid integer"),
        (question(stream="yes"), "stream: Input should be a valid boolean"),
        (question(novelty=1), "novelty: Extra inputs are not permitted"),
        (question(metadata={"a": "b"}), "metadata.a: Extra inputs are not permitted"),
        (question(context_management={}), "context_management: Extra inputs are not permitted"),
        (question(messages=[{"role": "user"}]), "messages.0.content: Field required"),
        (question(messages=[{"role": "user", "content": [{}]}]), "messages.0.content.0.type: Field required"),
        ([], "body: Input should be a valid dictionary"),
        (question(max_tokens=-1), "max_tokens: Input should be greater than or equal to 1"),
        (question(max_tokens=0, stream=True), "max_tokens: Input should be greater than or equal to 1"),
        (
            question(max_tokens=128_001),
            "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens for this model",
        ),
        (
            question(stop_sequences=["a", " "]),
            "stop_sequences: each stop sequence must contain non-whitespace",
        ),
        (question(temperature=0.5), "`temperature` is deprecated for this model."),
        (question(top_k=5), "`top_k` is deprecated for this model."),
        (question(model="claude-sonnet-5", temperature=0.5), "`temperature` is deprecated for this model."),
        (question(model="claude-haiku-4-5", temperature=1.5), "temperature: range: 0..1"),
        (
            question(model="claude-haiku-4-5", temperature=1, top_p=0.5),
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        ),
        (
            question(model="claude-haiku-4-5", max_tokens=4000, thinking=_MANUAL, temperature=0.5),
            "`temperature` may only be set to 1 when thinking is enabled.",
        ),
        (
            question(model="claude-haiku-4-5", max_tokens=4000, thinking=_MANUAL, top_k=5),
            "`top_k` must be unset when thinking is enabled.",
        ),
        (question(thinking={"type": "deep"}), "thinking: Input tag does not match any of the expected tags"),
        (
            question(thinking=_MANUAL),
            _NOT_MANUAL,
        ),
        (
            question(thinking={"type": "disabled"}),
            '"thinking.type.disabled" is not supported for this model.',
        ),
        (
            question(model="claude-haiku-4-5", thinking={"type": "adaptive"}),
            "adaptive thinking is not supported on this model",
        ),
        (
            question(model="claude-haiku-4-5", thinking={"type": "enabled"}),
            "thinking.enabled.budget_tokens: Field required",
        ),
        (
            question(model="claude-haiku-4-5", thinking={"type": "enabled", "budget_tokens": 1023}),
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            question(model="claude-haiku-4-5", max_tokens=2048, thinking=_MANUAL),
            "`max_tokens` must be greater than `thinking.budget_tokens`.",
        ),
        (
            question(model="claude-haiku-4-5", output_config={"effort": "low"}),
            "This model does not support the effort parameter.",
        ),
        (
            question(model="claude-opus-4-5", output_config={"effort": "max"}),
            "output_config.effort: Input should be 'low', 'medium' or 'high'",
        ),
        (
            question(tools=[_TOOL | {"name": "a.b"}]),
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        (question(tools=[{"name": "a"}]), "tools.0.custom.input_schema: Field required"),
        (
            question(tools=[{"name": "a", "input_schema": {}}]),
            "tools.0.custom.input_schema.type: Field required",
        ),
        (
            question(tools=[{"name": "a", "input_schema": {"anyOf": []}}]),
            "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
        ),
        (question(tools=[_TOOL, _TOOL]), "tools: Tool names must be unique."),
        (
            question(tools=[_TOOL], tool_choice={"type": "some"}),
            "tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'",
        ),
        (
            question(tool_choice={"type": "auto"}),
            "tool_choice: tool_choice may only be specified while providing tools",
        ),
        (
            question(tools=[_TOOL], tool_choice={"type": "any"}),
            'tool_choice: type "tool" and "any" are not supported for this model.',
        ),
        (
            question(
                model="claude-haiku-4-5",
                max_tokens=4000,
                tools=[_TOOL],
                tool_choice={"type": "any"},
                thinking=_MANUAL,
            ),
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        (
            question(model="claude-opus-5", tools=[_TOOL], tool_choice={"type": "tool", "name": "b"}),
            "Tool 'b' not found in provided tools",
        ),
        (
            question(system=[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}] * 5),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            question("x" * 4_000_004),
            "prompt is too long: 1000001 tokens > 1000000 maximum",
        ),
        (question(messages=[]), "messages: at least one message is required"),
    ],
)
def test_a_wrong_request_is_refused_in_the_real_words(body: object, message: str) -> None:
    """Clients and the gateway match on these sentences."""
    assert _refusal(body) == (400, message)


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"model":"\\ud800"}', _DEEP, b""])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Whatever the bytes, the answer is a 400."""
    status, message = _refusal(body)
    assert status == 400
    assert message.startswith("The request body is not valid JSON")


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_the_newest_version_has_no_sampling_fields(name: str) -> None:
    """Not even on models that take them under the old version."""
    body = question(model="claude-haiku-4-5") | {name: 1}
    assert _refusal(body, _NEW) == (400, f"{name}: Extra inputs are not permitted")
    read_request(msgspec.json.encode(body), MessagesRequest, _OLD)


def test_the_version_header_is_required() -> None:
    """As in the real API, before anything else."""
    assert _refusal(b"{", {}) == (400, "anthropic-version: header is required")


@pytest.mark.parametrize("model", ["claude-3-opus-20240229", "gpt-5"])
def test_an_unknown_model_is_not_found(model: str) -> None:
    """Retired and unknown are the same."""
    assert _refusal(question(model=model)) == (404, f"model: {model}")


@pytest.mark.parametrize(
    "body",
    [
        question(
            metadata={"user_id": "u"}, service_tier="auto", stop_sequences=["a"], stream=None, system=None
        ),
        question(model="claude-haiku-5-5", temperature=1),
        question(model="claude-haiku-5-5", top_p=0.99),
        question(model="claude-sonnet-5-5", thinking={"type": "between_tools"}),
        question(model="claude-haiku-4-5", max_tokens=4000, thinking=_MANUAL, temperature=1),
        question(thinking={"type": "adaptive"}, output_config={"effort": "max"}),
        question(model="claude-opus-5", tools=[_TOOL], tool_choice={"type": "tool", "name": "look"}),
        question(tools=[_TOOL, {"type": "web_search_20250305", "name": "web_search"}]),
        question(max_tokens=0),
        question("x" * 4_000_000),
    ],
)
def test_a_right_request_is_read(body: dict[str, object]) -> None:
    """The edges of what each model takes."""
    request, checked = read_request(msgspec.json.encode(body), MessagesRequest, _OLD)
    assert checked.model.id.startswith(request.model)


@pytest.mark.parametrize(("model", "fast"), [("claude-opus-5-5", True), ("claude-sonnet-5-5", False)])
def test_fast_mode_is_for_models_that_have_one(model: str, fast: bool) -> None:
    """Others refuse the field."""
    body = question(model=model, speed="fast")
    if fast:
        read_request(msgspec.json.encode(body), MessagesRequest, _OLD)
    else:
        assert _refusal(body) == (400, 'speed: "fast" is not supported on this model.')


def test_marks_for_an_hour_come_before_those_for_five_minutes() -> None:
    """In the order of the prefix, the automatic mark last."""
    short, long = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": "s", "cache_control": short}]
    assert "must not come after" in _refusal(question(system=system, cache_control=long))[1]
    system[0]["cache_control"] = long
    read_request(msgspec.json.encode(question(system=system, cache_control=short)), MessagesRequest, _OLD)


def test_beta_fields_need_a_beta_header() -> None:
    """With one, they pass unread."""
    body = msgspec.json.encode(question(context_management={"edits": []}))
    request, _ = read_request(
        body, MessagesRequest, _OLD | {"anthropic-beta": "context-management-2025-06-27"}
    )
    assert bytes(request.context_management) == b'{"edits":[]}'


def test_counting_takes_no_max_tokens() -> None:
    """Its shape is the prompt's alone."""
    body = question()
    with pytest.raises(GatewayError, match="max_tokens: Extra inputs"):
        read_request(msgspec.json.encode(body), TokenRequest, _OLD)
    del body["max_tokens"]
    _, checked = read_request(msgspec.json.encode(body), TokenRequest, _OLD)
    assert checked.prompt_tokens == 1


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["user", "text", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "source", "id", "input", "name", "signature"]
            ),
            inner,
        )
    ),
    max_leaves=15,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "max_tokens"]
        ),
        _json,
    )
)
def test_any_json_is_read_or_refused(fields: dict[str, object]) -> None:
    """Nothing but the one error comes out of validation."""
    try:
        read_request(msgspec.json.encode(question() | fields), MessagesRequest, _OLD)
    except GatewayError as error:
        refused = error.status
    else:
        refused = 400
    assert refused == 400
