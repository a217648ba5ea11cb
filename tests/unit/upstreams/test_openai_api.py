"""What the answers of an OpenAI-compatible API mean by their status, and exactly what a call carries."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest
from aioresponses import aioresponses

from proxy.credentials import Credential, Kind
from proxy.pool import FailureClass, Fault, classify, classify_fault
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams import UPSTREAMS
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.http import WaysOut
from proxy.upstreams.openai_api import OpenAIApi
from proxy.watch import Watch
from tests.unit.upstreams.building import PROXY, call

_BASE: Final = "https://api.test/v1"
_URL: Final = f"{_BASE}/chat/completions"
BODY: Final = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}'


@pytest.fixture
async def upstream() -> AsyncIterator[OpenAIApi]:
    """One with ways out of its own."""
    ways_out = WaysOut(Policy())
    yield OpenAIApi(ways_out, Policy())
    await ways_out.close()


def _credential(base_url: str = _BASE, *, key: str | None = "canary-key-1") -> Credential:
    secret = None if key is None else Secret(key)
    way_out = Secret(PROXY) if base_url == _BASE else None
    return Credential(name="fallback-1", kind=Kind.OPENAI, secret=secret, base_url=base_url, way_out=way_out)


def _envelope(message: str, kind: str | None = "invalid_request_error", code: object = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


_STATUSES = [
    (400, _envelope("no"), FailureClass.REQUEST),
    (401, _envelope("bad key", code="invalid_api_key"), FailureClass.AUTH),
    (402, _envelope("no credits", None), FailureClass.BILLING),
    (403, _envelope("not yours"), FailureClass.PERMISSION),
    (404, _envelope("The model `x` does not exist", code="model_not_found"), FailureClass.NO_MODEL),
    (404, b'{"detail":"Not Found"}', FailureClass.UNKNOWN),
    (408, b"", FailureClass.SERVER),
    (413, _envelope("large"), FailureClass.REQUEST),
    (422, b'{"detail":[{"msg":"no"}]}', FailureClass.REQUEST),
    (429, _envelope("slow", "rate_limit_error", "rate_limit_exceeded"), FailureClass.RATE),
    (429, _envelope("pay", "insufficient_quota", "insufficient_quota"), FailureClass.BILLING),
    (429, _envelope("pay", "insufficient_quota", "credit_balance_exhausted"), FailureClass.BILLING),
    (429, _envelope("pay", "insufficient_quota", "project_spend_limit_exceeded"), FailureClass.BILLING),
    (500, _envelope("oops", "server_error"), FailureClass.SERVER),
    (502, b"<html>bad gateway</html>", FailureClass.SERVER),
    (503, _envelope("busy", "service_unavailable_error", "server_is_overloaded"), FailureClass.SERVER),
    (307, b"", FailureClass.UNKNOWN),
]


@pytest.mark.parametrize(
    ("status", "body", "cls"),
    _STATUSES,
    ids=[f"{number} {item[0]} {item[2].value}" for number, item in enumerate(_STATUSES)],
)
async def test_an_answer_other_than_success_means_what_its_status_and_body_say(
    answered: aioresponses, upstream: OpenAIApi, status: int, body: bytes, cls: FailureClass
) -> None:
    """Protects the whole way from a status on the wire to what the pool does about it."""
    answered.post(_URL, status=status, body=body, content_type="application/json")
    with pytest.raises(UpstreamRefused) as caught:
        await upstream.open(call(BODY), _credential(), Watch(), 10.0)
    assert caught.value.error.status == status
    assert classify(caught.value.error, now_unix_ms=0).cls is cls


async def test_only_headers_that_mean_something_are_kept(answered: aioresponses, upstream: OpenAIApi) -> None:
    """Protects the pool from another provider's word on whose organization it is."""
    headers = {
        "retry-after": "7",
        "set-cookie": "a=b",
        "openai-organization": "org",
        "x-request-id": "req_other",
        "request-id": "req_claude",
        "anthropic-organization-id": "org_1",
        "anthropic-workspace-id": "ws_1",
        "anthropic-ratelimit-unified-reset": "1795000000",
    }
    answered.post(_URL, status=429, body=_envelope("slow"), headers=headers)
    with pytest.raises(UpstreamRefused) as caught:
        await upstream.open(call(BODY), _credential(), Watch(), 10.0)
    assert caught.value.error.headers == {"retry-after": "7"}
    source = caught.value.source
    assert (source.request_id, source.organization, source.workspace) == ("req_other", None, None)


@pytest.mark.parametrize("status", [201, 202, 204, 206])
async def test_another_success_than_200_is_no_answer(
    answered: aioresponses, upstream: OpenAIApi, status: int
) -> None:
    """Protects clients from the body of something that is no completion."""
    answered.post(_URL, status=status, body="{}")
    with pytest.raises(UpstreamFault) as caught:
        await upstream.open(call(BODY), _credential(), Watch(), 10.0)
    assert caught.value.fault is Fault.GARBAGE


@pytest.mark.parametrize("base_url", ["/v1", "/v1/", "/openai/v1"])
async def test_a_call_goes_below_its_address_with_its_own_key_alone(
    upstream: OpenAIApi, simulator: Simulator, base_url: str
) -> None:
    """Protects the key, which goes nowhere else, and the client's and Anthropic's headers, which go nowhere."""
    outgoing = call(BODY, version="2023-06-01", beta="secret-beta")
    reply = await upstream.open(outgoing, _credential(simulator.url + base_url), Watch(), 10.0)
    body = await reply.read_all(Watch(), 10.0)
    reply.close()
    assert msgspec.json.decode(body)["choices"]
    (received,) = simulator.record.requests
    assert received.path == base_url.rstrip("/") + "/chat/completions"
    assert received.body == BODY
    expected = {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "authorization",
    }
    assert {name for name, _ in received.headers} == expected
    assert received.header("authorization") == "Bearer canary-key-1"
    assert reply.source.request_id is not None


async def test_an_api_without_a_key_gets_none(upstream: OpenAIApi, simulator: Simulator) -> None:
    """Protects models on one's own machine, which need no key, from an empty one."""
    with pytest.raises(UpstreamRefused) as caught:
        await upstream.open(call(BODY), _credential(simulator.url, key=None), Watch(), 10.0)
    assert caught.value.error.status == 401
    assert simulator.record.requests[0].header("authorization") is None


async def test_a_changed_credential_is_used_as_it_is_now(upstream: OpenAIApi, simulator: Simulator) -> None:
    """Protects a new key under an old alias from the old one's headers and address."""
    for key, place in (("first", "/a"), ("second", "/b")):
        reply = await upstream.open(call(BODY), _credential(simulator.url + place, key=key), Watch(), 10.0)
        reply.close()
    assert [(one.key, one.path[:2]) for one in simulator.record.requests] == [
        ("first", "/a"),
        ("second", "/b"),
    ]


async def test_who_has_left_is_forgotten(upstream: OpenAIApi, simulator: Simulator) -> None:
    """Protects memory, and a key from being kept when it is configured no more."""
    old, new = _credential(simulator.url, key="first"), _credential(simulator.url, key="second")
    for each in (old, new):
        (await upstream.open(call(BODY), each, Watch(), 10.0)).close()
    await upstream.forget(old)
    assert [owner for owner, _ in upstream._postings.values()] == [new]
    await upstream.forget(new)
    assert not upstream._postings


@pytest.mark.parametrize(
    ("step", "cls"),
    [
        (Step("reset_before_headers"), FailureClass.SERVER),
        (Step("garbage"), FailureClass.SERVER),
        (Step("stall_before_headers", seconds=0), FailureClass.SERVER),
        (Step("redirect", location="http://192.0.2.1/"), FailureClass.UNKNOWN),
    ],
    ids=lambda value: value.do if isinstance(value, Step) else None,
)
async def test_faults_below_http_are_the_same_as_anywhere(
    upstream: OpenAIApi, simulator: Simulator, step: Step, cls: FailureClass
) -> None:
    """Protects the walk, which goes on from a fault of another API as from one of Anthropic's."""
    simulator.script("canary-key-1", [step])
    with pytest.raises((UpstreamFault, UpstreamRefused)) as caught:
        await upstream.open(call(BODY), _credential(simulator.url), Watch(), 0.2)
    found = caught.value
    if isinstance(found, UpstreamRefused):
        assert classify(found.error, now_unix_ms=0).cls is cls
    else:
        assert isinstance(found, UpstreamFault)
        assert classify_fault(found.fault).cls is cls
    assert "canary" not in repr(found) + str(found)


def test_it_is_the_adapter_of_its_kind() -> None:
    """Protects the choice of what to speak to a credential."""
    assert isinstance(UPSTREAMS[Kind.OPENAI](WaysOut(Policy()), Policy()), OpenAIApi)
    assert OpenAIApi.dialect == "openai_chat"
