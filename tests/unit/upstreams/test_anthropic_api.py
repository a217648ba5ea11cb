"""What Anthropic's answers mean by their status, and exactly what a call carries."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import msgspec
import pytest
from aioresponses import aioresponses

from proxy import __version__
from proxy.exchange import Operation
from proxy.pool import FailureClass, Fault, classify, classify_fault
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams import UPSTREAMS
from proxy.upstreams.anthropic_api import AnthropicApi
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.unit.upstreams.building import BODY, PROXY, call, credential

_BASE: Final = "https://api.test"
_URL: Final = f"{_BASE}/v1/messages"


@pytest.fixture
async def upstream() -> AsyncIterator[AnthropicApi]:
    """One with ways out of its own."""
    ways_out = WaysOut(Policy())
    yield AnthropicApi(ways_out, Policy())
    await ways_out.close()


def _envelope(kind: str, message: str, code: str | None = None) -> bytes:
    details = {} if code is None else {"details": {"error_code": code}}
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message, **details}})


async def _refusal(upstream: AnthropicApi, url: str = _BASE) -> UpstreamRefused:
    with pytest.raises(UpstreamRefused) as caught:
        await upstream.open(call(), credential(url, proxy=PROXY if url == _BASE else None), Watch(), 10.0)
    return caught.value


_STATUSES = [
    (400, _envelope("invalid_request_error", "max_tokens: no"), FailureClass.REQUEST),
    (400, _envelope("invalid_request_error", "Your credit balance is too low"), FailureClass.BILLING),
    (
        400,
        _envelope("invalid_request_error", "You have reached your specified API usage limits"),
        FailureClass.BILLING,
    ),
    (401, _envelope("authentication_error", "invalid x-api-key"), FailureClass.AUTH),
    (402, _envelope("billing_error", "no money"), FailureClass.BILLING),
    (403, _envelope("permission_error", "not yours"), FailureClass.PERMISSION),
    (403, _envelope("permission_error", "This organization has been disabled."), FailureClass.AUTH_DEAD),
    (404, _envelope("not_found_error", "model: claude-x"), FailureClass.NO_MODEL),
    (408, _envelope("timeout_error", "late"), FailureClass.SERVER),
    (413, _envelope("request_too_large", "large"), FailureClass.REQUEST),
    (422, _envelope("invalid_request_error", "no"), FailureClass.REQUEST),
    (429, _envelope("rate_limit_error", "slow down"), FailureClass.RATE),
    (429, _envelope("rate_limit_error", "paused", "enforced_spend_limit_reached"), FailureClass.BILLING),
    (500, _envelope("api_error", "oops"), FailureClass.SERVER),
    (502, b"<html>bad gateway</html>", FailureClass.SERVER),
    (503, b"", FailureClass.SERVER),
    (504, _envelope("timeout_error", "late"), FailureClass.SERVER),
    (524, b"", FailureClass.SERVER),
    (529, _envelope("overloaded_error", "Overloaded"), FailureClass.OVERLOADED),
    (418, b"tea", FailureClass.UNKNOWN),
    (301, b"", FailureClass.UNKNOWN),
    (307, b"", FailureClass.UNKNOWN),
]


@pytest.mark.parametrize(
    ("status", "body", "cls"), _STATUSES, ids=[f"{item[0]} {item[2].value}" for item in _STATUSES]
)
async def test_an_answer_other_than_success_means_what_its_status_and_body_say(
    answered: aioresponses, upstream: AnthropicApi, status: int, body: bytes, cls: FailureClass
) -> None:
    """Protects the whole way from a status on the wire to what the pool does about it."""
    answered.post(_URL, status=status, body=body, content_type="application/json")
    refusal = await _refusal(upstream)
    assert refusal.error.status == status
    assert classify(refusal.error, now_unix_ms=0).cls is cls


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_a_page_instead_of_json_is_a_challenge_to_the_way_out(
    answered: aioresponses, upstream: AnthropicApi, status: int
) -> None:
    """Protects keys from being blamed for what the network path met."""
    answered.post(_URL, status=status, body="<html>", content_type="text/html; charset=utf-8")
    refusal = await _refusal(upstream)
    assert refusal.error.html
    assert classify(refusal.error, now_unix_ms=0).cls is FailureClass.CHALLENGE


@pytest.mark.parametrize("status", [201, 202, 204, 206])
async def test_another_success_than_200_is_no_answer(
    answered: aioresponses, upstream: AnthropicApi, status: int
) -> None:
    """Protects clients from the body of something that is not a message."""
    answered.post(_URL, status=status, body="{}")
    with pytest.raises(UpstreamFault) as caught:
        await upstream.open(call(), credential(_BASE, proxy=PROXY), Watch(), 10.0)
    assert caught.value.fault is Fault.GARBAGE


async def test_only_headers_that_mean_something_are_kept(
    answered: aioresponses, upstream: AnthropicApi
) -> None:
    """Protects one credential's limits and cookies from going anywhere."""
    headers = {
        "retry-after": "7",
        "anthropic-ratelimit-unified-reset": "1795000000",
        "set-cookie": "a=b",
        "anthropic-organization-id": "org_1",
        "anthropic-workspace-id": "wrkspc_1",
        "request-id": "req_1",
        "x-other": "1",
    }
    answered.post(_URL, status=429, body=_envelope("rate_limit_error", "m"), headers=headers)
    refusal = await _refusal(upstream)
    assert set(refusal.error.headers) == {"retry-after", "anthropic-ratelimit-unified-reset"}
    assert (refusal.source.organization, refusal.source.workspace) == ("org_1", "wrkspc_1")
    assert refusal.source.request_id == "req_1"
    assert classify(refusal.error, now_unix_ms=0).retry_after_s == 7.0


_EXCEPTIONS = [
    (aiohttp.ConnectionTimeoutError(), Fault.CONNECT_TIMEOUT),
    (TimeoutError(), Fault.HEADERS_TIMEOUT),
    (aiohttp.ServerDisconnectedError(), Fault.RESET),
    (aiohttp.ClientOSError(), Fault.RESET),
    (ConnectionResetError(), Fault.RESET),
    (aiohttp.ClientPayloadError(), Fault.TRUNCATED),
]


@pytest.mark.parametrize(
    ("error", "fault"), _EXCEPTIONS, ids=[type(item[0]).__name__ for item in _EXCEPTIONS]
)
async def test_an_exception_of_the_library_becomes_a_fault_of_ours(
    answered: aioresponses, upstream: AnthropicApi, error: Exception, fault: Fault
) -> None:
    """Protects logs and answers from the library's texts, which hold headers and raw bytes."""
    answered.post(_URL, exception=error)
    with pytest.raises(UpstreamFault) as caught:
        await upstream.open(call(), credential(_BASE, proxy=PROXY), Watch(), 10.0)
    assert caught.value.fault is fault
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert classify_fault(fault).cls in {FailureClass.SERVER, FailureClass.ENDPOINT}


async def test_a_call_carries_our_key_and_nothing_that_was_not_asked_for(
    simulator: Simulator, upstream: AnthropicApi
) -> None:
    """Protects the upstream from headers of the library's, and tells it exactly what is needed."""
    reply = await upstream.open(call(beta="a,b"), credential(simulator.url), Watch(), 10.0)
    await reply.read_all(Watch(), 10.0)
    reply.close()
    (received,) = simulator.record.requests
    assert (received.method, received.path, received.body) == ("POST", "/v1/messages", BODY)
    assert dict(received.headers) == {
        "host": simulator.url.removeprefix("http://"),
        "user-agent": f"carousel/{__version__}",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "a,b",
        "x-api-key": "canary-key-1",
    }


async def test_betas_of_one_call_are_not_those_of_the_next(
    simulator: Simulator, upstream: AnthropicApi
) -> None:
    """Protects clients from the betas of others: what is kept of a credential's headers holds none."""
    same = credential(simulator.url)
    for beta in ("first", None, "second"):
        reply = await upstream.open(call(beta=beta), same, Watch(), 10.0)
        await reply.read_all(Watch(), 10.0)
        reply.close()
    betas = [received.header("anthropic-beta") for received in simulator.record.requests]
    assert betas == ["first", None, "second"]


async def test_a_new_key_under_an_old_name_is_used_at_once(
    simulator: Simulator, upstream: AnthropicApi
) -> None:
    """Protects a rotated key from being called with the one before it."""
    for key in ("old", "new"):
        reply = await upstream.open(call(), credential(simulator.url, key=key), Watch(), 10.0)
        await reply.read_all(Watch(), 10.0)
        reply.close()
    assert [received.key for received in simulator.record.requests] == ["old", "new"]


async def test_ten_thousand_versions_are_not_remembered(upstream: AnthropicApi) -> None:
    """Protects memory from a header that clients choose."""
    for number in range(10_000):
        upstream._posting(credential(_BASE), call(version=f"2030-{number}"))
    assert len(upstream._postings) <= 256


@pytest.mark.parametrize(
    ("operation", "path"),
    [(Operation.MESSAGES, "/v1/messages"), (Operation.COUNT_TOKENS, "/v1/messages/count_tokens")],
)
@pytest.mark.parametrize("suffix", ["", "/"])
async def test_each_operation_has_its_path(
    simulator: Simulator, upstream: AnthropicApi, operation: Operation, path: str, suffix: str
) -> None:
    """Protects against a slash too many or too few in a configured address."""
    body = BODY if operation is Operation.MESSAGES else BODY.replace(b'"max_tokens":8,', b"")
    where = credential(simulator.url + suffix)
    reply = await upstream.open(call(body, operation=operation), where, Watch(), 10.0)
    await reply.read_all(Watch(), 10.0)
    reply.close()
    assert [received.path for received in simulator.record.requests] == [path]


async def test_an_answer_in_an_encoding_nobody_asked_for_is_no_answer(
    simulator: Simulator, upstream: AnthropicApi
) -> None:
    """Protects memory from a small answer that becomes a large one."""
    simulator.script("canary-key-1", then=Step(do="success", headers={"content-encoding": "gzip"}))
    with pytest.raises(UpstreamFault) as caught:
        await upstream.open(call(), credential(simulator.url), Watch(), 10.0)
    assert caught.value.fault is Fault.GARBAGE


async def test_a_redirect_is_not_followed(simulator: Simulator, upstream: AnthropicApi) -> None:
    """Protects keys: the library would take them along to wherever it is sent."""
    elsewhere = f"{simulator.url}/v1/elsewhere"
    simulator.script("canary-key-1", then=Step(do="redirect", status=307, location=elsewhere))
    refusal = await _refusal(upstream, simulator.url)
    assert refusal.error.status == 307
    assert [received.path for received in simulator.record.requests] == ["/v1/messages"]


async def test_cookies_of_one_call_do_not_go_out_with_the_next(
    simulator: Simulator, upstream: AnthropicApi
) -> None:
    """Protects credentials from being tied together by an upstream's cookie; by name, as cookies need one."""
    simulator.script("canary-key-1", then=Step(headers={"set-cookie": "session=canary; Path=/"}))
    url = simulator.url.replace("127.0.0.1", "localhost")
    for _ in range(2):
        reply = await upstream.open(call(), credential(url), Watch(), 10.0)
        await reply.read_all(Watch(), 10.0)
        reply.close()
    assert [received.header("cookie") for received in simulator.record.requests] == [None, None]


def test_every_upstream_speaks_a_dialect_there_is() -> None:
    """Protects dispatch from an upstream whose answers nobody can read."""
    for make in UPSTREAMS.values():
        assert make(WaysOut(Policy()), Policy()).dialect in {"anthropic", "openai_chat"}


async def test_a_forgotten_credentials_key_is_not_kept(simulator: Simulator, upstream: AnthropicApi) -> None:
    """Protects memory from keys that were taken out, and another one under the same alias from being forgotten."""
    old, new = (credential(simulator.url, key=key) for key in ("canary-key-1", "canary-key-2"))
    for one in (old, new):
        (await upstream.open(call(), one, Watch(), 10.0)).close()
    await upstream.forget(old)
    assert len(upstream._postings) == 1
    await upstream.forget(dataclasses.replace(new, weight=7))
    assert upstream._postings == {}
    (await upstream.open(call(), new, Watch(), 10.0)).close()
    assert simulator.record.requests_per_key == {"canary-key-1": 1, "canary-key-2": 2}
