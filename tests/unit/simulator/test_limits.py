"""The headers every answer has."""

from proxy.simulator.buckets import Limits
from proxy.simulator.limits import AnswerHeaders, organization_of
from tests.support.clock import FakeClock


def test_every_key_has_an_organization_of_its_own() -> None:
    """Unless it is put into another."""
    headers = AnswerHeaders(FakeClock())
    assert headers.organization("a") == organization_of("a") != headers.organization("b")
    headers.assign("a", "org-x")
    assert headers.organization("a") == "org-x"
    headers.clear()
    assert headers.organization("a") == organization_of("a")


def test_pairs_and_text_say_the_same() -> None:
    """The fast way and the slow way must not differ."""
    headers = AnswerHeaders(FakeClock(), lambda key: f"org-{key}")
    pairs = headers.pairs("k", "req_1")
    assert headers.text("k", "req_1") == "".join(f"{name}: {value}\r\n" for name, value in pairs)
    assert len(pairs) == 2 + 12
    assert dict(pairs)["anthropic-organization-id"] == "org-k"
    assert headers.pairs("", "req_1") == [("request-id", "req_1")]
    assert headers.text("", "req_1") == "request-id: req_1\r\n"


def test_the_reset_time_follows_the_clock() -> None:
    """It is an RFC 3339 time of now, since nothing is used up."""
    clock = FakeClock()
    headers = AnswerHeaders(clock)
    name = "anthropic-ratelimit-input-tokens-reset"
    assert dict(headers.pairs("k", "r"))[name] == "2026-11-18T11:06:40Z"
    clock.advance(1)
    assert dict(headers.pairs("k", "r"))[name] == "2026-11-18T11:06:41Z"


def test_a_limited_organization_is_told_its_ledger_or_nothing() -> None:
    """An answer that nobody counted says nothing, rather than that all is left."""
    headers = AnswerHeaders(FakeClock(), lambda _: "org")
    headers.buckets.limit("org", Limits(requests=5))
    ledger = headers.buckets.headers("org", "claude-opus-5")
    assert headers.pairs("k", "r", ledger)[2:] == ledger
    assert headers.text("k", "r", ledger).endswith("".join(f"{name}: {value}\r\n" for name, value in ledger))
    assert len(headers.pairs("k", "r")) == 2
    assert "ratelimit" not in headers.text("k", "r")
    headers.clear()
    assert len(headers.pairs("k", "r")) == 14
