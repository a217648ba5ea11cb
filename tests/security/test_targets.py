"""However a route is spelled, the same key opens it, or nothing does."""

import pytest

from tests.security.targets import TARGETS, Opens, Target
from tests.security.wire import converse, request
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_REFUSALS = {400, 401, 404, 405}
_IDS = [f"{target.method} {target.text}" for target in TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=_IDS)
@pytest.mark.parametrize(
    ("key", "opens"),
    [(None, None), (CLIENT_KEY, Opens.CLIENT), (ADMIN_KEY, Opens.ADMIN)],
    ids=["no key", "client key", "admin key"],
)
async def test_another_spelling_of_an_address_opens_nothing_its_canonical_path_would_not(
    server: Gateway, target: Target, key: str | None, opens: Opens | None
) -> None:
    """Protects each route from being reached past the decision about its key."""
    talk = await converse(server.url, request(target.text, method=target.method, key=key))
    assert len(talk.answers) == 1, talk.wire
    assert talk.closed
    if opens is target.opens:
        assert talk.status in {*_REFUSALS, 200}
    else:
        assert talk.status in _REFUSALS
    if target.opens is not Opens.ADMIN or opens is not Opens.ADMIN:
        assert b'"credentials"' not in talk.wire


@pytest.mark.parametrize(("path", "key"), [("/admin/pool", ADMIN_KEY), ("/v1/models", CLIENT_KEY)])
async def test_the_canonical_path_is_opened_by_its_key(server: Gateway, path: str, key: str) -> None:
    """Protects the table above from passing because nothing is ever opened."""
    talk = await converse(server.url, request(path, method="GET", key=key))
    assert talk.status == 200
