"""Fields without an equal upstream: refused or told."""

import msgspec
import pytest

from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.fields import LOST, check_supported, lost_fields, service_tier
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest


def _request(**fields: object) -> ChatRequest:
    return decode_json(ChatRequest, msgspec.json.encode({"messages": [], **fields}))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": []}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.type"),
    ],
)
def test_what_would_change_the_meaning_is_refused(fields: dict[str, object], param: str) -> None:
    """With the field's name."""
    with pytest.raises(InvalidRequest) as caught:
        check_supported(_request(**fields))
    assert caught.value.param == param
    assert caught.value.code in {"unsupported_parameter", "unsupported_value"}


def test_harmless_values_of_these_pass() -> None:
    """What says nothing is no reason to refuse."""
    check_supported(_request(n=1, modalities=["text"], response_format={"type": "text"}, functions=None))


_VALUES = {
    "audio": {"voice": "x"},
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 5},
    "logprobs": True,
    "metadata": {"a": "b"},
    "moderation": {"a": 1},
    "prediction": {"type": "content"},
    "presence_penalty": -1,
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "seed": 7,
    "store": True,
    "top_logprobs": 3,
    "verbosity": "low",
}


@pytest.mark.parametrize("field", sorted(LOST))
def test_what_is_lost_is_told(field: str) -> None:
    """Each field once, with a reason, and only if it said something."""
    (loss,) = lost_fields(_request(**{field: _VALUES[field]}))
    assert (loss.field, loss.reason) == (field, LOST[field])
    assert lost_fields(_request(**{field: None})) == []


@pytest.mark.parametrize("field", ["logit_bias", "metadata", "prompt_cache_options"])
def test_empty_objects_say_nothing(field: str) -> None:
    """Clients send them by default."""
    assert lost_fields(_request(**{field: {}})) == []


@pytest.mark.parametrize(
    ("tier", "sent", "lost"),
    [
        (None, None, []),
        ("auto", None, []),
        ("default", "standard_only", []),
        ("flex", "standard_only", []),
        ("priority", None, []),
        ("fast", None, ["service_tier"]),
    ],
)
def test_service_tiers(tier: str | None, sent: str | None, lost: list[str]) -> None:
    """The upstream has two."""
    request = _request(service_tier=tier)
    assert service_tier(request) == sent
    assert [loss.field for loss in lost_fields(request)] == lost


def test_one_user_is_enough() -> None:
    """Of two names of the end user, the newer is sent."""
    assert [loss.field for loss in lost_fields(_request(user="a", safety_identifier="b"))] == ["user"]
    assert lost_fields(_request(user="a")) == []
