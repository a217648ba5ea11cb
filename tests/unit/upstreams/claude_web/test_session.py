"""One session's calls: cookies, organization, and what its refusals tell."""

import pytest

from proxy.dialects.claude_web import Upload
from proxy.pool import FailureClass, Fault, classify
from proxy.simulator import Simulator, Step
from proxy.simulator.web_calls import made_up_uuid
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_web.session import WebSession
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.unit.upstreams.claude_web.building import COOKIE, OTHER, session_of

_UUID = made_up_uuid("a conversation")


def _session(simulator: Simulator, ways_out: WaysOut, cookie: str = COOKIE) -> WebSession:
    return WebSession(session_of(simulator, cookie), ways_out.via(None))


async def _create(session: WebSession, watch: Watch) -> None:
    place = await session.organization(watch, 5)
    await session.create(place.uuid, _UUID, temporary=True, model=None, watch=watch, limit_s=5)


async def test_the_organization_is_found_once_and_kept(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the site from a question before every question."""
    session = _session(simulator, ways_out)
    found = [await session.organization(watch, 5) for _ in range(3)]
    assert {one.uuid for one in found} == {simulator.site.organization_of(COOKIE)}
    assert len(simulator.record.requests) == 1


async def test_sessions_on_one_connection_keep_their_cookies_apart(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects accounts from each other: what the site sets for one never goes out with another."""
    sessions = [_session(simulator, ways_out, cookie) for cookie in (COOKIE, OTHER)]
    for _ in range(2):
        for session in sessions:
            session._organization = None
            await session.organization(watch, 5)
    assert simulator.site.ledger.leaks == []
    assert simulator.record.requests_per_key == {COOKIE: 2, OTHER: 2}
    assert {request.connection for request in simulator.record.requests} == {1}
    sent = simulator.record.requests[-1].header("cookie") or ""
    assert "activitySessionId=" in sent


async def test_calls_say_who_makes_them(simulator: Simulator, ways_out: WaysOut, watch: Watch) -> None:
    """Protects honesty: our own name, and nothing that pretends to be a browser or the site's own page."""
    await _create(_session(simulator, ways_out), watch)
    for request in simulator.record.requests:
        names = {name for name, _ in request.headers}
        assert (request.header("user-agent") or "").startswith("carousel/")
        assert not {"origin", "referer", "anthropic-client-platform", "accept-language"} & names
        assert not any(name.startswith("sec-") for name in names)


async def test_a_conversation_is_made_and_deleted(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the two ends of every question; a second deletion finds nothing, which is as good."""
    session = _session(simulator, ways_out)
    await _create(session, watch)
    place = simulator.site.organization_of(COOKIE)
    assert [one.uuid for one in simulator.site.ledger.alive] == [_UUID]
    for _ in range(2):
        await session.delete(place, _UUID, watch, 5)
    assert simulator.site.ledger.alive == []


async def test_a_file_arrives_byte_for_byte(simulator: Simulator, ways_out: WaysOut, watch: Watch) -> None:
    """Protects images: their form has one part, named file."""
    session = _session(simulator, ways_out)
    uuid = await session.upload(
        simulator.site.organization_of(COOKIE), Upload("é 1.png", "image/png", b"\x89\r\n\x00"), watch, 5
    )
    assert simulator.site.ledger.files[uuid].size_bytes == 4


@pytest.mark.parametrize(
    ("step", "cls"),
    [
        (Step("dead_cookie"), FailureClass.AUTH_DEAD),
        (Step("session_invalid"), FailureClass.AUTH_DEAD),
        (Step("organization_disabled"), FailureClass.AUTH_DEAD),
        (Step(flags=("consumer_banned",)), FailureClass.AUTH_DEAD),
        (Step("challenge"), FailureClass.CHALLENGE),
        (Step("challenge", status=503), FailureClass.CHALLENGE),
        (Step("status", status=403, body="<html>"), FailureClass.CHALLENGE),
        (Step("wrong_content_type"), FailureClass.CHALLENGE),
        (Step("redirect", status=302, location="/login"), FailureClass.CHALLENGE),
        (Step("web_limit"), FailureClass.RATE),
        (Step("status", status=529), FailureClass.OVERLOADED),
        (Step("status", status=500), FailureClass.SERVER),
    ],
    ids=lambda value: getattr(value, "do", None),
)
async def test_a_refusal_means_what_the_table_of_failures_says(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, step: Step, cls: FailureClass
) -> None:
    """Protects the one table: the session tells facts, and asks nothing a second time."""
    simulator.script(COOKIE, [step])
    with pytest.raises(UpstreamRefused) as refused:
        await _session(simulator, ways_out).organization(watch, 5)
    assert classify(refused.value.error, now_unix_ms=0).cls is cls
    assert len(simulator.record.requests) == 1


@pytest.mark.parametrize(("stated", "known"), [("message", True), ("header", True), ("nowhere", False)])
async def test_the_end_of_a_limit_is_found_wherever_it_is_told(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, stated: str, known: bool
) -> None:
    """Protects cooling: inside the JSON that is the message, in the header, or not at all."""
    step = Step("web_limit", stated="message" if stated == "message" else "header")
    simulator.script(COOKIE, [step if known else Step("web_limit", stated="nowhere")])
    with pytest.raises(UpstreamRefused) as refused:
        await _session(simulator, ways_out).organization(watch, 5)
    assert (classify(refused.value.error, now_unix_ms=0).until_unix_ms is not None) is known


async def test_an_account_without_a_place_to_chat_is_refused(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects against answers from an organization nobody named."""
    simulator.script(COOKIE, [Step("raw", body="[]", headers={"content-type": "application/json"})])
    with pytest.raises(UpstreamRefused, match="403"):
        await _session(simulator, ways_out).organization(watch, 5)


@pytest.mark.parametrize("body", ["{", '{"uuid":"another"}'])
async def test_what_was_not_made_as_asked_is_no_conversation(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, body: str
) -> None:
    """Protects the ledger, which knows conversations by the uuid we gave."""
    headers = {"content-type": "application/json"}
    simulator.script(COOKIE, [Step("raw", call="create", status=201, body=body, headers=headers)])
    with pytest.raises(UpstreamFault) as fault:
        await _create(_session(simulator, ways_out), watch)
    assert fault.value.fault is Fault.GARBAGE


async def test_a_slow_call_ends_in_time(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects the deadline of a request."""
    watch = Watch()
    simulator.script(COOKIE, [Step("stall_before_headers")])
    with pytest.raises(UpstreamFault) as fault:
        await _session(simulator, ways_out).organization(watch, 0.05)
    assert fault.value.fault is Fault.HEADERS_TIMEOUT
