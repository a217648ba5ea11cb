"""Each field of a request has one verdict, and it is kept."""

import typing

import msgspec
import pytest
from openai.types.responses import response_create_params

from proxy.dialects.openai_responses.fields import VERDICTS, Verdict
from proxy.dialects.openai_responses.schema import ResponsesRequest
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from tests.unit.dialects.openai_responses.building import asked, dropped, sent, told, translated

_VALUES: dict[str, object] = {
    "access_programs": {"cyber": "standard"},
    "background": True,
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "image": {"context_compression": "auto"},
    "max_tool_calls": 3,
    "moderation": {"model": "m"},
    "prompt": {"id": "pmpt_1"},
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "top_logprobs": 5,
    "truncation": "auto",
}


def _fields(verdict: Verdict) -> list[str]:
    return [name for name, (found, _) in VERDICTS.items() if found is verdict]


def test_every_field_of_the_official_client_has_a_verdict() -> None:
    """Protects against a field that is lost without anybody knowing."""
    theirs = {
        *typing.get_type_hints(response_create_params.ResponseCreateParamsBase),
        *typing.get_type_hints(response_create_params.ResponseCreateParamsStreaming),
    }
    assert theirs == VERDICTS.keys()
    assert VERDICTS.keys() == set(ResponsesRequest.__struct_fields__)


@pytest.mark.parametrize("name", _fields(Verdict.DROPPED))
def test_a_field_that_is_lost_is_told(name: str) -> None:
    """Protects users from believing in what is not there; a field without a value loses nothing."""
    assert dropped(**{name: _VALUES[name]}) == [name]
    assert dropped(**{name: None}) == []


@pytest.mark.parametrize("name", _fields(Verdict.REFUSED))
def test_a_field_that_would_change_the_answer_is_refused_by_name(name: str) -> None:
    """Protects users from an answer that is not what they asked for; a field without a value refuses nothing."""
    with pytest.raises(InvalidRequest) as caught:
        translated(**{name: _VALUES[name]})
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
    assert translated(**{name: None}).dropped == ()


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"background": False, "truncation": "disabled", "top_logprobs": 0}, []),
        ({"include": ["reasoning.encrypted_content"]}, []),
        ({"include": ["message.output_text.logprobs"]}, ["include"]),
        ({"text": {"verbosity": "low"}}, []),
        ({"text": {"verbosity": "medium"}}, []),
        ({"reasoning": {"mode": "deep", "context": "all"}}, ["reasoning.context", "reasoning.mode"]),
        (
            {"client_metadata": {"x": "y"}, "stream_options": {"include_obfuscation": True}},
            ["client_metadata"],
        ),
        ({"user": "a", "safety_identifier": "b"}, ["user"]),
        ({"service_tier": "galactic"}, ["service_tier"]),
        ({"temperature": 0.5}, ["temperature"]),
        ({"metadata": {"a": "b"}, "store": True, "prompt_cache_key": "k"}, []),
    ],
    ids=str,
)
def test_what_is_lost_of_a_field_is_told(fields: dict[str, object], lost: list[str]) -> None:
    """Protects the list clients get of what had no effect."""
    assert dropped(**fields) == lost


@pytest.mark.parametrize(
    ("model", "fields", "upstream"),
    [
        ("claude-opus-5-5", {"max_output_tokens": 50}, {"max_tokens": 50}),
        ("claude-opus-4-6", {"temperature": 2.0}, {"temperature": 1.0}),
        ("claude-opus-4-6", {"top_p": 0.5}, {"top_p": 0.5}),
        ("claude-opus-5-5", {"service_tier": "default"}, {"service_tier": "standard_only"}),
        ("claude-opus-5-5", {"instructions": "Be kind."}, {"system": [{"type": "text", "text": "Be kind."}]}),
        ("claude-opus-5-5", {"instructions": " "}, {"system": None}),
        (
            "claude-opus-5-5",
            {"reasoning": {"effort": "high"}},
            {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}},
        ),
        (
            "claude-opus-5-5",
            {"reasoning": {"effort": "low", "summary": "auto"}},
            {"output_config": {"effort": "low"}, "thinking": {"type": "adaptive", "display": "summarized"}},
        ),
        (
            "claude-opus-5-5",
            {"reasoning": {"generate_summary": "concise"}},
            {"output_config": None, "thinking": {"type": "adaptive", "display": "summarized"}},
        ),
        ("claude-opus-4-8", {"reasoning": {"summary": "auto"}}, {"thinking": None}),
        ("claude-opus-5", {"reasoning": {"effort": "none"}}, {"thinking": {"type": "disabled"}}),
        (
            "claude-haiku-4-5-20251001",
            {"reasoning": {"effort": "low"}, "max_output_tokens": 100},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 2148},
        ),
    ],
    ids=str,
)
def test_a_field_that_is_carried_arrives(
    model: str, fields: dict[str, object], upstream: dict[str, object]
) -> None:
    """Protects the meaning of each field on models of each sort."""
    body = sent(model, **fields)
    assert {name: body.get(name) for name in upstream} == upstream


def test_the_end_user_is_only_known_by_a_digest() -> None:
    """Protects people: nothing of who they are goes upstream, and the same person is always the same."""
    one, other = sent(user="ann"), sent(safety_identifier="ann", user="bob")
    assert one["metadata"] == other["metadata"]
    assert "ann" not in msgspec.json.encode(one["metadata"]).decode()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": {"summary": True}}, "reasoning.summary"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"tools": [1]}, "tools[0]"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"store": "yes"}, "store"),
        ({"truncation": "some"}, "truncation"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_sort_is_named(fields: dict[str, object], param: str) -> None:
    """Protects users from guessing which field it was."""
    with pytest.raises(InvalidRequest) as caught:
        translated(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("messages.2.content.0: all messages must have non-empty content", "input"),
        ("system: text content blocks must be non-empty", "instructions"),
        ("max_tokens: 5 > 4, which is the maximum", "max_output_tokens"),
        ("output_config.effort: Input should be 'low'", "reasoning.effort"),
        ("output_config.format.schema: For 'object' type", "text.format"),
        ("prompt is too long: 3 tokens > 2 maximum", "input"),
        ("stop_sequences: no", None),
    ],
)
def test_the_field_an_upstream_tells_of_is_named_as_its_client_knows_it(
    message: str, param: str | None
) -> None:
    """Protects clients from names of another API, before the answer has begun and after."""
    error = GatewayError(400, ErrorKind.INVALID_REQUEST, message)
    body = msgspec.json.decode(asked().render_error(error, "req_1").body)
    assert body["error"]["param"] == param
    first = next(event for event in told(asked().error_frame(error, "req_1")) if event["type"] == "error")
    assert first["param"] == param
