"""What is promised to clients holds behind the real nginx, configured as it is shipped."""

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.clock import SystemClock
from proxy.simulator import Pace, Step
from tests.deploy.conftest import Site
from tests.security.framing import ABUSES, FAREWELL, HIDDEN_PATH, HIDDEN_TEXT, Abuse
from tests.security.targets import TARGETS, Opens, Target
from tests.security.wire import ask, chat_body, converse, messages_body, request
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import Spoken, body_of
from tests.support.nginx import nginx

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("nginx")]

_CLIENT: Final = {"authorization": f"Bearer {CLIENT_KEY}", "anthropic-version": "2023-06-01"}
_EVENTS_PER_S: Final = 10.0
_SLOW: Final = Step(pace=Pace(first_token_delay_s=0.0, tokens_per_s=_EVENTS_PER_S, events=20))
_MIB: Final = 1024 * 1024
clock = SystemClock()


@pytest.mark.parametrize("spoken", Spoken)
async def test_events_come_one_by_one_and_not_at_the_end(site: Site, spoken: Spoken) -> None:
    """Protects readers from an answer that nginx keeps until it is whole: half of it is there in half of the time."""
    site.simulator.script("k1", then=_SLOW)
    site.simulator.script("k2", then=_SLOW)
    came_s: list[float] = []
    async with (
        aiohttp.ClientSession() as session,
        session.post(site.url + spoken, data=body_of(spoken, stream=True), headers=_CLIENT) as answer,
    ):
        assert answer.status == 200
        while await answer.content.readany():
            came_s.append(clock.monotonic_s())
    # buffered, everything would come in one or two reads
    assert len(came_s) >= 10
    middle_s, end_s = came_s[len(came_s) // 2], came_s[-1]
    assert end_s - middle_s > 0.25 * (end_s - came_s[0])


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the simulated Claude is asked, it tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("prefix", ["", "/hf", "/carousel", "/carousel/hf"])
async def test_each_prefix_leads_to_the_same_answers(site: Site, prefix: str) -> None:
    """Protects the addresses that networks and host names ask for."""
    for path, body in (("/v1/messages", messages_body()), ("/v1/chat/completions", chat_body())):
        assert (await ask(site.url, prefix + path, body)).status == 200
    models = await ask(site.url, f"{prefix}/v1/models", method="GET")
    assert models.status == 200
    assert b"claude-" in models.body


_SIZES: Final = {
    "/v1/messages": 32,
    "/hf/v1/chat/completions": 32,
    "/v1/files": 500,
    "/hf/v1/files": 500,
    "/v1/messages/batches": 256,
    "/hf/v1/messages/batches": 256,
    "/carousel/v1/files": 500,
}


@pytest.mark.parametrize("path", _SIZES)
async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(site: Site, path: str) -> None:
    """Protects memory and disks, and clients from a page of HTML: the refusal is JSON either dialect can read."""
    declared = {"content-length": str(_SIZES[path] * _MIB + 1)}
    talk = await converse(site.url, request(path, headers=declared), first=True)
    assert talk.status == 413
    error = talk.answers[0].error()
    assert error["type"] == "request_too_large"
    assert site.simulator.record.requests == []


@pytest.mark.parametrize("path", _SIZES)
async def test_a_body_of_the_largest_size_is_let_through(site: Site, path: str) -> None:
    """Protects large requests: what Carousel takes nginx takes too, and the first byte is waited for."""
    declared = {"content-length": str(_SIZES[path] * _MIB), "content-type": "application/octet-stream"}
    talk = await converse(site.url, request(path, headers=declared), quiet_s=0.3, first=True)
    assert talk.status != 413


async def test_a_body_of_megabytes_arrives_unchanged(site: Site) -> None:
    """Protects documents and long histories on their way through."""
    body = messages_body("x" * (3 * _MIB))
    assert (await ask(site.url, "/v1/messages", body)).status == 200
    (received,) = site.simulator.record.requests
    assert received.body == body


async def test_a_claimed_address_is_not_believed(site: Site) -> None:
    """Protects the count of wrong keys: who invents an address for each guess is stopped all the same."""
    statuses = []
    for guess in range(40):
        forged = {"x-forwarded-for": f"203.0.113.{guess}", "x-real-ip": f"203.0.113.{guess}"}
        answer = await ask(site.url, "/v1/models", method="GET", key=f"wrong-key-{guess}", headers=forged)
        statuses.append(answer.status)
    # ten guesses a minute at each of the two replicas
    assert statuses.count(401) <= 20
    assert statuses[-1] == 429
    assert (await ask(site.url, "/v1/models", method="GET")).status == 200


async def test_when_no_replica_can_be_reached_the_client_reads_why(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Protects clients from nginx's page of HTML while everything is down."""
    async with nginx(tmp_path_factory.mktemp("alone"), ["127.0.0.1:9"]) as alone:
        answer = await ask(alone.url, "/v1/messages", messages_body())
    assert answer.status == 503
    assert answer.header("retry-after") == "2"
    assert answer.error()["type"] == "api_error"


async def test_what_carousel_says_of_a_fault_is_passed_on_as_it_is(site: Site) -> None:
    """Protects Carousel's own words about a failing upstream, which tell more than nginx could."""
    for key in ("k1", "k2"):
        site.simulator.script(key, then=Step("status", status=500))
    answer = await ask(site.url, "/v1/messages", messages_body())
    assert answer.status == 502
    assert answer.header("x-request-id") is not None


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda abuse: abuse.name)
async def test_the_replicas_see_no_request_that_nginx_has_not_seen(site: Site, abuse: Abuse) -> None:
    """Protects whoever comes next: two servers that see different ends of a request are how requests are smuggled."""
    seen = len(site.nginx.seen)
    last = f"/v1/messages?behind={ABUSES.index(abuse)}"
    talk = await converse(site.url, abuse.data + FAREWELL, quiet_s=0.5)
    assert all(answer.status < 500 or answer.status in {501, 505} for answer in talk.answers), talk.wire
    await ask(site.url, last, messages_body("after the attack"))
    assert site.simulator.record.requests[-1].body == messages_body("after the attack")
    await _until(lambda: last in site.nginx.seen)
    served = sum(HIDDEN_TEXT.encode() in received.body for received in site.simulator.record.requests)
    await _until(lambda: served <= site.nginx.seen[seen:].count(HIDDEN_PATH))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.method} {target.text}")
@pytest.mark.parametrize(
    ("key", "opens"),
    [(None, None), (CLIENT_KEY, Opens.CLIENT), (ADMIN_KEY, Opens.ADMIN)],
    ids=["no key", "client key", "admin key"],
)
async def test_no_spelling_of_an_address_opens_more_behind_nginx(
    site: Site, target: Target, key: str | None, opens: Opens | None
) -> None:
    """Protects each route from being reached past its key by what nginx makes of an address."""
    talk = await converse(site.url, request(target.text, method=target.method, key=key), quiet_s=2.0)
    allowed = {400, 401, 403, 404, 405}
    if opens is target.opens:
        allowed |= {200}
    assert talk.status in allowed, talk.wire
    if target.opens is not Opens.ADMIN or opens is not Opens.ADMIN:
        assert b'"credentials"' not in talk.wire


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"a"', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"max_tokens": 1e400}', b"[" * 100_000],
    ids=["empty", "null", "array", "cut", "no utf-8", "byte order mark", "too large a number", "nested"],
)
async def test_a_body_that_is_no_request_is_a_client_s_fault(site: Site, body: bytes) -> None:
    """Protects clients and logs: what is wrong with a body is told by Carousel, in the dialect's envelope."""
    for path in ("/v1/messages", "/v1/chat/completions"):
        answer = await ask(site.url, path, body)
        assert answer.status == 400
        assert answer.error()["message"]


async def test_many_headers_and_doubled_keys_are_refused(site: Site) -> None:
    """Protects the decision whose request it is: two keys, or headers without end, are refused."""
    doubled = await ask(site.url, "/v1/models", method="GET", headers={"x-api-key": "another-key-entirely"})
    assert doubled.status == 401
    large = await ask(site.url, "/v1/models", method="GET", headers={"x-large": "x" * 100_000})
    assert 400 <= large.status < 500


async def test_a_thousand_pipelined_requests_are_answered_in_order(site: Site) -> None:
    """Protects a connection that many requests share at once."""
    one = request("/live", method="GET", headers={"connection": "keep-alive"})
    last = request("/v1/models", method="GET")
    talk = await converse(site.url, one * 999 + last)
    assert [answer.status for answer in talk.answers] == [200] * 1000
    assert b'"data"' in talk.answers[-1].body
    assert all(msgspec.json.decode(answer.body) for answer in talk.answers)
