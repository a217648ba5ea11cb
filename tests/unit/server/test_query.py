"""Query parameters that make no sense are refused by name."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy.errors import InvalidRequest
from proxy.server.query import demand_known, number, word


def _asked(query: str) -> web.Request:
    return make_mocked_request("GET", f"/x?{query}")


@pytest.mark.parametrize(("query", "expected"), [("", 7), ("n=1", 1), ("n=50", 50), ("n=007", None)])
def test_a_number_is_read_or_has_its_default(query: str, expected: int | None) -> None:
    """Protects the page somebody asked for."""
    if expected is None:
        with pytest.raises(InvalidRequest):
            number(_asked(query), "n", default=7, most=50)
    else:
        assert number(_asked(query), "n", default=7, most=50) == expected


@pytest.mark.parametrize("value", ["", "0", "51", "-1", "1.0", "1e1", "x", "%D9%A1", "9" * 30, "%20", "%00"])
def test_what_is_no_number_is_refused_by_name(value: str) -> None:
    """Protects callers from an answer to another question."""
    with pytest.raises(InvalidRequest) as refused:
        number(_asked(f"n={value}"), "n", default=7, most=50)
    assert refused.value.param == "n"


@pytest.mark.parametrize(
    ("query", "expected"), [("", None), ("w=sonnet", "sonnet"), ("w=" + "x" * 128, "x" * 128)]
)
def test_a_word_is_read_or_missing(query: str, expected: str | None) -> None:
    """Protects the ordinary case."""
    assert word(_asked(query), "w") == expected


@pytest.mark.parametrize("value", ["", "x" * 129, "%00", "a%0Ab", "%7F", "\udcff"])
def test_what_is_no_word_is_refused_by_name(value: str) -> None:
    """Protects answers from characters that cannot be shown, or not even be encoded."""
    with pytest.raises(InvalidRequest) as refused:
        word(_asked(f"w={value}"), "w")
    assert refused.value.param == "w"


def test_an_unknown_parameter_is_refused_by_name() -> None:
    """Protects callers from a slip that would widen their question unnoticed."""
    demand_known(_asked("a=1&b=2"), ("a", "b"))
    with pytest.raises(InvalidRequest, match=r"name\? is no parameter"):
        demand_known(_asked("name%00=1"), ("a", "b"))
    with pytest.raises(InvalidRequest, match="modle is no parameter here: a, b"):
        demand_known(_asked("modle=1"), ("a", "b"))


def test_a_parameter_that_is_there_twice_is_refused_by_name() -> None:
    """Protects against two readers of one address who each take another value."""
    with pytest.raises(InvalidRequest) as refused:
        demand_known(_asked("a=1&a=2"), ("a", "b"))
    assert refused.value.param == "a"
