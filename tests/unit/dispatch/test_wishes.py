"""What goes to Claude Code beside the messages."""

import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.dispatch.prepare import prepare
from proxy.dispatch.wishes import with_images, with_wish
from proxy.errors import GatewayError, InvalidRequest
from proxy.exchange import Belonging, Exchange
from proxy.settings import FetchRule, MediaSettings
from proxy.upstreams.media import Media
from tests.support.pictures import png
from tests.unit.dispatch.building import CATALOG, MEMORY, NO_DEFAULTS, body, exchange
from tests.unit.dispatch.test_named_media import URL, Pages

_PAGES: Final = {URL: png(), URL.replace("https", "HTTPS"): png()}


def _call(options: object, belongs: Belonging | None = None) -> Exchange:
    found = exchange(body(claude_options=options))
    return msgspec.structs.replace(found, belongs=belongs or Belonging(owner="alice", folder="/projects/a"))


def test_the_options_go_with_the_call_and_are_not_lost() -> None:
    """Protects the options, whose they are, and the client from being told that they were dropped."""
    call = _call({"model": "opus"})
    prepared = prepare(call, CATALOG, NO_DEFAULTS, MEMORY)
    assert "claude_options" in {lost.field for lost in prepared.dropped}
    found = with_wish(prepared, call)
    wish = found.call.wish
    assert wish is not None
    assert (wish.options.model, wish.owner, wish.folder) == ("opus", "alice", Path("/projects/a"))
    assert "claude_options" not in {lost.field for lost in found.dropped}
    assert b"claude_options" not in found.call.body
    wish.tell("a session")
    assert call.belongs is not None
    assert call.belongs.code_session == "a session"


def test_a_request_without_options_is_left_as_it_is() -> None:
    """Protects plain questions from becoming runs."""
    call = exchange(body())
    prepared = prepare(call, CATALOG, NO_DEFAULTS, MEMORY)
    assert with_wish(prepared, call) is prepared
    empty = _call(None)
    assert with_wish(prepared, empty) is prepared


def test_what_cannot_be_read_ends_the_request_instead_of_going_to_another_kind() -> None:
    """Protects clients from an answer that has overheard what they asked for."""
    call = _call({"tools": "Read"})
    with pytest.raises(GatewayError) as caught:
        with_wish(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)
    assert not isinstance(caught.value, InvalidRequest)
    assert (caught.value.status, caught.value.param) == (400, "claude_options.tools")


def test_a_model_the_client_may_not_ask_for_stays_closed() -> None:
    """Protects the limits of a client key from a second way to name a model."""
    call = msgspec.structs.replace(_call({"model": "opus"}), permits=lambda model: model != "opus")
    with pytest.raises(GatewayError) as caught:
        with_wish(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)
    assert caught.value.status in {403, 404}


async def _with(images: list[str], pages: Mapping[str, bytes], *, fetches: bool = True) -> list[str] | None:
    call = _call({"images": images})
    prepared = with_wish(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)
    media = Media(MediaSettings(fetch=FetchRule(enabled=fetches)), fetch=Pages(pages))
    found = await with_images(prepared, call, media)
    assert found.call.wish is not None
    return found.call.wish.options.images


async def test_images_named_by_url_come_as_bytes_in_their_place() -> None:
    """Protects the order of images, and one that is named twice."""
    found = await _with(["dot.png", URL, "data:x", URL.replace("https", "HTTPS")], _PAGES)
    data = f"data:image/png;base64,{binascii.b2a_base64(png(), newline=False).decode()}"
    assert found == ["dot.png", data, "data:x", data]


@pytest.mark.parametrize(("pages", "fetches"), [({}, True), ({URL: png()}, False)], ids=["missing", "off"])
async def test_an_image_that_is_not_to_be_had_ends_the_request(
    pages: Mapping[str, bytes], *, fetches: bool
) -> None:
    """Protects clients from an answer that has not seen it, of any other kind of credential either."""
    with pytest.raises(GatewayError) as caught:
        await _with(["dot.png", URL], pages, fetches=fetches)
    assert not isinstance(caught.value, InvalidRequest)
    assert (caught.value.status, caught.value.param) == (400, "claude_options.images[1]")


async def test_images_of_this_machine_are_left_alone() -> None:
    """Protects the speed of requests that name no URL."""
    call = _call({"images": ["dot.png"]})
    prepared = with_wish(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)
    assert await with_images(prepared, call, Media(MediaSettings())) is prepared
