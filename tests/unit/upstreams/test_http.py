"""The way out on real sockets: every fault by its name, every read within its bounds."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from multidict import CIMultiDict
from yarl import URL

from proxy.pool import Fault
from proxy.pool.headroom import Allowance
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import EndedBy, Limits, Simulator, Step
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.http import WaysOut
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch
from tests.unit.upstreams.building import BODY

_KEY = "k"
_STREAM = BODY[:-1] + b',"stream":true}'


@pytest.fixture
async def ways_out() -> AsyncIterator[WaysOut]:
    """Ways out with a small bound for bodies."""
    found = WaysOut(Policy(connect_timeout_s=20.0, upstream_body_max_bytes=64 * 1024))
    yield found
    await found.close()


@pytest.fixture
async def hurried() -> AsyncIterator[WaysOut]:
    """Ways out that do not wait long for a connection, for what never comes about."""
    found = WaysOut(Policy(connect_timeout_s=0.2))
    yield found
    await found.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def _post(
    ways_out: WaysOut, url: str, body: bytes = BODY, *, limit_s: float = 10.0, proxy: Secret | None = None
) -> HttpReply:
    headers = CIMultiDict({"anthropic-version": "2023-06-01", "x-api-key": _KEY})
    return await ways_out.via(proxy).posting(URL(url) / "v1/messages", headers).send(body, Watch(), limit_s)


async def _fault(ways_out: WaysOut, url: str, *, limit_s: float = 10.0, proxy: Secret | None = None) -> Fault:
    with pytest.raises(UpstreamFault) as caught:
        await _post(ways_out, url, limit_s=limit_s, proxy=proxy)
    assert _KEY not in str(caught.value).split()
    return caught.value.fault


async def _read_to_its_end(ways_out: WaysOut, url: str) -> None:
    reply = await _post(ways_out, url, _STREAM)
    try:
        while await reply.read():
            pass
    finally:
        reply.close()


async def test_a_refused_connection_is_told_from_a_broken_one(ways_out: WaysOut, closed_port: int) -> None:
    """Protects keys: an address nobody listens on is no fault of theirs."""
    assert await _fault(ways_out, f"http://127.0.0.1:{closed_port}") is Fault.CONNECT_REFUSED


async def test_a_name_that_does_not_exist_is_its_own_fault(ways_out: WaysOut) -> None:
    """Protects operators, who read in the log what to look for."""
    assert await _fault(ways_out, "http://nowhere.invalid") is Fault.DNS


async def test_a_server_that_speaks_no_tls_is_its_own_fault(ways_out: WaysOut) -> None:
    """Protects keys from being sent in the clear because TLS did not work."""
    heard = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        where = server.sockets[0].getsockname()
        assert await _fault(ways_out, f"https://127.0.0.1:{where[1]}") is Fault.TLS
    assert _KEY.encode() not in b"".join(heard).split()
    assert b"x-api-key" not in b"".join(heard)


async def test_a_connection_that_is_never_taken_times_out(hurried: WaysOut) -> None:
    """Protects clients from an address that swallows connections."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        where = full.getsockname()
        held = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(where)
            held.append(filler)
        assert await _fault(hurried, f"http://127.0.0.1:{where[1]}") is Fault.CONNECT_TIMEOUT
        for filler in held:
            filler.close()


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (Step(do="reset_before_headers"), Fault.RESET),
        (Step(do="close_before_headers"), Fault.RESET),
        (Step(do="garbage"), Fault.GARBAGE),
        (Step(do="garbage", body="HTTP/9.9 maybe\r\n\r\n"), Fault.GARBAGE),
        (Step(do="garbage", body="HTTP/1.1 200 OK\r\nx: " + "a" * 20_000 + "\r\n\r\n"), Fault.GARBAGE),
        (Step(do="garbage", body="HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), Fault.GARBAGE),
    ],
    ids=lambda value: value.do if isinstance(value, Step) else value.value,
)
async def test_an_answer_without_a_sound_head_is_a_fault(
    simulator: Simulator, ways_out: WaysOut, step: Step, fault: Fault
) -> None:
    """Protects clients from the library's own reading of it, a status 400 that would be blamed on them."""
    simulator.script(_KEY, then=step)
    assert await _fault(ways_out, simulator.url) is fault


async def test_a_head_that_does_not_come_in_time_is_a_fault(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects clients from an upstream that takes a request and says nothing."""
    simulator.script(_KEY, then=Step(do="stall_before_headers"))
    assert await _fault(ways_out, simulator.url, limit_s=0.05) is Fault.HEADERS_TIMEOUT


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (Step(do="reset_mid_stream"), Fault.TRUNCATED),
        (Step(do="cut_at_byte", at_byte=100, how="close"), Fault.TRUNCATED),
        (
            Step(do="garbage", body="HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            Fault.GARBAGE,
        ),
        (Step(do="garbage", body="HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"), Fault.TRUNCATED),
    ],
    ids=["reset", "closed in a chunk", "a bad chunk", "too few bytes"],
)
async def test_a_body_that_breaks_off_is_a_fault(
    simulator: Simulator, ways_out: WaysOut, step: Step, fault: Fault
) -> None:
    """Protects clients from half an answer that looks whole."""
    simulator.script(_KEY, then=step)
    with pytest.raises(UpstreamFault) as caught:
        await _read_to_its_end(ways_out, simulator.url)
    assert caught.value.fault is fault


async def test_a_whole_body_is_read_up_to_its_bound_and_not_beyond(
    simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects memory from an answer without an end, and answers that just fit."""
    for size, fits in ((64 * 1024, True), (64 * 1024 + 1, False)):
        simulator.script(_KEY, then=Step(do="raw", body="x" * size))
        reply = await _post(ways_out, simulator.url)
        if fits:
            assert len(await reply.read_all(Watch(), 10.0)) == size
        else:
            with pytest.raises(UpstreamFault) as caught:
                await reply.read_all(Watch(), 10.0)
            assert caught.value.fault is Fault.BODY_TOO_LARGE
        reply.close()


async def test_a_body_that_does_not_come_in_time_is_a_fault(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects clients from an answer that begins and does not go on, however often a byte of it comes."""
    simulator.script(_KEY, then=Step(do="slow_bytes", bytes_per_s=20.0))
    reply = await _post(ways_out, simulator.url)
    with pytest.raises(UpstreamFault) as caught:
        await reply.read_all(Watch(), 0.3)
    assert caught.value.fault is Fault.HEADERS_TIMEOUT
    reply.close()


async def test_of_an_errors_body_64_kb_are_read(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects memory from an error of any size."""
    simulator.script(_KEY, then=Step(do="raw", status=500, body="x" * 1_000_000))
    reply = await _post(ways_out, simulator.url)
    assert len(await reply.read_error(Watch(), 10.0)) == 64 * 1024
    reply.close()


async def test_an_errors_body_that_drips_is_taken_as_far_as_it_came(
    simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects clients from waiting for the words of an error whose status is known."""
    simulator.script(_KEY, then=Step(do="slow_bytes", bytes_per_s=20.0))
    reply = await _post(ways_out, simulator.url)
    assert 0 < len(await reply.read_error(Watch(), 0.3)) < 100
    reply.close()


async def test_an_errors_body_that_breaks_off_is_taken_as_far_as_it_came(
    simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects the meaning of an error whose status is known."""
    simulator.script(
        _KEY, then=Step(do="garbage", body="HTTP/1.1 500 Oops\r\ncontent-length: 99\r\n\r\nhalf a body")
    )
    reply = await _post(ways_out, simulator.url)
    assert await reply.read_error(Watch(), 10.0) == b"half a body"
    reply.close()


async def test_a_connection_whose_answer_was_read_is_used_again(
    simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects the time to a new connection."""
    for _ in range(3):
        reply = await _post(ways_out, simulator.url)
        await reply.read_all(Watch(), 10.0)
        reply.close()
    assert simulator.record.connections_total == 1


async def test_closing_an_unread_answer_closes_its_connection_at_once(
    simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects the operator from paying for an answer nobody reads."""
    simulator.script(_KEY, then=Step(do="stall_mid"))
    reply = await _post(ways_out, simulator.url, _STREAM)
    await reply.read()
    reply.close()
    reply.close()
    (received,) = simulator.record.requests
    async with asyncio.timeout(20):
        while received.ended_by is None:  # noqa: ASYNC110 - the simulator's record has no event to wait for
            await asyncio.sleep(0.005)
    assert received.ended_by is EndedBy.CLIENT


async def test_a_cancelled_read_loses_no_byte(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects the relay, which stops a read to send a keep-alive and goes on with the next."""
    simulator.script(_KEY, then=Step(do="slice", sizes=(40,), seconds=0.01))
    reply = await _post(ways_out, simulator.url, _STREAM)
    whole = await reply.read_all(Watch(), 10.0)
    reply.close()
    reply = await _post(ways_out, simulator.url, _STREAM)
    watch = Watch()
    found = b""
    while True:
        try:
            chunk = await watch.within(0.004, reply.read())
        except TimeoutError:
            continue
        if not chunk:
            break
        found += chunk
    reply.close()
    assert len(found) == len(whole)
    assert found.startswith(b"event: message_start")


async def test_a_large_body_goes_out_whole(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects large requests, which are sent in pieces so that they hold nobody up."""
    body = BODY[:-1] + b" " * 3_000_000 + b"}"
    reply = await _post(ways_out, simulator.url, body)
    await reply.read_all(Watch(), 10.0)
    reply.close()
    (received,) = simulator.record.requests
    assert received.body == body
    assert received.header("content-length") == str(len(body))


async def test_no_proxy_is_taken_from_the_environment(
    simulator: Simulator, ways_out: WaysOut, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects keys from the proxy somebody's shell happens to name."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    reply = await _post(ways_out, simulator.url)
    assert reply.status == 200
    await reply.read_all(Watch(), 10.0)
    reply.close()


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5", "socks5h"])
async def test_a_proxy_that_is_not_there_is_a_fault_and_never_bypassed(
    simulator: Simulator, ways_out: WaysOut, closed_port: int, scheme: str
) -> None:
    """Protects the operator's choice of a way out: no call takes another one."""
    proxy = Secret(f"{scheme}://user:canary@127.0.0.1:{closed_port}")
    assert await _fault(ways_out, simulator.url, proxy=proxy) in {Fault.CONNECT_REFUSED, Fault.RESET}
    assert simulator.record.connections_total == 0


async def test_a_call_through_an_http_proxy_arrives_there(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects the setting for the way out; the simulator stands in for the proxy."""
    proxy = Secret(simulator.url.replace("http://", "http://user:secret@"))
    reply = await _post(ways_out, "http://api.invalid", proxy=proxy)
    assert reply.status == 200
    await reply.read_all(Watch(), 10.0)
    reply.close()
    (received,) = simulator.record.requests
    assert received.header("host") == "api.invalid"


async def test_each_proxy_has_connections_of_its_own(ways_out: WaysOut) -> None:
    """Protects credentials of different ways out from sharing one."""
    first, second = Secret("http://127.0.0.1:1"), Secret("http://127.0.0.1:2")
    assert ways_out.via(first) is ways_out.via(Secret("http://127.0.0.1:1"))
    assert len({id(ways_out.via(each)) for each in (None, first, second)}) == 3


@pytest.mark.parametrize(
    ("said", "fault"), [(b"", Fault.CONNECT_TIMEOUT), (b"no proxy\r\n", Fault.CONNECT_REFUSED)]
)
async def test_a_proxy_that_does_not_speak_its_protocol_is_a_fault(
    ways_out: WaysOut, hurried: WaysOut, said: bytes, fault: Fault
) -> None:
    """Protects clients from a way out that is something else, or says nothing."""
    over = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await over.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        where = server.sockets[0].getsockname()
        proxy = Secret(f"socks5://127.0.0.1:{where[1]}")
        waits = hurried if fault is Fault.CONNECT_TIMEOUT else ways_out
        assert await _fault(waits, "http://127.0.0.1:1", proxy=proxy) is fault
        over.set()


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r", "\0"])
async def test_a_header_that_would_end_its_line_is_never_sent(ways_out: WaysOut, ends: str) -> None:
    """Protects a request's head from anything that could become a header of its own."""
    with pytest.raises(ValueError, match="end of a line"):
        ways_out.via(None).posting(
            URL("http://api.test/v1"), CIMultiDict({"x-api-key": f"k{ends}x-other: 1"})
        )


@pytest.mark.parametrize("proxied", [False, True])
async def test_both_ways_of_sending_send_the_same_head(
    simulator: Simulator, ways_out: WaysOut, proxied: bool
) -> None:
    """Protects upstreams from seeing two different clients."""
    body = BODY if not proxied else BODY[:-1] + b" " * 1024 * 1024 + b"}"
    reply = await _post(ways_out, simulator.url, body)
    await reply.read_all(Watch(), 10.0)
    reply.close()
    received = simulator.record.requests[-1]
    names = sorted(name.lower() for name, _ in received.headers if name.lower() != "content-type")
    assert names == [
        "accept",
        "accept-encoding",
        "anthropic-version",
        "content-length",
        "host",
        "user-agent",
        "x-api-key",
    ]


async def test_proxies_nobody_uses_are_closed_and_the_direct_way_stays(ways_out: WaysOut) -> None:
    """Protects connections in use when a proxy is taken out of the configuration, and memory from the rest."""
    first, second = Secret("http://127.0.0.1:1"), Secret("http://127.0.0.1:2")
    before = [ways_out.via(proxy) for proxy in (None, first, second)]
    await ways_out.keep([Secret("http://127.0.0.1:2")])
    after = [ways_out.via(proxy) for proxy in (None, first, second)]
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]


async def test_an_answer_tells_what_is_left_of_the_limits(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects the pool's foresight: the headers come along with who answered, on the way out that all kinds use."""
    simulator.assign(_KEY, "org-small")
    simulator.limit("org-small", Limits(requests=50))
    reply = await _post(ways_out, simulator.url)
    reply.close()
    allowance = Allowance()
    assert reply.source.limits is not None
    allowance.learn(reply.source.limits, Policy(), now_s=0.0, now_unix_ms=0)
    assert allowance.windows[0].share_left == 49 / 50


async def test_what_an_upstream_says_unasked_is_nobodys_answer(ways_out: WaysOut) -> None:
    """Protects a client from the answer to somebody else's call, left over on a connection that both went over."""
    written = asyncio.Event()

    def answer(text: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY[-10:])
        writer.write(answer(b"asked"))
        await asyncio.sleep(0.05)
        writer.write(answer(b"unasked"))
        written.set()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        posting = ways_out.via(None).posting(
            URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/messages"), CIMultiDict()
        )
        said = []
        for _ in range(2):
            reply = await posting.send(BODY, Watch(), 10.0)
            said.append(await reply.read_all(Watch(), 10.0))
            reply.close()
            await written.wait()
            await asyncio.sleep(0.05)
            written.clear()
    assert said == [b"asked", b"asked"]
