"""Images and documents that a request only names, on their way to whoever is asked."""

import binascii
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from proxy.credentials import Credential, Kind
from proxy.dialects.claude_web import decode_plan
from proxy.dispatch.attempt import UnaryOpened
from proxy.dispatch.dispatcher import Dispatcher
from proxy.exchange import Exchange, Operation
from proxy.pool import Fault, Success
from proxy.settings import FetchRule, MediaSettings
from proxy.upstreams.image_fetch import ImageFetch, Unfetchable
from proxy.upstreams.media import Media
from tests.support.pictures import png
from tests.unit.dispatch.asking import ask, turned_away
from tests.unit.dispatch.building import (
    ANTHROPIC,
    CHAT,
    MODEL,
    Bench,
    bench,
    body,
    changed,
    credential,
    exchange,
    whole,
)

URL = "https://images.example/a.png"
DATA = binascii.b2a_base64(png(), newline=False).decode()
BYTES = {"type": "base64", "media_type": "image/png", "data": DATA}
WEB = credential("web", kind=Kind.CLAUDE_WEB)
CODE = credential("code", kind=Kind.CLAUDE_CODE)
KEY = credential("api", tier=1)
_COMPLETION = msgspec.json.encode(
    {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    }
)


class Pages(ImageFetch):
    """Knows its pages instead of fetching them."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        super().__init__(FetchRule(enabled=True))
        self.pages = pages
        self.asked: list[str] = []

    async def fetch(self, text: str) -> bytes:
        """See `ImageFetch.fetch`."""
        self.asked.append(text)
        if text not in self.pages:
            raise Unfetchable("none")
        return self.pages[text]


def _house(media: Media, *credentials: Credential) -> Bench:
    """A dispatcher whose web sessions and Claude Code logins are asked as its API keys are."""
    made = bench(*[whole() for _ in range(4)], others=[whole(_COMPLETION)], credentials=credentials)
    upstreams = {Kind.CLAUDE_WEB: made.upstream, Kind.CLAUDE_CODE: made.upstream}
    tools = made.dispatcher._tools
    made.dispatcher = Dispatcher(
        changed(tools, {"upstreams": {**tools.upstreams, **upstreams}, "media": media})
    )
    return made


def _fetching(pages: Mapping[str, bytes] | None = None) -> tuple[Media, Pages]:
    known = Pages({URL: png()} if pages is None else pages)
    return Media(MediaSettings(fetch=FetchRule(enabled=True)), fetch=known), known


def _messages(url: str = URL, **fields: object) -> Exchange:
    image = {"type": "image", "source": {"type": "url", "url": url}}
    return exchange(
        body(messages=[{"role": "user", "content": [image, {"type": "text", "text": "?"}]}], **fields)
    )


def _chat(url: str = URL) -> Exchange:
    parts = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    raw = msgspec.json.encode({"model": MODEL, "messages": messages})
    return exchange(raw, dialect=CHAT)


def _sent(house: Bench) -> list[tuple[str, bytes]]:
    return [(name, call.body) for name, call in house.upstream.calls]


@pytest.mark.parametrize("call", [_messages, _chat])
async def test_a_session_uploads_what_was_fetched(call: Callable[[], Exchange]) -> None:
    """Protects images on their way to claude.ai, in both dialects."""
    media, _ = _fetching()
    house = _house(media, WEB)
    assert isinstance(await ask(house, call()), UnaryOpened)
    ((_, sent),) = _sent(house)
    assert [upload.content for upload in decode_plan(sent).prompt.uploads] == [png()]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_url": URL}},
        {"type": "file", "file": {"file_data": URL}},
        {"type": "image_url", "image_url": URL},
    ],
    ids=["file_url", "file_data", "image_url"],
)
async def test_a_chat_clients_url_is_found_in_every_field_that_may_hold_one(part: object) -> None:
    """Protects documents and images whose URL stands outside a field called ``url``."""
    raw = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": [part]}]})
    media, pages = _fetching({})
    refused = await turned_away(_house(media, WEB), exchange(raw, dialect=CHAT))
    assert pages.asked == [URL]
    assert refused.status == 400
    assert (refused.param or "").startswith("messages[0].content[0].")


@pytest.mark.parametrize("call", [_messages, _chat])
async def test_kinds_that_fetch_nothing_get_bytes(call: Callable[[], Exchange]) -> None:
    """Protects images on their way to upstreams that take no URL, in both dialects."""
    media, _ = _fetching()
    house = _house(media, CODE)
    assert isinstance(await ask(house, call()), UnaryOpened)
    ((_, sent),) = _sent(house)
    content = msgspec.json.decode(sent)["messages"][0]["content"]
    assert [part["source"] for part in content if part["type"] == "image"] == [BYTES]
    assert {"type": "text", "text": "?"} in content


async def test_everything_else_in_the_body_stays_as_it_is() -> None:
    """Protects fields this program does not know, and their order."""
    media, _ = _fetching()
    house = _house(media, CODE)
    call = _messages(context_management={"edits": [1.50]}, system="s")
    before = msgspec.json.decode(call.body)
    await ask(house, call)
    after = msgspec.json.decode(_sent(house)[0][1])
    assert list(after) == list(before)
    assert {**after, "messages": None} == {**before, "messages": None}


@pytest.mark.parametrize("call", [_messages, _chat])
async def test_the_api_gets_the_url_as_it_came(call: Callable[[], Exchange]) -> None:
    """Protects the API's own fetching, and this machine from doing it."""
    media, pages = _fetching()
    house = _house(media, credential("api"))
    asked = call()
    await ask(house, asked)
    ((_, sent),) = _sent(house)
    assert URL.encode() in sent
    assert pages.asked == []
    assert sent == asked.body or asked.dialect is CHAT


async def test_what_was_fetched_serves_every_session() -> None:
    """Protects other people's servers from being asked once for each attempt."""
    media, pages = _fetching()
    house = _house(media, *[changed(WEB, {"name": f"web-{number}"}) for number in (1, 2)])
    house.upstream.answers[0] = Fault.RESET
    await ask(house, _messages())
    assert len(_sent(house)) == 2
    assert len({sent for _, sent in _sent(house)}) == 1
    assert pages.asked == [URL]


async def test_where_bytes_cannot_be_had_somebody_is_asked_who_needs_none() -> None:
    """Protects clients of a mixed pool: the API may well be able to fetch what we must not."""
    for media in (Media(), _fetching({})[0]):
        house = _house(media, *[changed(WEB, {"name": f"web-{number}"}) for number in (1, 2, 3)], KEY)
        opened = await ask(house, _messages())
        assert isinstance(opened, UnaryOpened)
        assert [name for name, _ in _sent(house)] == ["api"]
        house.dispatcher.end(opened, Success())
        assert house.pool.in_flight == 0


async def test_a_url_that_leads_nowhere_is_tried_once_however_many_sessions_there_are() -> None:
    """Protects a request from waiting for each of a hundred sessions anew."""
    media, pages = _fetching({})
    house = _house(media, *[changed(WEB, {"name": f"web-{number}"}) for number in range(5)])
    error = await turned_away(house, _messages())
    assert pages.asked == [URL]
    assert error.status == 400


@pytest.mark.parametrize(
    ("call", "param"),
    [(_messages, "messages[0].content[0].source.url"), (_chat, "messages[1].content[1].image_url.url")],
)
async def test_where_nobody_is_left_the_client_reads_which_field_and_which_setting(
    call: Callable[[], Exchange], param: str
) -> None:
    """Protects clients and operators from guessing."""
    house = _house(Media(), WEB, CODE)
    error = await turned_away(house, call())
    assert (error.status, error.param, error.code) == (400, param, "invalid_image_url")
    assert "IMAGE_FETCH" in error.message
    assert house.upstream.calls == []


async def test_counting_tokens_gets_bytes_too() -> None:
    """Protects counts of requests that have no ``max_tokens``."""
    media, _ = _fetching()
    house = _house(media, WEB)
    call = _messages(max_tokens=None)
    raw = msgspec.json.encode(
        {name: value for name, value in msgspec.json.decode(call.body).items() if name != "max_tokens"}
    )
    await ask(house, exchange(raw, dialect=ANTHROPIC, operation=Operation.COUNT_TOKENS))
    (upload,) = decode_plan(_sent(house)[0][1]).prompt.uploads
    assert upload.content == png()


def _reading(root: Path) -> Media:
    (root / "a.png").write_bytes(png())
    return Media(MediaSettings(roots=(root,)))


@pytest.mark.parametrize(
    "member", [credential("api"), WEB, CODE, credential("other", kind=Kind.OPENAI, model="m")]
)
async def test_a_file_named_by_path_is_read_for_every_kind(tmp_path: Path, member: Credential) -> None:
    """Protects clients on the operator's own machine, whoever answers them."""
    media = _reading(tmp_path)
    house = _house(media, member)
    await ask(house, _chat(f"{tmp_path}/a.png"))
    ((_, call),) = house.upstream.calls + house.other.calls
    assert (png() if member is WEB else DATA.encode()) in call.body
    assert str(tmp_path).encode() not in call.body
    await house.dispatcher.close()


@pytest.mark.parametrize("member", [credential("api"), WEB, credential("other", kind=Kind.OPENAI, model="m")])
@pytest.mark.parametrize("open_to", ["nothing", "a directory"])
async def test_any_other_path_is_a_400_for_every_kind(
    tmp_path: Path, member: Credential, open_to: str
) -> None:
    """Protects the files of this machine, and of those that answer in its place."""
    media = Media() if open_to == "nothing" else _reading(tmp_path)
    house = _house(media, member)
    for path in ("/etc/passwd", "file:///etc/passwd", f"{tmp_path}/../a.png"):
        error = await turned_away(house, _chat(path))
        assert (error.status, error.param) == (400, "messages[1].content[1].image_url.url")
        assert "CLAUDE_CODE_ROOTS" in error.message
        assert path not in error.message
    assert house.upstream.calls == house.other.calls == []
    await house.dispatcher.close()


async def test_a_messages_body_is_never_searched_for_paths(tmp_path: Path) -> None:
    """Protects the verbatim lane: what the Messages API has no word for is the API's to refuse."""
    house = _house(_reading(tmp_path), credential("api"))
    part = {"type": "image_url", "image_url": {"url": f"{tmp_path}/a.png"}}
    call = exchange(body(messages=[{"role": "user", "content": [part]}]))
    before = call.body
    await ask(house, call)
    assert _sent(house)[0][1] == before
    await house.dispatcher.close()
