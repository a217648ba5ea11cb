"""No URL of a client's makes this server speak to itself or to its neighbours, or wait and swallow without end."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.settings import FetchRule
from proxy.simulator.faults.tls import speaking_tls
from proxy.upstreams.image_fetch import ImageFetch, Unfetchable
from tests.support.pictures import png
from tests.support.sites import PUBLIC, Names, Site, anywhere, fetching, response, site

_LOCAL_HOSTS = (
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7F.1", "0177.0.0.1"),
    *("017700000001", "0", "0.0.0", "00000000", "127.000.000.001", "127.0.0.1.", "127.0.0.01"),
    *("localhost", "LOCALHOST", "localhost.", "LocalHost.", "ip6-localhost", "localhost.localdomain"),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
    *("[0000::ffff:127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]"),
    *("[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fec0::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[::1%lo]", "[ff02::1]"),
    *("\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1"),
    *("\u24dbocalhost", "localho\u017ft", "127%2e0%2e0%2e1", "%6cocalhost"),
    *("10.0.0.1", "192.168.0.1", "172.17.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "224.0.0.1"),
    *("metadata.google.internal", "127.0.0.1.nip.io", "www.127-0-0-1.sslip.io", "localtest.me", "xn--nxasmq6b"),
)  # fmt: skip
_ODD_URLS = (
    "http://user@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://public.example:{port}@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@public.example/",
    "http://public.example\\@127.0.0.1:{port}/",
    "http://public.example#@127.0.0.1:{port}/",
    "http://public.example?@127.0.0.1:{port}/",
    "http://public.example;@127.0.0.1:{port}/",
    "http://public.example%00@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@public.example/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://\t127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\r\nX-Injected: 1/",
    "http://127.0.0.1:{port}/%0d%0aX: y",
    "http://127.0.0.1:{port}/a\nb",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1: {port}/",
    "http://127.0.0.1:{port}0/",
    "http://127.0.0.1:-1/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1/",
    "http://::1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "file:///etc/passwd",
    "file://127.0.0.1:{port}/x",
    "data:image/png;base64,AAAA",
    "unix:///run/docker.sock",
    "http+unix://%2frun%2fdocker.sock/",
    "ws://127.0.0.1:{port}/",
    "jar:http://127.0.0.1:{port}!/",
    "dict://127.0.0.1:{port}/",
    "javascript:fetch('http://127.0.0.1:{port}')",
    "",
    "http://",
    "http://127.0.0.1:{port}/" + "a" * 10_000,
    "http://" + "a." * 5000 + "example/",
)
_LIMIT_S = 30.0
_NAMES = {
    "metadata.google.internal": [["169.254.169.254"]],
    "public.example": [[PUBLIC]],
    **{
        name: [["127.0.0.1", "::1"]]
        for name in ("127.0.0.1.nip.io", "www.127-0-0-1.sslip.io", "localtest.me", "xn--nxasmq6b")
    },
}
CORPUS = (
    *(f"http://{host}:{{port}}/a.png" for host in _LOCAL_HOSTS),
    *(f"https://{host}:{{port}}/a.png" for host in _LOCAL_HOSTS[:4]),
    *_ODD_URLS,
)


@pytest.fixture
async def public_site() -> AsyncIterator[Site]:
    """A site that has an image, and canaries."""
    async with site() as found:
        found.says(response(png()))
        yield found


async def _refused(fetch: ImageFetch, url: str) -> None:
    with pytest.raises(Unfetchable):
        await fetch.fetch(url)


async def test_no_spelling_of_an_address_leads_to_this_machine(public_site: Site) -> None:
    """Protects whatever listens on it: over a hundred URLs, and no connection."""
    assert len(CORPUS) >= 80
    async with fetching(Names(_NAMES)) as fetch:
        for url in CORPUS:
            with suppress(Unfetchable):
                await fetch.fetch(url.format(port=public_site.port))
    assert public_site.visits == []
    assert len(public_site.canaries) >= 1


async def test_the_same_urls_do_lead_there_when_nobody_looks_at_addresses(public_site: Site) -> None:
    """Protects the test before this one from passing because nothing works."""
    async with fetching(Names(_NAMES), permitted=anywhere, limit_s=0.5) as fetch:
        hosts = ("127.0.0.1", "0x7f000001", "localhost", "[::ffff:127.0.0.1]", "127.0.0.1.nip.io")
        for host in hosts:
            await fetch.fetch(f"http://{host}:{public_site.port}/")
    assert len(public_site.visits) == len(hosts)


async def test_every_address_of_a_name_is_looked_at_in_the_moment_of_connecting(public_site: Site) -> None:
    """Protects from names that mean something else from one question to the next: 500 rounds."""
    rng = random.Random(7)
    inner = ["127.0.0.1", "::1", "::ffff:127.0.0.1", *public_site.canaries]
    public_site.says(response(status="302 Found", location="/again"))
    for _ in range(250):
        mixed = [PUBLIC, *rng.sample(inner, 2)]
        rng.shuffle(mixed)
        first: Sequence[str] = rng.choice([[PUBLIC], mixed])
        async with fetching(Names({"rebinding.example": [first, rng.sample(inner, 2)]})) as fetch:
            await _refused(fetch, f"http://rebinding.example:{public_site.port}/")
            await _refused(fetch, f"http://rebinding.example:{public_site.port}/")
    assert public_site.visits == []
    assert len(public_site.heads) >= 100


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
async def test_no_redirect_leads_to_this_machine(public_site: Site, status: str) -> None:
    """Protects it from sites that send their visitors there, in every spelling."""
    async with fetching(Names(_NAMES)) as fetch:
        for url in CORPUS:
            target = url.format(port=public_site.port)
            if target and target.isprintable() and len(target) < 8000:
                public_site.says(response(status=status, location=target), response(b"<html>"))
                with suppress(Unfetchable):
                    await fetch.fetch(public_site.url)
    assert public_site.visits == []
    assert len(public_site.heads) >= 80


@pytest.mark.parametrize(
    "location", ["", "\\\\127.0.0.1", "http:\\\\127.0.0.1", "ftp://public.example/a.png", "/ü"]
)
async def test_a_redirect_to_nowhere_is_none(public_site: Site, location: str) -> None:
    """Protects from a header that every program reads differently."""
    public_site.says(response(status="302 Found", location=location))
    async with fetching() as fetch:
        await _refused(fetch, public_site.url)
    assert len(public_site.heads) == 1


async def test_a_page_that_sends_its_reader_on_is_not_obeyed(public_site: Site) -> None:
    """Protects from redirects that are no header: what came is what is given back."""
    page = f'<meta http-equiv="refresh" content="0;url=http://127.0.0.1:{public_site.port}/">'.encode()
    public_site.says(response(page, refresh=f"0;url=http://127.0.0.1:{public_site.port}/"))
    async with fetching() as fetch:
        assert await fetch.fetch(public_site.url) == page
    assert public_site.visits == []
    assert len(public_site.heads) == 1


async def test_a_host_the_operator_did_not_name_is_not_asked(public_site: Site) -> None:
    """Protects the operator's list, also against redirects away from it."""
    names = Names({"a.example": [[PUBLIC]], "b.example": [[PUBLIC]], "a.example.": [[PUBLIC]]})
    rule = FetchRule(enabled=True, hosts=(("a.example", public_site.port),))
    async with fetching(names, rule=rule, permitted=anywhere) as fetch:
        for host in ("A.example", "a.example."):
            assert await fetch.fetch(f"http://{host}:{public_site.port}/") == png()
        await _refused(fetch, f"http://b.example:{public_site.port}/")
        await _refused(fetch, "http://a.example/")
        assert len(public_site.heads) == 2
        public_site.says(response(status="302 Found", location=f"http://b.example:{public_site.port}/"))
        await _refused(fetch, f"http://a.example:{public_site.port}/")
    assert len(public_site.heads) == 3


async def test_nothing_is_fetched_while_the_operator_has_not_allowed_it(public_site: Site) -> None:
    """Protects machines whose operator never thought about it."""
    async with fetching(rule=FetchRule(), permitted=anywhere) as fetch:
        await _refused(fetch, public_site.url)
    assert public_site.heads == []


async def test_nothing_of_this_machines_goes_along(
    public_site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protects credentials, cookies and the way out of everybody else; what a site sets is forgotten at once."""
    canary = f"http://127.0.0.1:{public_site.port}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, canary)
    (tmp_path / "netrc").write_text(f"machine {PUBLIC} login canary password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    again = response(status="302 Found", location="/b?q=1#part", set_cookie="canary=1; path=/")
    public_site.says(again, response(png(), set_cookie="canary=2"), response(png()))
    async with fetching(Names(_NAMES)) as fetch:
        for _ in range(2):
            await fetch.fetch(f"http://public.example:{public_site.port}/a")
    assert public_site.visits == []
    assert [head.split(b" ")[1] for head in public_site.heads] == [b"/a", b"/b?q=1", b"/a"]
    known = {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
    for head in public_site.heads:
        lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
        assert set(lines) <= known
        assert lines[b"accept-encoding"] == b"identity"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
async def test_what_would_grow_when_unpacked_is_not_unpacked(public_site: Site, encoding: str) -> None:
    """Protects memory from a few kilobytes that become gigabytes."""
    public_site.says(response(png(), content_encoding=encoding))
    async with fetching() as fetch:
        await _refused(fetch, public_site.url)


@pytest.mark.parametrize("head", [b"content-length: 99999999999", b"transfer-encoding: chunked", b"x: y"])
async def test_what_never_ends_is_left_at_the_limit(public_site: Site, head: bytes) -> None:
    """Protects memory and the line: it is closed as soon as too much has come."""
    sent = asyncio.Event()
    piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"

    async def pour(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        try:
            while True:
                writer.write(piece)
                await writer.drain()
        finally:
            sent.set()

    public_site.answer = pour
    async with fetching(max_bytes=200_000) as fetch:
        await _refused(fetch, public_site.url)
        await asyncio.wait_for(sent.wait(), 10)


@pytest.mark.parametrize("at_once", [0, 17, 41])
async def test_what_never_comes_is_not_waited_for(
    public_site: Site, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Protects requests from sites that send a byte now and then, in the head or behind it."""
    left = asyncio.Event()
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + bytes(9999)
    loop = asyncio.get_running_loop()
    time_s, passed_s = loop.time, 0.0
    # half a second passes with each byte, however long it takes
    monkeypatch.setattr(loop, "time", lambda: time_s() + passed_s)

    async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal passed_s
        writer.write(whole[:at_once])
        for place in range(at_once, len(whole)):
            if writer.is_closing():
                break
            writer.write(whole[place : place + 1])
            await asyncio.sleep(0.01)
            passed_s = min(passed_s + 0.5, 2 * _LIMIT_S)
        left.set()

    public_site.answer = drip
    async with fetching(limit_s=_LIMIT_S) as fetch:
        await _refused(fetch, public_site.url)
    assert passed_s > _LIMIT_S / 2
    await asyncio.wait_for(left.wait(), 60)


async def test_hops_without_end_are_not_followed(public_site: Site) -> None:
    """Protects from circles: three redirects are, a fourth is not."""
    hop = response(status="302 Found", location="/next")
    async with fetching() as fetch:
        public_site.says(hop, hop, hop, response(png()))
        assert await fetch.fetch(public_site.url) == png()
        public_site.heads.clear()
        public_site.says(hop)
        await _refused(fetch, public_site.url)
    assert len(public_site.heads) == 4


@pytest.mark.parametrize(
    "answer",
    [
        *(
            response(png(), status)
            for status in ("404 N", "206 P", "500 S", "204 N", "300 M", "401 U", "304 N")
        ),
        b"\0\0garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_whole_answer_is_none(public_site: Site, answer: bytes) -> None:
    """Protects from half an image, and from what a broken or hostile server sends instead."""
    public_site.says(answer)
    async with fetching() as fetch:
        await _refused(fetch, public_site.url)


async def test_a_server_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    """Protects from whoever stands between here and the site."""
    async with speaking_tls(tmp_path) as url, fetching(permitted=anywhere) as fetch:
        await _refused(fetch, url)


async def test_all_other_kinds_of_sockets_are_out_of_reach(public_site: Site) -> None:
    """Protects the sockets of this machine that are files."""
    async with fetching(permitted=anywhere) as fetch:
        with pytest.raises(OSError, match="not public"):
            fetch._socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/run/docker.sock", 0)))
