"""Answers tell who answered, and hold no value of a client's that is not plain."""

import string

from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Dropped
from proxy.dispatch.trace import Trace
from proxy.server.headers import answer_headers, dropped_value
from tests.unit.dispatch.building import MODEL, body, exchange


def _headers(trace: Trace, *, raw: bytes | None = None, model: str = MODEL) -> dict[str, str]:
    found: dict[str, str] = {}
    answer_headers(found, exchange(raw, model=model), trace)
    return found


def test_an_answer_tells_who_answered_after_how_many_attempts() -> None:
    """Protects operators and clients, who read here where an answer came from."""
    trace = Trace(credential="api-2", attempts=3, upstream_request_id="req_011-up.stream")
    assert _headers(trace) == {
        "x-carousel-credential": "api-2",
        "x-carousel-attempts": "3",
        "x-carousel-cache": "off",
        "x-carousel-upstream-request-id": "req_011-up.stream",
    }


def test_the_model_is_told_only_when_it_is_another_than_was_asked() -> None:
    """Protects clients from believing that a name was taken as they wrote it."""
    trace = Trace(credential="a", attempts=1)
    assert "x-carousel-model" not in _headers(trace)
    assert _headers(trace, raw=body(model="sonnet"), model=MODEL)["x-carousel-model"] == MODEL


def test_the_model_told_is_that_of_the_attempt_that_answers() -> None:
    """Protects clients of a last resort, which is asked for a model of its own."""
    trace = Trace(credential="other", model="gpt-4o", attempts=2)
    assert _headers(trace)["x-carousel-model"] == "gpt-4o"
    assert "x-carousel-model" not in _headers(Trace(credential="a", model=MODEL, attempts=1))


@given(model=st.text(max_size=200))
def test_a_model_gets_into_a_header_only_if_it_is_plain(model: str) -> None:
    """Protects the connection, which a line break or a strange character in a header breaks."""
    shown = _headers(Trace(credential="a", attempts=1), raw=body(model="x"), model=model).get(
        "x-carousel-model"
    )
    assert shown is None or (shown == model and shown.isascii() and shown.isprintable() and len(shown) <= 128)


@given(found=st.text(max_size=100))
def test_an_upstreams_request_id_gets_into_a_header_only_if_it_looks_like_one(found: str) -> None:
    """Protects clients from whatever an upstream puts there."""
    headers = _headers(Trace(credential="a", attempts=1, upstream_request_id=found))
    shown = headers.get("x-carousel-upstream-request-id", "")
    assert len(shown) <= 64
    assert set(shown) <= set(string.ascii_letters + string.digits + "._-")


def test_dropped_fields_are_told_once_each_in_order() -> None:
    """Protects clients from a list that changes from call to call."""
    fields = ["seed", "logit_bias", "seed", "messages[0].name"]
    dropped = tuple(Dropped(field, "reason") for field in fields)
    headers = _headers(Trace(credential="a", attempts=1, dropped=dropped))
    assert headers["x-carousel-dropped"] == "logit_bias, messages[0].name, seed"


@given(
    fields=st.lists(
        st.text(max_size=150) | st.from_regex(r"[a-z_.\[\]0-9]{1,128}", fullmatch=True), max_size=60
    )
)
def test_dropped_fields_make_a_plain_value_of_at_most_1_kb(fields: list[str]) -> None:
    """Protects the connection from what clients call their fields, and proxies from headers they refuse."""
    value = dropped_value([Dropped(field, "reason") for field in fields])
    assert len(value) <= 1024
    assert value.isascii()
    assert value == "" or value.isprintable()


def test_a_list_that_was_cut_says_so() -> None:
    """Protects clients from taking a part of the list for all of it."""
    value = dropped_value([Dropped(f"field_{number:04d}", "reason") for number in range(500)])
    assert value.endswith(", ...")
    assert value.startswith("field_0000, field_0001")
    assert all(len(field) == 10 for field in value.removesuffix(", ...").split(", "))


def test_a_secret_in_a_fields_place_is_masked() -> None:
    """Protects a key that a client has put where the name of a field belongs."""
    key = f"sk-ant-api03-{'x' * 40}"
    assert dropped_value([Dropped(key, "reason"), Dropped("seed", "reason")]) == "[redacted], seed"
