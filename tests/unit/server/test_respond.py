"""When the client is told something, and what: the moment of its headers, its keep-alives, its hints."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer

from proxy.dispatch.trace import Trace
from proxy.errors import ErrorKind, GatewayError
from proxy.server.respond import StreamAnswer, retry_headers
from proxy.settings import Policy
from proxy.watch import Watch
from tests.unit.dispatch.building import exchange


def _error(**hints: float | bool | None) -> GatewayError:
    return GatewayError(429, ErrorKind.RATE_LIMIT, "m", **hints)  # type: ignore[arg-type]  # two of its fields


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (_error(), {}),
        (_error(retry_after_s=2.0), {"retry-after": "2"}),
        (_error(retry_after_s=2.1), {"retry-after": "3"}),
        (_error(retry_after_s=3600.0000000004657), {"retry-after": "3600"}),
        (_error(retry_after_s=2.000001), {"retry-after": "3"}),
        (_error(retry_after_s=0.0), {"retry-after": "0"}),
        (_error(retry_after_s=-3.0), {"retry-after": "0"}),
        (_error(should_retry=False), {"x-should-retry": "false"}),
        (_error(should_retry=True), {"x-should-retry": "true"}),
        (_error(retry_after_s=61.0, should_retry=False), {"retry-after": "61", "x-should-retry": "false"}),
    ],
)
def test_hints_are_whole_seconds_rounded_up_and_words(error: GatewayError, headers: dict[str, str]) -> None:
    """Protects the SDKs' own retries from coming a moment too early."""
    assert retry_headers(error) == headers


class _Held:
    """A streamed answer whose connection is never looked at."""

    def __init__(self, hold_back_s: float) -> None:
        self.watch = Watch()
        request = cast(web.Request, SimpleNamespace())
        policy = Policy(hold_back_s=hold_back_s, keep_alive_s=60.0)
        self.answer = StreamAnswer(request, exchange(), Trace(), policy, self.watch, dict)
        self.commits = 0
        self.answer._commit_early = self._commit  # type: ignore[method-assign]  # seen instead of done

    def _commit(self) -> None:
        self.commits += 1

    def close(self) -> None:
        """Forget the timers."""
        self.answer.close()
        self.watch.close()


async def _pass() -> None:
    await asyncio.sleep(0.2)


async def test_headers_go_out_when_the_time_is_over_and_an_attempt_is_in_flight() -> None:
    """Protects a client's connection while its answer is being waited for."""
    held = _Held(0.01)
    held.answer.attempt_started()
    await _pass()
    assert held.commits == 1
    held.close()


async def test_headers_wait_for_an_attempt_when_the_time_is_over_in_the_queue() -> None:
    """Protects the headers' truth: they name the credential, and in the queue there is none."""
    held = _Held(0.01)
    await _pass()
    assert held.commits == 0
    held.answer.attempt_started()
    assert held.commits == 1
    held.close()


async def test_headers_wait_between_two_attempts() -> None:
    """Protects the headers' truth again: the attempt they name has to be the one that answers."""
    held = _Held(0.01)
    held.answer.attempt_started()
    held.answer.attempt_ended()
    await _pass()
    assert held.commits == 0
    held.answer.attempt_started()
    assert held.commits == 1
    held.close()


async def test_before_the_time_is_over_nothing_is_sent() -> None:
    """Protects the right to try again."""
    held = _Held(60.0)
    held.answer.attempt_started()
    await _pass()
    assert held.commits == 0
    assert not held.answer.committed
    held.close()


async def test_an_error_before_the_headers_is_not_the_streams_business() -> None:
    """Protects clients from an error frame where a status would do."""
    held = _Held(60.0)
    assert await held.answer.fail(_error()) is None
    with pytest.raises(RuntimeError):
        _ = held.answer.response
    held.close()


async def test_a_closed_answer_sends_nothing_later() -> None:
    """Protects the next request on the connection from the frames of this one."""
    held = _Held(0.01)
    held.close()
    held.answer.attempt_started()
    await _pass()
    assert held.commits == 0


async def test_headers_that_were_due_go_out_before_an_error_of_the_same_moment() -> None:
    """Protects a client whose attempt fails in the very turn of the loop in which its headers were due."""

    async def handle(request: web.Request) -> web.StreamResponse:
        watch = Watch()
        answer = StreamAnswer(request, exchange(), Trace(), Policy(hold_back_s=60.0), watch, dict)
        answer._hold_back_over()
        answer.attempt_started()
        found = await answer.fail(_error())
        answer.close()
        watch.close()
        assert found is not None
        return found

    app = web.Application()
    app.router.add_post("/", handle)
    async with TestClient(TestServer(app)) as asked:
        response = await asked.post("/")
        assert response.status == 200
        assert b"rate_limit_error" in await response.content.readany()
        with pytest.raises(ClientPayloadError):
            await response.read()
