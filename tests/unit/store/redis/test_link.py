"""Every call to Redis is bounded, and one that fails is left alone until it answers again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from proxy.secrets import Secret
from proxy.store.base import NotShared
from proxy.store.redis.link import RedisLink, Script

_RESET = b"reset"


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
async def test_three_failures_in_a_row_open_the_breaker(answer: bytes) -> None:
    """Protects requests from waiting for a Redis that hangs, breaks off or talks nonsense, more than three times."""
    async with _scripted(*([answer] * 3 if answer else [])) as (link, asked):
        for number in range(5):
            assert link.degraded is (number >= 3)
            with pytest.raises(NotShared) as caught:
                await link.call("GET", "a")
            assert "pass-canary" not in str(caught.value)
        assert len(asked) <= 3


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


async def test_nobody_listens() -> None:
    """Protects a start before Redis, and the password of its address."""
    link = RedisLink(Secret("redis://:pass-canary@127.0.0.1:1/0"))
    assert not await link.probe()
    assert "pass-canary" not in repr(link)
    await link.close()
