"""The mirror behind the whole house: callers with claude.ai sessions of their own, and what stops them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Step
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway, gateway
from tests.support.house import (
    MODEL,
    Answer,
    House,
    Spoken,
    body_of,
    client,
    configuration,
    read_answer,
    simulated,
    until,
)
from tests.support.web_sessions import COOKIES, nothing_left, place_of, sessions

_ONE, _TWO = COOKIES
_OPERATORS: Final = "sk-ant-sid01-canary-operator"
_KEY: Final = "k1"
_ADDRESS: Final = "X-Forwarded-For"


@dataclass(slots=True)
class _Mirrored:
    """A gateway with a mirror in front of a simulated claude.ai."""

    found: House
    prefix: str = "/mirror"

    async def ask(
        self,
        cookie: str | None = _ONE,
        spoken: Spoken = Spoken.CHAT,
        *,
        stream: bool = False,
        address: str = "",
        fields: Mapping[str, object] | None = None,
    ) -> Answer:
        """Ask with a session, as somebody at this address."""
        plain = msgspec.json.decode(body_of(spoken, stream=stream), type=dict[str, object])
        headers = {"content-type": "application/json"}
        if cookie is not None:
            headers["authorization"] = f"Bearer {cookie}"
        if address:
            headers[_ADDRESS] = address
        url = self.found.server.url + self.prefix + spoken.value
        body = msgspec.json.encode({**plain, **(fields or {})})
        async with self.found.session.post(url, data=body, headers=headers) as response:
            return await read_answer(response)

    def asked(self, *cookies: str) -> int:
        """How many calls the site got with these sessions."""
        return sum(len(self.found.simulator.record.of(cookie)) for cookie in cookies)

    @property
    def output(self) -> str:
        """What the program has printed."""
        assert isinstance(self.found.server, Gateway)
        return "".join(self.found.server.output)


@asynccontextmanager
async def mirrored(folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[_Mirrored]:
    """Start it, with an API key and a session of the operator's own, which are never to be used."""
    async with simulated() as site:
        own = configuration(folder, site, (), sessions(_OPERATORS, others=[{"name": "api", "key": _KEY}]))
        mirror = {
            "ENABLE_MIRROR_API": "true",
            "CLAUDE_WEB_BASE_URL": place_of(site.url),
            "TRUSTED_PROXIES": "127.0.0.1/32",
        }
        async with gateway(folder, {**own, **mirror, **(settings or {})}) as server, client() as session:
            found = _Mirrored(House(server, site, session))
            yield found
            assert found.asked(_OPERATORS, _KEY) == 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_caller_is_answered_by_its_own_session(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects callers' accounts and the operator's: each request takes the session it brings, and leaves nothing."""
    async with mirrored(tmp_path) as mirror:
        answer = await mirror.ask(_ONE, spoken, stream=stream)
        assert (answer.status, answer.broken_off) == (200, False)
        assert b"You" in answer.body
        assert answer.headers["x-carousel-credential"] == "mirror"
        await nothing_left(mirror.found.simulator, made=1)
        (made,) = mirror.found.simulator.site.ledger.conversations.values()
        assert (made.created_by, made.temporary) == (_ONE, True)
        (agent,) = {one.header("user-agent") for one in mirror.found.simulator.record.requests}
        assert str(agent).startswith("carousel/")


async def test_conversations_are_deleted_though_the_operator_keeps_his(tmp_path: Path) -> None:
    """Protects callers' histories: what the operator wants for the accounts he has is no matter of theirs."""
    async with mirrored(tmp_path, {"CHAT_DELETE": "false"}) as mirror:
        assert (await mirror.ask()).status == 200
        await nothing_left(mirror.found.simulator, made=1)


async def test_a_caller_that_leaves_takes_its_conversation_along(tmp_path: Path) -> None:
    """Protects callers' histories from answers that nobody waited for."""
    async with mirrored(tmp_path) as mirror:
        found = mirror.found
        found.simulator.script(_ONE, then=Step("stall_before_event", call="complete", seconds=30))
        asking = asyncio.ensure_future(mirror.ask(stream=True))  # noqa: TID251 - awaited below
        await until(lambda: any(one.path.endswith("/completion") for one in found.simulator.record.requests))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await nothing_left(found.simulator, made=1)


async def test_the_organization_after_the_colon_is_taken(tmp_path: Path) -> None:
    """Protects accounts of several organizations."""
    async with mirrored(tmp_path) as mirror:
        assert (await mirror.ask(f"{_ONE}:no-such-organization")).status == 403
        organization = mirror.found.simulator.site.organization_of(_ONE)
        assert (await mirror.ask(f"{_ONE}:{organization}")).status == 200


async def test_the_models_are_told_without_asking_the_site(tmp_path: Path) -> None:
    """Protects sessions from being asked what every catalog says."""
    async with mirrored(tmp_path) as mirror:
        url = mirror.found.server.url + "/mirror/v1/models"
        headers = {"authorization": f"Bearer {_ONE}"}
        for version, shape in (({}, "object"), ({"anthropic-version": "2023-06-01"}, "has_more")):
            async with mirror.found.session.get(url, headers={**headers, **version}) as response:
                told = msgspec.json.decode(await response.read())
                assert shape in told
                assert MODEL in {one["id"] for one in told["data"]}
        assert mirror.asked(_ONE) == 0


_STOPS: Final = {
    "limit": (Step("web_limit", call="complete", resets_in_s=7000), 429, range(6900, 7010)),
    "dead": (Step("dead_cookie"), 401, range(3590, 3601)),
    "disabled": (Step("organization_disabled", call="complete"), 401, range(3590, 3601)),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("step", "status", "seconds"), _STOPS.values(), ids=_STOPS)
async def test_a_stop_holds_for_the_caller_whatever_session_it_brings(
    tmp_path: Path, step: Step, status: int, seconds: range, *, stream: bool
) -> None:
    """Protects accounts from being walked through: neither the session nor its caller asks on, others may."""
    async with mirrored(tmp_path) as mirror:
        mirror.found.simulator.script(_ONE, then=step)
        first = await mirror.ask(_ONE, address="192.0.2.1", stream=stream)
        await nothing_left_but_refused(mirror, _ONE)
        calls = mirror.asked(_ONE)
        again = await mirror.ask(_ONE, address="192.0.2.1")
        other_session = await mirror.ask(_TWO, address="192.0.2.1")
        other_address = await mirror.ask(_ONE, address="192.0.2.2")
        for answer in (first, again, other_session, other_address):
            assert answer.status == status
        for answer in (first, again, other_session):
            assert int(answer.headers["retry-after"]) in seconds
        assert (mirror.asked(_ONE), mirror.asked(_TWO)) == (calls, 0)
        assert (await mirror.ask(_TWO, address="192.0.2.3")).status == 200


async def nothing_left_but_refused(mirror: _Mirrored, cookie: str) -> None:
    """Wait until a request's own work at the site has ended."""
    async with asyncio.timeout(30):
        before = -1
        while before != mirror.asked(cookie):
            before = mirror.asked(cookie)
            await asyncio.sleep(0.3)


async def test_the_last_answer_within_a_limit_is_the_last(tmp_path: Path) -> None:
    """Protects accounts whose site told the end of their limit with the answer itself."""
    async with mirrored(tmp_path) as mirror:
        mirror.found.simulator.script(
            _ONE, then=Step(message_limit="exceeded_limit", resets_in_s=7000, call="complete")
        )
        assert (await mirror.ask(_ONE, stream=True)).status == 200
        assert (await mirror.ask(_ONE)).status == 429
        assert (await mirror.ask(_TWO)).status == 429


async def test_a_challenge_stops_everybody(tmp_path: Path) -> None:
    """Protects the address of the server: whoever is challenged there is challenged for all."""
    async with mirrored(tmp_path) as mirror:
        mirror.found.simulator.script(_ONE, then=Step("challenge"))
        first = await mirror.ask(_ONE, address="192.0.2.1")
        other = await mirror.ask(_TWO, address="192.0.2.2")
        assert (first.status, other.status) == (503, 503)
        assert 50 <= int(other.headers["retry-after"]) <= 60
        assert mirror.asked(_TWO) == 0


async def test_a_caller_uses_one_session(tmp_path: Path) -> None:
    """Protects accounts from taking turns: another session of one address waits until the first is left alone."""
    async with mirrored(tmp_path) as mirror:
        assert (await mirror.ask(_ONE, address="192.0.2.1")).status == 200
        refused = await mirror.ask(_TWO, address="192.0.2.1")
        assert (refused.status, refused.error.error.code) == (429, "another_session_in_use")
        assert int(refused.headers["retry-after"]) > 590
        assert (await mirror.ask(_TWO, address="192.0.2.2")).status == 200
        assert mirror.asked(_TWO) > 0


async def test_a_session_answers_one_question_at_a_time(tmp_path: Path) -> None:
    """Protects accounts from looking like anything but their owner, whichever address asks."""
    async with mirrored(tmp_path) as mirror:
        asked = [mirror.ask(_ONE, address=f"192.0.2.{number}", stream=True) for number in range(4)]
        assert [one.status for one in await asyncio.gather(*asked)] == [200] * 4
        await nothing_left(mirror.found.simulator, made=4)
        calls = [one.path for one in mirror.found.simulator.record.of(_ONE)]
        kinds = [_call(path) for path in calls if "chat_conversations" in path]
        assert kinds == ["create", "complete", "delete"] * 4


def _call(path: str) -> str:
    """What a call is by its address."""
    if path.endswith("/completion"):
        return "complete"
    return "create" if path.endswith("/chat_conversations") else "delete"


async def test_a_fault_is_the_answer_and_nobody_else_is_asked(tmp_path: Path) -> None:
    """Protects the operator's pool, which is no last resort for strangers."""
    async with mirrored(tmp_path) as mirror:
        mirror.found.simulator.script(_ONE, then=Step("status", status=500, call="complete"))
        for spoken in Spoken:
            assert (await mirror.ask(_ONE, spoken)).status == 502
        questions = [
            one for one in mirror.found.simulator.record.of(_ONE) if one.path.endswith("/completion")
        ]
        assert len(questions) == 2


@pytest.mark.parametrize("key", [None, CLIENT_KEY, ADMIN_KEY, "sk-ant-api03-no-session", "a,b"])
async def test_nothing_but_a_session_opens_it(tmp_path: Path, key: str | None) -> None:
    """Protects the mirror from keys of other doors, and the site from what is no cookie."""
    async with mirrored(tmp_path) as mirror:
        answer = await mirror.ask(key)
        assert (answer.status, answer.error.error.code) == (401, "invalid_api_key")
        assert mirror.found.calls() == 0


async def test_a_session_opens_nothing_but_the_mirror(tmp_path: Path) -> None:
    """Protects the operator's routes from visitors."""
    async with mirrored(tmp_path) as mirror:
        mirror.prefix = ""
        assert (await mirror.ask(_ONE)).status == 401


async def test_guessers_are_turned_away(tmp_path: Path) -> None:
    """Protects cookies from being tried: too many wrong keys, and a well-formed one is not even asked about."""
    async with mirrored(tmp_path, {"WRONG_KEYS_PER_MINUTE": "3"}) as mirror:
        statuses = [(await mirror.ask("no-cookie-at-all", address="192.0.2.1")).status for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await mirror.ask(_ONE, address="192.0.2.1")).status == 429
        assert mirror.asked(_ONE) == 0
        assert (await mirror.ask(_ONE, address="192.0.2.2")).status == 200


@pytest.mark.parametrize("field", ["conversation_id", "session_id", "project_id"])
async def test_nothing_is_remembered_of_visitors(tmp_path: Path, field: str) -> None:
    """Protects callers from each other: all of them are one client to what is kept here."""
    async with mirrored(tmp_path, {"CONVERSATIONS": "on", "CACHE_ENABLED": "true"}) as mirror:
        answer = await mirror.ask(_ONE, fields={field: "conv_1"})
        assert (answer.status, answer.error.error.param) == (400, field)
        for _ in range(2):
            answer = await mirror.ask(_ONE)
            assert "x-carousel-conversation" not in answer.headers
            assert b"conversation_id" not in answer.body
        await nothing_left(mirror.found.simulator, made=2)


async def test_files_of_the_operator_are_not_read_for_visitors(tmp_path: Path) -> None:
    """Protects directories that are opened for client keys from whoever has a cookie."""
    (tmp_path / "open").mkdir()
    picture = tmp_path / "open" / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    async with mirrored(tmp_path, {"CLAUDE_CODE_ROOTS": str(picture.parent)}) as mirror:
        part = {"type": "image_url", "image_url": {"url": str(picture)}}
        answer = await mirror.ask(_ONE, fields={"messages": [{"role": "user", "content": [part]}]})
        assert answer.status == 400
        assert mirror.asked(_ONE) == 0


async def test_it_is_not_there_unless_it_is_turned_on(tmp_path: Path) -> None:
    """Protects operators who never asked for it, and lets them choose where it is."""
    for name in ("off", "own"):
        (tmp_path / name).mkdir()
    async with mirrored(tmp_path / "off", {"ENABLE_MIRROR_API": "false"}) as mirror:
        assert (await mirror.ask(_ONE)).status == 401
    async with mirrored(tmp_path / "own", {"MIRROR_API_PREFIX": "/own/sessions"}) as mirror:
        assert (await mirror.ask(_ONE)).status == 401
        mirror.prefix = "/own/sessions"
        assert (await mirror.ask(_ONE)).status == 200


async def test_what_could_not_be_deleted_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    """Protects callers from being believed rid of what is still there, and their sessions from being kept for it."""
    async with mirrored(tmp_path) as mirror:
        mirror.found.simulator.script(_ONE, then=Step("status", status=500, call="delete"))
        assert (await mirror.ask(_ONE)).status == 200
        (left,) = mirror.found.simulator.site.ledger.conversations
        await until(lambda: "its owner's to delete" in mirror.output)
        assert left in mirror.output
        tried = mirror.asked(_ONE)
        assert (await mirror.ask(_ONE)).status in {200, 502}
        assert 0 < tried < 10
