"""Fields without an equal upstream: refused or told."""

import msgspec
import pytest

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.fields import (
    FIELDS,
    LOST,
    Verdict,
    check_supported,
    lost_fields,
    service_tier,
    speed,
)
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog

_CATALOG = Catalog.load()


def _request(**fields: object) -> ChatRequest:
    return decode_json(ChatRequest, msgspec.json.encode({"messages": [], **fields}))


def _lost(fields: dict[str, object], model: str = "claude-opus-5-5") -> list[Dropped]:
    return lost_fields(_request(**fields), _CATALOG.facts(model))


def test_every_field_has_a_verdict() -> None:
    """In one table; a field nobody has thought about fails here."""
    assert {name for name in FIELDS if "." not in name} == set(ChatRequest.__struct_fields__)
    assert all(rule.how for rule in FIELDS.values())
    assert {rule.verdict for rule in FIELDS.values()} == set(Verdict)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
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
    "seed": 7,
    "store": True,
    "top_logprobs": 3,
}


@pytest.mark.parametrize("field", sorted(LOST))
def test_what_is_lost_is_told(field: str) -> None:
    """Each field once, with a reason, and only if it said something."""
    (loss,) = _lost({field: _VALUES[field]})
    assert (loss.field, loss.reason) == (field, FIELDS[field].how)
    assert _lost({field: None}) == []


@pytest.mark.parametrize("field", ["logit_bias", "metadata", "prediction"])
def test_empty_objects_say_nothing(field: str) -> None:
    """Clients send them by default."""
    assert _lost({field: {}}) == []


@pytest.mark.parametrize(
    ("tier", "sent", "lost"),
    [
        (None, None, []),
        ("auto", None, []),
        ("default", "standard_only", []),
        ("flex", "standard_only", []),
        ("priority", None, []),
        ("cheap", None, ["service_tier"]),
    ],
)
def test_service_tiers(tier: str | None, sent: str | None, lost: list[str]) -> None:
    """The upstream has two."""
    assert service_tier(_request(service_tier=tier)) == sent
    assert [loss.field for loss in _lost({"service_tier": tier}, "claude-sonnet-5-5")] == lost


@pytest.mark.parametrize(
    ("model", "fast"),
    [
        ("claude-opus-5-5", True),
        ("claude-fable-5-2", True),
        ("claude-opus-5", False),
        ("claude-haiku-4-5", False),
    ],
)
def test_fast_mode_where_the_model_has_one_without_a_beta(model: str, fast: bool) -> None:
    """It costs twice as much, so that it is never given unasked; elsewhere the client is told."""
    asked = _request(service_tier="fast")
    assert speed(asked, _CATALOG.facts(model)) == ("fast" if fast else None)
    assert speed(_request(service_tier="priority"), _CATALOG.facts(model)) is None
    assert [loss.field for loss in _lost({"service_tier": "fast"}, model)] == (
        [] if fast else ["service_tier"]
    )


def test_one_user_is_enough() -> None:
    """Of two names of the end user, the newer is sent."""
    assert [loss.field for loss in _lost({"user": "a", "safety_identifier": "b"})] == ["user"]
    assert _lost({"user": "a"}) == []
