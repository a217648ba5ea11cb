"""Fetching what a URL leads to; what it must never lead to stands in the security tests."""

import asyncio

import pytest
from yarl import URL

from proxy.settings import FetchRule
from proxy.tasks import spawn
from proxy.upstreams.image_fetch import (
    ImageFetch,
    Unfetchable,
    _Resolver,
    _target,
    checked_url,
    permitted,
)
from tests.support.pictures import png
from tests.support.sites import PUBLIC, Names, fetching, response, site


async def test_an_image_is_fetched_whole() -> None:
    """Protects the ordinary case, also in pieces, without a length, and on a second fetch."""
    content = png().ljust(70_000, b"\1")
    async with site() as found, fetching(Names({"a.example": [[PUBLIC]]})) as fetch:
        found.says(
            response(content),
            b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + content,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(content), content),
            response(content, content_encoding="Identity"),
        )  # fmt: skip
        for _ in range(4):
            assert await fetch.fetch(f"http://a.example:{found.port}/a.png?size=2") == content
        assert found.heads[0].startswith(b"GET /a.png?size=2 HTTP/1.1\r\n")


async def test_the_size_is_limited_to_the_byte() -> None:
    """Protects images of exactly the size that is allowed."""
    async with site() as found, fetching(max_bytes=1000) as fetch:
        found.says(response(bytes(1000)), response(bytes(1001)))
        assert len(await fetch.fetch(found.url)) == 1000
        with pytest.raises(Unfetchable, match="too large"):
            await fetch.fetch(found.url)


async def test_a_relative_redirect_is_followed() -> None:
    """Protects from refusing what most redirects are."""
    async with site() as found, fetching() as fetch:
        found.says(response(status="301 M", location="../b.png"), response(png()))
        assert await fetch.fetch(f"{found.url}/x/a.png") == png()
        assert found.heads[1].startswith(b"GET /b.png ")


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/x/y", "z", "https://a.example/x/z"),
        ("https://a.example/", "//b.example/", "https://b.example/"),
        ("http://a.example/", "https://b.example/x", "https://b.example/x"),
        ("https://a.example/", "http://a.example/", None),
        ("https://a.example/", "HTTP://a.example/", None),
    ],
)
def test_a_redirect_never_gives_up_encryption(url: str, location: str, target: str | None) -> None:
    """Protects what was asked for in confidence."""
    if target is None:
        with pytest.raises(Unfetchable, match="encryption"):
            _target(URL(url), location)
    else:
        assert str(_target(URL(url), location)) == target


@pytest.mark.parametrize("host", ["[20868:4860::8888]", "[::1::]", "[12345::]", "[fe80::1%25eth0]"])
def test_what_looks_like_an_address_and_is_none_is_not_asked_for(host: str) -> None:
    """Protects the resolver from names that no other parser takes for a host."""
    with pytest.raises((Unfetchable, ValueError)):
        checked_url(f"http://{host}/", FetchRule(enabled=True))


async def test_nobody_learns_from_an_error_what_went_wrong_but_the_operator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Protects networks from being mapped, and query strings from the log."""
    async with site() as found, fetching(Names({"none.example": [[]]})) as fetch:
        found.says(response(status="404 N"))
        with pytest.raises(Unfetchable) as caught:
            await fetch.fetch(f"{found.url}/secret?token=canary")
        assert caught.value.__cause__ is None
    shown = capsys.readouterr().out
    assert "status 404" in shown
    assert "canary" not in shown
    assert "secret" not in shown


async def test_cancelling_a_request_ends_its_fetch() -> None:
    """Protects the line when a client leaves."""
    gone = asyncio.Event()

    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        asked.set()
        while not writer.is_closing():
            writer.write(b"H")
            await asyncio.sleep(0.01)
        gone.set()

    asked = asyncio.Event()
    async with site() as found, fetching() as fetch:
        found.answer = silent
        task = spawn(fetch.fetch(found.url), name="fetch")
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 10)


async def test_closing_costs_nothing_before_the_first_fetch_and_can_be_repeated() -> None:
    """Protects the end of a program that never fetched anything."""
    fetch = ImageFetch(FetchRule())
    await fetch.close()
    await fetch.close()
    assert fetch._session is None


async def test_names_are_looked_up_in_threads_of_their_own() -> None:
    """Protects upstreams' names from waiting behind a client's."""
    resolver = _Resolver()
    found = await resolver.resolve("localhost", 80)
    assert {each["host"] for each in found} <= {"127.0.0.1", "::1"}
    assert all(each["port"] == 80 and each["hostname"] == "localhost" for each in found)
    with pytest.raises(OSError, match=r".*"):
        await resolver.resolve("none.invalid", 80)
    await resolver.close()


def test_a_public_address_that_is_this_machines_own_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects services that listen on this machine's public address alone."""
    monkeypatch.setattr("proxy.upstreams.image_fetch.is_own", lambda _, host: host == "1.1.1.1")
    assert permitted(2, "1.0.0.1")
    assert not permitted(2, "1.1.1.1")
    assert not permitted(2, "10.0.0.1")
