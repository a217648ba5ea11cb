"""One call from its bytes to the client's, with everything in between but a socket upstream."""

import asyncio
import contextlib
import dataclasses

import aiohttp
import msgspec
import pytest
import yarl

from proxy.exchange import Operation
from proxy.pool import Fault
from proxy.server.app import ROUTES
from proxy.server.handlers import NoHold
from proxy.tasks import spawn
from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import TraceView
from tests.support.house import eventually
from tests.unit.dispatch.building import (
    HELLO,
    MESSAGE,
    MODEL,
    OPEN,
    OVERLOADED,
    PING,
    START,
    WHOLE,
    Bench,
    Chunk,
    bench,
    body,
    refused,
    streamed,
    whole,
)
from tests.unit.server.building import AUTHORIZED, Client, client, services

_CHAT = "/v1/chat/completions"
_MESSAGES = "/v1/messages"


async def _asked(
    house: Bench, path: str, data: bytes, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    async with client(services(house), ROUTES) as asked:
        answer = await asked.post(path, data=data, headers={**AUTHORIZED, **(headers or {})})
        found = (
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            await answer.read(),
        )
    assert house.pool.in_flight == 0
    return found


async def test_a_whole_message_goes_to_the_client_untouched() -> None:
    """Protects the answer's bytes, and tells who gave it."""
    house = bench(whole())
    status, headers, data = await _asked(house, _MESSAGES, body())
    assert (status, data) == (200, MESSAGE)
    assert headers["content-type"] == "application/json"
    assert headers["request-id"] == headers["x-request-id"]
    assert headers["x-carousel-credential"] == "api-1"
    assert headers["x-carousel-attempts"] == "1"
    assert headers["x-carousel-upstream-request-id"] == "req_upstream"


async def test_a_streamed_message_goes_to_the_client_untouched() -> None:
    """Protects the answer's bytes, and proxies on the way from holding them back."""
    house = bench(streamed(*WHOLE))
    status, headers, data = await _asked(house, _MESSAGES, body(stream=True))
    assert (status, data) == (200, b"".join(WHOLE))
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"


async def test_a_chat_client_reads_its_own_dialect() -> None:
    """Protects the other dialect, whole and streamed."""
    _, _, data = await _asked(bench(whole()), _CHAT, body())
    found = msgspec.json.decode(data)
    assert found["object"] == "chat.completion"
    assert found["choices"][0]["message"]["content"] == "Hello"
    _, _, data = await _asked(bench(streamed(*WHOLE)), _CHAT, body(stream=True))
    assert data.endswith(b"data: [DONE]\n\n")
    assert b"Hello" in data


async def test_counting_tokens_asks_its_own_endpoint() -> None:
    """Protects a count from being answered, and paid, as a message."""
    house = bench(whole(b'{"input_tokens":12}'))
    _, _, data = await _asked(house, f"{_MESSAGES}/count_tokens", body())
    assert data == b'{"input_tokens":12}'
    assert house.upstream.calls[0][1].operation is Operation.COUNT_TOKENS


async def test_a_request_without_a_model_gets_the_default_one() -> None:
    """Protects clients that name none."""
    house = bench(whole())
    data = msgspec.json.encode({"messages": [{"role": "user", "content": "Hi"}]})
    _, headers, _ = await _asked(house, _CHAT, data)
    assert headers["x-carousel-model"] == MODEL
    assert MODEL.encode() in house.upstream.calls[0][1].body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_after_a_fault_the_headers_tell_of_both_attempts(stream: bool) -> None:
    """Protects operators, who see in an answer that it was rescued."""
    house = bench(Fault.RESET, streamed(*WHOLE) if stream else whole())
    status, headers, _ = await _asked(house, _MESSAGES, body(stream=stream))
    assert (status, headers["x-carousel-credential"], headers["x-carousel-attempts"]) == (200, "api-2", "2")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_error_tells_who_was_asked_last(stream: bool) -> None:
    """Protects operators, who have to find the credential that failed."""
    house = bench(refused(400, message="max_tokens: no"))
    status, headers, data = await _asked(house, _MESSAGES, body(stream=stream))
    assert (status, headers["x-carousel-credential"], headers["x-carousel-attempts"]) == (400, "api-1", "1")
    assert b"max_tokens: no" in data


async def test_an_error_before_anybody_was_asked_names_nobody() -> None:
    """Protects operators from looking at a credential that had no part in it."""
    status, headers, _ = await _asked(bench(), _MESSAGES, b"nonsense")
    assert status == 400
    assert "x-carousel-credential" not in headers


_ENDS: dict[str, tuple[list[Chunk], bytes]] = {
    "an end": ([], b"api_error"),
    "a reset": ([Fault.RESET], b"api_error"),
    "an error event": ([OVERLOADED], b"overloaded_error"),
    "a mistake of ours": ([ValueError("canary")], b"api_error"),
}


@pytest.mark.parametrize(("end", "kind"), _ENDS.values(), ids=_ENDS.keys())
@pytest.mark.parametrize("path", [_MESSAGES, _CHAT])
async def test_a_stream_that_breaks_ends_in_one_error_and_no_happy_end(
    path: str, end: list[Chunk], kind: bytes
) -> None:
    """Protects clients from half an answer that looks whole, and from an error told twice."""
    house = bench(streamed(START, OPEN, HELLO, *end))
    async with client(services(house), ROUTES) as asked:
        answer = await asked.post(path, data=body(stream=True), headers=AUTHORIZED)
        data = await _read_to_its_end(answer)
    assert b"Hello" in data
    assert b"message_stop" not in data
    assert b"[DONE]" not in data
    assert b'"finish_reason":"' not in data
    assert data.count(b'"error":{') == 1
    assert b"HTTP/1.1" not in data
    assert b"canary" not in data
    assert path == _CHAT or kind in data
    assert house.pool.in_flight == 0
    assert len(house.upstream.calls) == 1


async def _read_to_its_end(answer: aiohttp.ClientResponse) -> bytes:
    """Everything that comes, also of an answer that is cut."""
    found = b""
    with contextlib.suppress(aiohttp.ClientError):
        async with asyncio.timeout(20):
            async for piece in answer.content.iter_any():
                found += piece
    return found


async def test_a_client_that_leaves_a_stream_gives_its_place_back() -> None:
    """Protects places: whoever leaves takes none along."""
    reply = streamed(START, OPEN, HELLO, None)
    house = bench(reply)
    async with client(services(house), ROUTES) as asked:
        answer = await asked.post(_MESSAGES, data=body(stream=True), headers=AUTHORIZED)
        assert (await answer.content.readany()).startswith(b"event: message_start")
        assert house.pool.in_flight == 1
        answer.close()
        async with asyncio.timeout(20):
            while house.pool.in_flight:  # noqa: ASYNC110 - the pool has no event to wait for
                await asyncio.sleep(0.001)
    assert reply.closed == 1


async def test_a_silent_stream_is_kept_alive_between_events() -> None:
    """Protects a client's connection while a model thinks: in its own dialect's way."""
    for path, keep_alive in ((_MESSAGES, b"event: ping\n"), (_CHAT, b": ping\n")):
        house = bench(streamed(PING, None), hold_back_s=0.0, keep_alive_s=0.01)
        shared = services(house)
        shared.settings = dataclasses.replace(shared.settings, policy=house.policy)
        async with client(shared, ROUTES) as asked:
            answer = await asked.post(path, data=body(stream=True), headers=AUTHORIZED)
            data = b""
            while data.count(keep_alive) < 3:
                data += await asyncio.wait_for(answer.content.readany(), 20)
            assert answer.headers["x-carousel-attempts"] == "1"
            answer.close()


async def test_a_stream_is_told_of_a_shutdown() -> None:
    """Protects clients from taking the end of the server for the end of an answer."""
    house = bench(streamed(START, OPEN, HELLO, None))
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(_CHAT, data=body(stream=True), headers=AUTHORIZED)
        await answer.content.readany()
        shared.inflight.shut_down_answers()
        data = await _read_to_its_end(answer)
    assert b"server_shutdown" in data
    assert b"[DONE]" not in data
    assert house.pool.in_flight == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", [_CHAT, _MESSAGES])
async def test_an_answer_that_has_not_begun_at_a_shutdown_is_an_error_to_be_repeated(
    path: str, stream: bool
) -> None:
    """Protects clients from a connection that closes without a word, and from taking it for a mistake of ours."""
    house = bench(None)
    shared = services(house)
    lines: list[RequestLine] = []
    shared.record = lambda ended: lines.append(ended.line())
    async with client(shared, ROUTES) as asked:
        asking = spawn(asked.post(path, data=body(stream=stream), headers=AUTHORIZED), name="ask")

        async def begun() -> bool:
            return bool(house.upstream.calls)

        await eventually(begun, 5)
        shared.inflight.shut_down_answers()
        answer = await asking
        told = msgspec.json.decode(await answer.read())["error"]
        again = await asked.get("/health")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "x-should-retry" not in answer.headers
    assert told["message"] == "server shutting down"
    assert (house.pool.in_flight, again.status, shared.inflight._answers) == (0, 200, set())
    assert [line.status for line in lines] == [503]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_each_call_is_one_line_of_the_log_without_its_texts(stream: bool) -> None:
    """Protects operators, who count by these lines, and clients, whose words are in none."""
    house = bench(Fault.RESET, streamed(*WHOLE) if stream else whole())
    lines: list[RequestLine] = []
    shared = services(house)
    shared.record = lambda ended: lines.append(ended.line())
    async with client(shared, ROUTES) as asked:
        data = body(stream=stream, messages=[{"role": "user", "content": "canary"}])
        answer = await asked.post(_MESSAGES, data=data, headers=AUTHORIZED)
        await answer.read()
    (line,) = lines
    assert line.status == 200
    assert line.credential == "api-2"
    assert line.attempts == 2
    assert line.output_tokens == 7
    assert line.client == "env-1"
    assert line.failed == ["api-1:server"]
    assert "canary" not in str(lines)


async def _traced(house: Bench, data: bytes, path: str = _MESSAGES) -> TraceView:
    """What is remembered of one call."""
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(path, data=data, headers=AUTHORIZED)
        await _read_to_its_end(answer)
    (found,) = shared.traces.newest()
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_each_attempt_is_remembered_with_what_became_of_it(stream: bool) -> None:
    """Protects the answer to why a request took so long: who failed, how, when, and who answered in the end."""
    house = bench(refused(429), Fault.RESET, streamed(*WHOLE) if stream else whole())
    found = await _traced(house, body(stream=stream, model="sonnet"))
    assert [(each.credential, each.outcome, each.status) for each in found.attempts] == [
        ("api-1", "rate", 429),
        ("api-2", "server", 0),
        ("api-3", "success", 200),
    ]
    assert all(each.start_ms >= 0 and each.took_ms >= 0 for each in found.attempts)
    assert (found.model_asked, found.model_sent, found.answered_by) == ("sonnet", MODEL, "api-3")
    assert (found.status, found.output_tokens, found.stream) == (200, 7, stream)


@pytest.mark.parametrize(
    ("end", "outcome"), [((Fault.RESET,), "cut"), ((OVERLOADED,), "overloaded"), ((), "cut")]
)
async def test_an_answer_that_broke_off_is_remembered_as_such(end: tuple[Chunk, ...], outcome: str) -> None:
    """Protects operators from taking half an answer, whose status is 200, for a whole one."""
    found = await _traced(bench(streamed(START, OPEN, HELLO, *end)), body(stream=True))
    (attempt,) = found.attempts
    assert (attempt.outcome, attempt.status, found.answered_by) == (outcome, 200, "api-1")


async def test_a_call_nobody_answered_is_remembered_with_its_failures_alone() -> None:
    """Protects operators from an attempt that was never made."""
    found = await _traced(bench(refused(400)), body())
    assert [(each.outcome, each.status) for each in found.attempts] == [("request", 400)]
    assert (found.status, found.answered_by, found.first_event_ms) == (400, None, None)
    unread = await _traced(bench(), b"nonsense")
    assert (unread.status, unread.attempts, unread.model_asked, unread.model_sent) == (400, (), None, None)


async def _ask(asked: Client) -> None:
    await asked.post(_MESSAGES, data=body(stream=True), headers=AUTHORIZED)


async def test_the_status_remembered_is_the_one_the_client_got() -> None:
    """Protects operators from reading that a client left where it was refused, or met a mistake of ours."""
    house = bench(whole(), body_max_bytes=100)
    shared = services(house)
    shared.settings = dataclasses.replace(shared.settings, policy=house.policy)
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(_MESSAGES, data=b"x" * 101, headers=AUTHORIZED)
    assert [answer.status, *(one.status for one in shared.traces.newest())] == [413, 413]
    mistake = streamed(ValueError("canary"))
    assert (await _traced(bench(mistake), body())).status == 500


async def test_a_client_that_left_is_remembered_with_the_call_it_left() -> None:
    """Protects credentials from being blamed for a client's impatience."""
    house = bench(None)
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        asking = asyncio.create_task(_ask(asked))  # noqa: TID251 - held by this test
        async with asyncio.timeout(20):
            while not house.pool.in_flight:  # noqa: ASYNC110 - the pool has no event to wait for
                await asyncio.sleep(0.001)
        asking.cancel()
        async with asyncio.timeout(20):
            while not len(shared.traces):  # noqa: ASYNC110 - nor have the traces
                await asyncio.sleep(0.001)
    (found,) = shared.traces.newest()
    assert [(each.credential, each.outcome, each.status) for each in found.attempts] == [
        ("api-1", "abandoned", 0)
    ]
    assert (found.status, found.answered_by) == (499, None)


async def test_what_is_remembered_of_a_clients_own_words_has_an_end() -> None:
    """Protects memory from a client whose every message has a field that is lost, and from endless names."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi", "audio": {"id": "a"}}]
    found = await _traced(bench(whole()), body(messages=turns * 100 + turns[:1]), _CHAT)
    assert len(found.dropped) == 32
    longer = await _traced(bench(refused(404)), body(model="claude-" + "x" * 500))
    assert longer.model_asked is not None
    assert longer.model_sent is not None
    assert (len(longer.model_asked), len(longer.model_sent)) == (100, 100)


def test_a_whole_answer_is_never_committed_early() -> None:
    """Protects the right of a call that is not streamed to be tried again to its end."""
    hold = NoHold()
    hold.attempt_started()
    assert not hold.committed
    hold.attempt_ended()
    assert not hold.committed


@pytest.mark.parametrize(
    "name",
    ["a%00b", "a%0d%0ax-evil:%201", "%ff%fe", "%ed%a0%80", "gpt-9", "x" * 3000, "%F0%9F%98%80", "%2e%2e"],
)
async def test_a_deployment_of_any_name_is_at_worst_not_found(name: str) -> None:
    """Protects headers and log from a model's name that comes in the address."""
    path = yarl.URL(f"/openai/deployments/{name}/chat/completions", encoded=True)
    async with client(services(bench()), ROUTES) as asked:
        answer = await asked.post(path, data=body(), headers=AUTHORIZED)
        assert answer.status in {400, 404}
        assert "x-evil" not in answer.headers
        assert "message" in (await answer.json())["error"]


async def test_a_deployment_is_the_model_that_is_asked() -> None:
    """Protects clients of Azure's API, whose body may name another."""
    house = bench(whole())
    _, _, data = await _asked(house, f"/openai/deployments/{MODEL}/chat/completions", body(model="other"))
    assert msgspec.json.decode(data)["model"] == MODEL
    assert MODEL.encode() in house.upstream.calls[0][1].body
