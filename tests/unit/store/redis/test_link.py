"""Every call to Redis is bounded, and one that fails is left alone until it answers again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from proxy.secrets import Secret
from proxy.store.base import NotShared
from proxy.store.redis import link as link_module
from proxy.store.redis.link import RedisLink, Script
from proxy.tasks import spawn
from tests.support.house import eventually
from tests.support.real_redis import RealRedis

_RESET = b"reset"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may keep the other side from answering; where that matters a test says so itself."""
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 5.0)


@asynccontextmanager
async def _scripted(*answers: bytes) -> AsyncIterator[tuple[RedisLink, list[bytes]]]:
    """A link to a server that answers each command of ours with the next of these, and hangs after the last."""
    asked: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while words := await _command(reader):
                if words[0] in {b"CLIENT", b"HELLO", b"SELECT"}:
                    writer.write(b"+OK\r\n")
                    continue
                asked.append(words[0])
                if not left:
                    continue
                if (answer := left.pop(0)).endswith(_RESET):
                    writer.write(answer.removesuffix(_RESET))
                    writer.transport.abort()
                    return
                writer.write(answer)
        except ConnectionError:
            return
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        link = RedisLink(Secret(f"redis://:pass-canary@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"))
        try:
            yield link, asked
        finally:
            await link.close()


async def _command(reader: asyncio.StreamReader) -> Sequence[bytes]:
    try:
        count = int((await reader.readuntil(b"\r\n"))[1:])
        words = []
        for _ in range(count):
            length = int((await reader.readuntil(b"\r\n"))[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
    except asyncio.IncompleteReadError:
        return ()
    return words if words[0] != b"AUTH" else (b"CLIENT",)


_STATES = {
    "read-only": b"-READONLY You can't write against a read only replica.\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "full": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
}


@pytest.mark.parametrize("name", _STATES)
async def test_one_answer_about_its_state_is_enough(name: str) -> None:
    """Protects requests from asking a Redis that has said what is the matter with it."""
    async with _scripted(_STATES[name]) as (link, asked):
        for _ in range(3):
            with pytest.raises(NotShared):
                await link.call("SET", "a", 1)
        assert link.degraded
        assert asked == [b"SET"]


@pytest.mark.parametrize("answer", [_RESET, b"$5\r\nab" + _RESET, b"", b"!garbage\r\n"])
async def test_three_failures_in_a_row_open_the_breaker(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects requests from waiting for a Redis that hangs, breaks off or talks nonsense, more than three times."""
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 5.0 if answer else 0.1)
    # a busy machine may keep this process from running for as long as it likes
    monkeypatch.setattr(link_module, "_OWN_DELAY_S", 60.0)
    async with _scripted(*([answer] * 3 if answer else [])) as (link, asked):
        for number in range(5):
            assert link.degraded is (number >= 3)
            with pytest.raises(NotShared) as caught:
                await link.call("GET", "a")
            assert "pass-canary" not in str(caught.value)
        assert len(asked) <= 3


async def test_a_process_that_was_kept_from_running_gives_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects limits from being counted alone because a machine was busy for a moment."""
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 0.05)
    async with _scripted() as (link, _):
        for _ in range(4):
            asking = spawn(link.call("GET", "a"), name="ask")
            await asyncio.sleep(0.01)
            time.sleep(0.2)  # noqa: ASYNC251 - the loop is to stand still
            with pytest.raises(NotShared):
                await asking
        assert not link.degraded


async def test_a_success_between_starts_the_count_anew() -> None:
    """Protects from giving a Redis up for failures that lie apart."""
    error = b"-ERR no\r\n"
    async with _scripted(error, error, b"+OK\r\n", error, error) as (link, _):
        for fails in (True, True, False, True, True):
            if fails:
                with pytest.raises(NotShared):
                    await link.call("GET", "a")
            else:
                assert await link.call("GET", "a") == b"OK"
        assert not link.degraded


async def test_only_a_probe_that_could_write_closes_it_again() -> None:
    """Protects from taking a copy that only reads for a Redis that works."""
    async with _scripted(_STATES["read-only"], _STATES["read-only"], b"+OK\r\n", b"+OK\r\n") as (link, asked):
        with pytest.raises(NotShared):
            await link.call("GET", "a")
        assert not await link.probe()
        assert repr(link) == "<RedisLink degraded>"
        assert await link.probe()
        assert repr(link) == "<RedisLink good>"
        assert await link.call("GET", "a") == b"OK"
        assert asked == [b"GET", b"SET", b"SET", b"GET"]


async def test_a_script_redis_has_forgotten_is_sent_whole() -> None:
    """Protects the first calls after a restart of Redis, which has no scripts then."""
    async with _scripted(b"-NOSCRIPT No matching script.\r\n", b":7\r\n") as (link, asked):
        assert await link.run(Script("return 7"), ()) == 7
        assert asked == [b"EVALSHA", b"EVAL"]
        assert not link.degraded


async def test_a_script_that_is_sent_whole_outlives_the_connection_it_was_first_asked_over() -> None:
    """Protects a request from a failure of others, where its own script goes out once more anyway."""
    async with _scripted(b"-NOSCRIPT No matching script.\r\n", _RESET, b":7\r\n") as (link, asked):
        found = await asyncio.gather(
            link.run(Script("return 7"), ()), link.call("GET", "a"), return_exceptions=True
        )
        assert found[0] == 7
        assert isinstance(found[1], NotShared)
        assert asked == [b"EVALSHA", b"GET", b"EVAL"]


async def test_nobody_listens() -> None:
    """Protects a start before Redis, and the password of its address."""
    link = RedisLink(Secret("redis://:pass-canary@127.0.0.1:1/0"))
    assert not await link.probe()
    assert "pass-canary" not in repr(link)
    await link.close()


async def test_what_is_asked_in_one_turn_goes_over_one_connection(redis: RealRedis, link: RedisLink) -> None:
    """Protects a busy process from a connection and a write for each call, and callers from each other's answers."""
    asked = [link.call("SET", f"k{number}", number) for number in range(20)]
    asked += [link.call("GET", f"k{number}") for number in range(20)]
    answers = await asyncio.gather(*asked, link.call("HSET", "h", "a", 1), link.call("HGETALL", "h"))
    assert answers[20:40] == [str(number).encode() for number in range(20)]
    assert answers[-1] == {b"a": b"1"}
    assert await _clients(redis) == 1
    await link.close()
    assert await _clients(redis) == 0


async def test_an_error_is_its_own_callers_alone() -> None:
    """Protects the calls of one turn from a bad one among them."""
    async with _scripted(b"+OK\r\n", b"-ERR no\r\n", b"+OK\r\n") as (link, _):
        found = await asyncio.gather(*(link.call("GET", name) for name in "abc"), return_exceptions=True)
        assert found[0] == found[2] == b"OK"
        assert isinstance(found[1], NotShared)


async def test_a_connection_that_breaks_takes_its_own_calls_along_and_is_one_failure() -> None:
    """Protects the calls of another turn, and a Redis that broke off once from being given up for it."""
    async with _scripted(b"+OK\r\n", _RESET, b"+OK\r\n") as (link, asked):
        found = await asyncio.gather(*(link.call("GET", name) for name in "abcde"), return_exceptions=True)
        assert found[0] == b"OK"
        assert all(isinstance(each, NotShared) for each in found[1:])
        assert not link.degraded
        assert await link.call("GET", "f") == b"OK"
        assert len(asked) == 3


async def test_a_caller_that_leaves_takes_nothing_from_the_others() -> None:
    """Protects the calls of one turn from a client that disconnects in the middle of them."""
    async with _scripted(b"+OK\r\n", b"+OK\r\n") as (link, asked):
        leaving, staying = (spawn(link.call("GET", name), name=name) for name in "ab")
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == b"OK"
        assert asked == [b"GET", b"GET"]
        assert leaving.cancelled()


async def test_a_connection_that_was_closed_meanwhile_costs_nobody_a_call(
    redis: RealRedis, link: RedisLink
) -> None:
    """Protects the first calls after a restart of Redis."""
    await asyncio.gather(*(link.call("PING") for _ in range(3)))
    await redis.kill()
    await redis.start()
    assert await link.call("PING")
    assert not link.degraded


async def test_what_nobody_waits_for_goes_with_the_next_call_and_soon_without_one(
    redis: RealRedis, link: RedisLink
) -> None:
    """Protects Redis from a turn of its own for each thing that it is told, and what is told from staying here."""
    await link.call("SET", "n", 0)
    link.tell("INCR", "n")
    link.tell_script(Script("return redis.call('INCR', KEYS[1])"), ("n",))
    assert await link.call("GET", "n") == b"1"
    assert await link.call("GET", "n") == b"2"
    link.tell("INCR", "n")
    await eventually(lambda: _is(redis, b"3"), 5)
    link.tell("INCR", "n")
    await link.close()
    assert await redis.ask("GET", "n") == b"4"


async def test_what_is_asked_while_nothing_is_waited_for_goes_out_before_anything_else_is_done(
    redis: RealRedis, link: RedisLink
) -> None:
    """Protects what is prepared meanwhile from being waited for by Redis; and the order of what was told before.

    While an answer is waited for, all of a turn goes out together.
    """
    count, seen = (Script(f"return redis.call('{command}', KEYS[1])") for command in ("INCR", "GET"))
    for each in (count, seen):
        assert await link.run(each, ("another",))
    # a second connection is there
    await asyncio.gather(link.call("SET", "large", b"x" * 100_000), link.call("PING"))
    bystander = Redis(port=redis.port)
    link.tell("SET", "n", 5)
    asked = [link.running(count, ("n",), read=_as_it_is)]
    # the loop stands still, and with it whatever has not gone out yet
    for _ in range(5000):
        if bystander.get("n") == b"6":
            break
        time.sleep(0.001)  # noqa: ASYNC251 - as said
    assert bystander.get("n") == b"6"
    asked += [link.running(each, ("n",), read=_as_it_is) for each in (count, seen)]
    time.sleep(0.05)  # noqa: ASYNC251 - as said
    assert bystander.get("n") == b"6"
    bystander.close()
    assert await asyncio.gather(*asked) == [6, 7, b"7"]


async def test_an_answer_is_read_for_who_no_longer_waits_too() -> None:
    """Protects what an answer tells of from being forgotten where its asker has left; and the link from its reader."""
    told: list[tuple[object, bool]] = []

    def read(answer: object, heard: bool) -> object:
        told.append((answer, heard))
        return [answer]

    async with _scripted(b":1\r\n", b":2\r\n", b":3\r\n") as (link, _):
        script = Script("return 1")
        assert await link.running(script, (), read=read) == [1]
        gone = link.running(script, (), read=read)
        gone.cancel()
        with pytest.raises(NotShared):
            await link.running(script, (), read=_fail)
        assert told == [(1, True), (2, False)]
        assert not link.degraded


async def test_a_redis_that_is_given_up_is_told_nothing() -> None:
    """Protects a process on its own from work for a Redis that is away."""
    async with _scripted(_STATES["full"]) as (link, asked):
        with pytest.raises(NotShared):
            await link.call("SET", "a", 1)
        link.tell("SET", "a", 1)
        link.tell_script(Script("return 1"), ())
        await asyncio.sleep(0.02)
        assert asked == [b"SET"]


async def test_something_large_goes_alone(redis: RealRedis, link: RedisLink) -> None:
    """Protects the other calls of a turn from waiting until it has gone out."""
    await asyncio.gather(link.call("SET", "large", b"x" * 100_000), link.call("PING"))
    assert await _clients(redis) == 2


def _as_it_is(answer: object, heard: bool) -> object:
    assert heard
    return answer


def _fail(answer: object, heard: bool) -> object:
    raise ValueError(answer, heard)


async def _is(redis: RealRedis, value: bytes) -> bool:
    return await redis.ask("GET", "n") == value


async def _clients(redis: RealRedis) -> int:
    """Connections to a Redis, without that of who asks."""
    found = await redis.ask("CLIENT", "LIST")
    assert isinstance(found, bytes)
    return len(found.splitlines()) - 1
