"""Bodies nobody should send, through nginx: refused as without it, by name, and nobody else waits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain, islice
from typing import Final

import pytest
import pytest_asyncio

from tests.deploy.conftest import Site
from tests.security.heavy_bodies import BODIES, PATHS, TOO_MUCH
from tests.security.hostile_bodies import (
    NO_JSON,
    NO_UTF8,
    WRONG_FIELDS,
    WRONG_FIELDS_IN_CHAT,
    check_refused,
)
from tests.security.refusals import fault_of
from tests.security.wire import ask, chat_body, messages_body
from tests.support.bad_images import REFUSED, SERVED
from tests.support.bad_requests import BadRequest, bad_requests, every_field_wrong
from tests.support.soak import sized
from tests.support.sound_requests import SOUND

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("nginx")]

_RANDOM: Final = sized(full=4_000, short=100)
_AT_ONCE: Final = 4
_CHAT: Final = "/v1/chat/completions"


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def unharmed(standing: Site) -> AsyncIterator[None]:
    """Nothing of this module was a failure of ours."""
    yield
    for replica in standing.replicas:
        output = "".join(replica.output)
        assert "unexpected error" not in output
        assert "Traceback" not in output


@pytest.mark.parametrize("path", ["/v1/messages", _CHAT, "/v1/messages/count_tokens"])
async def test_a_body_that_is_no_request_is_refused_in_the_dialects_envelope(site: Site, path: str) -> None:
    """Protects clients behind nginx from an error page of its own, and the upstream from what is no request."""
    for body in chain(NO_JSON.values(), NO_UTF8.values(), WRONG_FIELDS.values()):
        check_refused(await ask(site.url, path, body), path)
    for body in WRONG_FIELDS_IN_CHAT.values() if path == _CHAT else ():
        check_refused(await ask(site.url, path, body), path)
    assert {received.status for received in site.simulator.record.requests} <= {400}


@pytest.mark.parametrize("path", ["/v1/messages", _CHAT])
async def test_of_a_field_given_twice_the_last_one_counts(site: Site, path: str) -> None:
    """Protects rules about models from a body that is read in two ways."""
    body = messages_body() if path == "/v1/messages" else chat_body()
    answer = await ask(site.url, path, b'{"model":"claude-opus-5-5",' + body[1:])
    assert answer.status == 200
    assert b"claude-opus-5-5" not in answer.body


@pytest.mark.long
@pytest.mark.parametrize("path", SOUND)
async def test_a_wrong_field_is_refused_by_name(site: Site, path: str) -> None:
    """Protects clients behind nginx from errors that do not say what is wrong."""
    wrong_ones = chain(every_field_wrong(SOUND[path]), islice(bad_requests(SOUND[path], 9), _RANDOM))
    statuses, wrong = await _sent(site, path, wrong_ones)
    assert not wrong, "\n".join([f"{len(wrong)} of {statuses}", *wrong[:20]])
    assert statuses[400] > sum(statuses.values()) / 4


async def _sent(site: Site, path: str, requests: Iterator[BadRequest]) -> tuple[Counter[int], list[str]]:
    statuses: Counter[int] = Counter()
    wrong: list[str] = []

    async def work() -> None:
        for bad in requests:
            answer = await ask(site.url, path, bad.body, headers={"anthropic-version": "2023-06-01"})
            statuses[answer.status] += 1
            if (problem := fault_of(answer, bad, path)) is not None:
                wrong.append(f"{problem}: {bad.mistake}: {answer.body[:300]!r}")

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return statuses, wrong


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("make", BODIES.values(), ids=BODIES.keys())
async def test_a_deep_wide_or_long_body_is_served_or_refused(
    site: Site, make: Callable[[str], bytes], path: str
) -> None:
    """Protects the gateways from bodies nginx passes on as they come, and logs of errors from their text."""
    heavy, *others = await asyncio.gather(
        ask(site.url, path, make(path)), *(ask(site.url, "/live", method="GET") for _ in range(3))
    )
    assert heavy.status in {200, 400, 404}, heavy.body[:300]
    assert heavy.status == 200 or all(run not in heavy.body for run in TOO_MUCH)
    assert [other.status for other in others] == [200] * 3


def _looking_at(url: str) -> bytes:
    image = {"type": "image_url", "image_url": {"url": url}}
    return chat_body(messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}])


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
async def test_an_image_that_cannot_be_shown_is_refused_by_name(site: Site, url: str) -> None:
    """Protects the upstream from what is no image, and clients from not knowing which one."""
    answer = await ask(site.url, _CHAT, _looking_at(url))
    check_refused(answer, _CHAT)
    assert answer.error()["param"] == "messages[0].content[1].image_url.url"
    assert site.simulator.record.requests == []


@pytest.mark.parametrize("url", SERVED.values(), ids=SERVED.keys())
async def test_an_odd_image_is_passed_on_under_its_true_type(site: Site, url: str) -> None:
    """Protects clients whose tools label or wrap images in their own way."""
    assert (await ask(site.url, _CHAT, _looking_at(url))).status == 200
    (received,) = site.simulator.record.requests
    assert (b'"image/gif"' if "R0lGOD" in url else b'"image/png"') in received.body
