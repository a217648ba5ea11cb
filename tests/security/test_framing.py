"""Where a request ends is seen in one place, or the connection is closed."""

import pytest

from proxy.simulator import Simulator
from tests.security.framing import ABUSES, FAREWELL, HIDDEN, HIDDEN_PATH, HIDDEN_TEXT, Abuse
from tests.security.wire import ask, converse, messages_body
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda abuse: abuse.name)
async def test_an_ambiguous_request_is_refused_and_what_it_hides_is_never_served(
    server: Gateway, claude: Simulator, abuse: Abuse
) -> None:
    """Protects whoever shares a connection with an attacker behind a reverse proxy."""
    written = len(server.output)
    talk = await converse(server.url, abuse.data + FAREWELL if abuse.normalized else abuse.data)
    assert talk.closed
    statuses = [answer.status for answer in talk.answers]
    if abuse.normalized and len(statuses) > 1:
        assert statuses[1:] == [200]
        assert b"uptime_seconds" in talk.answers[1].body
    else:
        assert all(400 <= status < 500 for status in statuses), talk.wire
        assert len(statuses) <= 1
    await ask(server.url, "/v1/messages", messages_body("after the attack"))
    assert [received.body for received in claude.record.requests] == [messages_body("after the attack")]
    assert not any(HIDDEN_PATH in line for line in server.output[written:])


async def test_the_hidden_request_would_be_seen_if_it_were_served(server: Gateway, claude: Simulator) -> None:
    """Protects the tests above from watching the wrong place."""
    talk = await converse(server.url, HIDDEN, quiet_s=0.5)
    assert talk.status == 200
    assert any(HIDDEN_TEXT.encode() in received.body for received in claude.record.requests)
