"""No word of a client's becomes a series of the metrics, and nobody but the administrator reads them."""

import re
from typing import Final

import pytest

from tests.security.wire import ask, chat_body, messages_body
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway
from tests.support.soak import seeded, sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NAMES: Final = sized(full=10_000, short=300)
_SERIES: Final = re.compile(rb"^(carousel_[^ ]+) ", re.MULTILINE)
_MARK: Final = "marker-5d1c"


async def _series(server: Gateway) -> set[bytes]:
    answer = await ask(server.url, "/metrics", method="GET", key=ADMIN_KEY)
    assert answer.status == 200
    return set(_SERIES.findall(answer.body))


async def _ask_under(server: Gateway, name: str) -> None:
    """Put a name wherever a client may put one."""
    headers = {"user-agent": name, "x-request-id": name}
    await ask(server.url, "/v1/messages", messages_body(model=f"claude-{name}"), headers=headers)
    await ask(server.url, "/v1/chat/completions", chat_body(model=name, user=name))
    await ask(server.url, f"/v1/{name}", method="GET")
    await ask(server.url, f"/openai/deployments/{name}/chat/completions", chat_body())
    await ask(server.url, f"/v1/models/{name}?{name}=1", method="GET")


@pytest.mark.long
async def test_names_by_chance_add_no_series(server: Gateway) -> None:
    """Protects memory and the scrape: what is counted has as many labels as there are routes, classes and outcomes."""
    with seeded() as rng:
        for number in range(20):
            await _ask_under(server, f"{_MARK}-{number}")
        before = await _series(server)
        for _ in range(_NAMES // 5):
            await _ask_under(server, f"{_MARK}-{rng.getrandbits(64):x}")
    after = await _series(server)
    assert after == before
    assert not any(_MARK.encode() in series for series in after)
    assert any(b"requests" in series for series in after)


@pytest.mark.parametrize("key", [None, CLIENT_KEY])
async def test_metrics_are_closed_to_everybody_else(server: Gateway, key: str | None) -> None:
    """Protects what the metrics tell of the pool and its use."""
    assert (await ask(server.url, "/metrics", method="GET", key=key)).status == 401
