"""A request's part in a conversation and in a session, seen from the request."""

from io import BytesIO
from typing import Final, cast

import msgspec
import pytest

from proxy.credentials import Kind
from proxy.server.app import ROUTES
from proxy.server.headers import CONVERSATION
from proxy.store.base import StoreError
from proxy.tasks import finish_all
from tests.unit.dispatch.building import (
    MESSAGE,
    WHOLE,
    Bench,
    bench,
    body,
    credential,
    refused,
    streamed,
    whole,
)
from tests.unit.server.building import AUTHORIZED, Client, client, services, settings

_AUTO: Final = settings()
_ON: Final = settings(CONVERSATIONS="on")
_OFF: Final = settings(CONVERSATIONS="off")
_CHAT: Final = "/v1/chat/completions"
_MESSAGES: Final = "/v1/messages"
_COUNT: Final = "/v1/messages/count_tokens"
_TEXT: Final = "/v1/completions"


class _Error(msgspec.Struct):
    message: str
    param: str | None = None
    code: str | None = None


class _Envelope(msgspec.Struct):
    error: _Error


async def _made(asked: Client, body: bytes = b"{}") -> str:
    answer = await asked.post("/v1/conversations", data=body, headers=AUTHORIZED)
    return str((await answer.json())["id"])


async def _said(asked: Client, path: str, sent: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    answer = await asked.post(path, data=sent, headers=AUTHORIZED | headers)
    found = {name.lower(): value for name, value in answer.headers.items()}
    return answer.status, found, await answer.read()


def _asked_upstream(house: Bench, place: int = -1) -> dict[str, object]:
    return msgspec.json.decode(house.upstream.calls[place][1].body, type=dict[str, object])


@pytest.mark.parametrize("mode", [_AUTO, _OFF])
async def test_who_names_nothing_gets_nothing(mode: object) -> None:
    """Protects everybody else's requests from a feature they do not use."""
    house = bench(whole())
    shared = services(house, configured=_AUTO if mode is _AUTO else _OFF)
    async with client(shared, ROUTES) as asked:
        status, headers, data = await _said(asked, _MESSAGES, body())
        assert (status, data) == (200, MESSAGE)
        assert not {"x-carousel-conversation", "x-carousel-session"} & set(headers)
        assert house.store.tables.ran == []


@pytest.mark.parametrize(
    ("sent", "header", "status", "param"),
    [
        ({"conversation_id": 5}, "", 400, "conversation_id"),
        ({"conversation_id": {"id": "c"}}, "", 400, "conversation_id"),
        ({"conversation_id": "conv_1"}, "conv_2", 400, "conversation_id"),
        ({"conversation_id": "new"}, "", 404, "conversation_id"),
        ({"conversation_id": "uuid-here"}, "", 404, "conversation_id"),
        ({"conversation_id": "x" * 5000}, "", 404, "conversation_id"),
        ({}, "conv_" + "f" * 32, 404, "conversation_id"),
        ({"conversation_id": "\n\u2028"}, "", 404, "conversation_id"),
    ],
)
@pytest.mark.parametrize("path", [_CHAT, _MESSAGES])
async def test_a_name_that_leads_nowhere_is_refused_by_name(
    path: str, sent: dict[str, object], header: str, status: int, param: str
) -> None:
    """Protects clients from an answer that remembers nothing, and from an error of ours."""
    house = bench()
    async with client(services(house), ROUTES) as asked:
        headers = {CONVERSATION: header} if header else {}
        found, _, data = await _said(asked, path, body(**sent), **headers)
        assert found == status
        error = msgspec.json.decode(data, type=_Envelope).error
        assert path == _MESSAGES or error.param == param
    assert house.upstream.calls == []


@pytest.mark.parametrize("name", [None, ""])
async def test_an_empty_name_is_none(name: str | None) -> None:
    """Protects clients that always send the field."""
    async with client(services(bench(whole())), ROUTES) as asked:
        status, headers, _ = await _said(asked, _CHAT, body(conversation_id=name))
        assert (status, "x-carousel-conversation" in headers) == (200, False)


@pytest.mark.parametrize(
    "sent", [{"messages": []}, {"messages": None}, {"messages": "Hi"}, {"messages": [1]}]
)
@pytest.mark.parametrize("path", [_CHAT, _MESSAGES])
async def test_a_turn_says_something(path: str, sent: dict[str, object]) -> None:
    """Protects the model from being asked to go on with its own words."""
    house = bench()
    async with client(services(house), ROUTES) as asked:
        name = await _made(asked)
        status, _, data = await _said(asked, path, body(conversation_id=name, **sent))
        assert status == 400
        assert b"messages" in data
        # and nobody waits for that turn
        house.upstream.answers.append(whole())
        assert (await _said(asked, path, body(conversation_id=name)))[0] == 200


async def test_the_conversations_model_is_asked_where_the_turn_names_none() -> None:
    """Protects clients that choose a model once."""
    house = bench(whole(), whole())
    async with client(services(house), ROUTES) as asked:
        name = await _made(asked, b'{"model":"claude-opus-5"}')
        sent = {"conversation_id": name, "messages": [{"role": "user", "content": "Hi"}]}
        await _said(asked, _CHAT, msgspec.json.encode(sent))
        assert _asked_upstream(house)["model"] == "claude-opus-5"
        await _said(asked, _CHAT, body(conversation_id=name))
        assert _asked_upstream(house)["model"] == "claude-sonnet-5-5"


async def test_a_failed_turn_is_not_remembered_and_keeps_nobody_waiting() -> None:
    """Protects the history from what was never answered."""
    house = bench(refused(400), whole(), whole())
    async with client(services(house), ROUTES) as asked:
        name = await _made(asked)
        assert (await _said(asked, _MESSAGES, body(conversation_id=name)))[0] == 400
        for _ in range(2):
            assert (await _said(asked, _MESSAGES, body(conversation_id=name)))[0] == 200
        assert len(cast(list[object], _asked_upstream(house)["messages"])) == 3


async def test_an_answer_that_cannot_be_read_goes_to_the_client_all_the_same() -> None:
    """Protects answers from the wish to remember them."""
    strange = MESSAGE.replace(b'"content":[', b'"content":[7,')
    house = bench(whole(strange), whole())
    async with client(services(house), ROUTES) as asked:
        name = await _made(asked)
        assert (await _said(asked, _MESSAGES, body(conversation_id=name)))[2] == strange
        await _said(asked, _MESSAGES, body(conversation_id=name))
        assert len(cast(list[object], _asked_upstream(house)["messages"])) == 1


async def test_text_completions_have_no_conversations() -> None:
    """Protects their clients from a history their prompt has no room for: the field is dropped, and told."""
    async with client(services(bench(whole()), configured=_ON), ROUTES) as asked:
        sent = msgspec.json.encode({"prompt": "Hi", "conversation_id": "c"})
        status, headers, data = await _said(asked, _TEXT, sent)
        assert (status, headers["x-carousel-dropped"]) == (200, "conversation_id")
        assert b"conversation_id" not in data
        assert "x-carousel-conversation" not in headers


async def test_turned_on_a_chat_begins_one_and_a_count_does_not() -> None:
    """Protects memory from conversations without a turn."""
    house = bench(whole(), whole(b'{"input_tokens":1}'), whole())
    shared = services(house, configured=_ON)
    async with client(shared, ROUTES) as asked:
        assert "x-carousel-conversation" in (await _said(asked, _CHAT, body()))[1]
        new = {CONVERSATION: "new"}
        assert "x-carousel-conversation" not in (await _said(asked, _COUNT, body(), **new))[1]
        assert "x-carousel-conversation" not in (await _said(asked, _MESSAGES, body()))[1]
    assert await shared.conversations.count(None) == 1


async def test_what_is_too_large_to_be_remembered_is_answered_without_a_name() -> None:
    """Protects clients who never asked to be remembered from a refusal."""
    async with client(services(bench(whole()), configured=_ON), ROUTES) as asked:
        sent = body(messages=[{"role": "user", "content": "x" * 1_100_000}])
        answer = await asked.post(_CHAT, data=BytesIO(sent), headers=AUTHORIZED)
        assert (answer.status, "x-carousel-conversation" in answer.headers) == (200, False)
        assert b"conversation_id" not in await answer.read()


async def test_by_default_claude_codes_answers_begin_conversations_and_others_do_not() -> None:
    """Protects both sorts of users in one pool: those of Claude Code expect an id, an API's prompts are not kept."""
    pool = (credential("api-1"), credential("code-1", kind=Kind.CLAUDE_CODE))
    house = bench(*[whole() for _ in range(4)], streamed(*WHOLE), streamed(*WHOLE), credentials=pool)
    upstreams = cast(dict[Kind, object], house.dispatcher._tools.upstreams)
    upstreams[Kind.CLAUDE_CODE] = house.upstream
    shared = services(house)
    shared.conversations.follow(pool)
    told: set[tuple[str, bool, bool]] = set()
    async with client(shared, ROUTES) as asked:
        for number in range(6):
            _, headers, data = await _said(asked, _CHAT, body(stream=number > 3))
            named = b'"conversation_id":"conv_' in data
            told.add((headers["x-carousel-credential"], "x-carousel-conversation" in headers, named))
    assert told == {("api-1", False, False), ("code-1", True, True)}
    assert await shared.conversations.count(None) == 3


async def test_a_session_is_told_and_counts_what_its_requests_used() -> None:
    """Protects the totals: of answers whole and streamed, of the client alone, and of none that failed."""
    house = bench(whole(), streamed(*WHOLE), refused(400))
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        _, first, _ = await _said(asked, _CHAT, body(project_id="demo"))
        session = first["x-carousel-session"]
        named = body(session_id=session, stream=True)
        assert (await _said(asked, _MESSAGES, named))[1]["x-carousel-session"] == session
        await _said(asked, _MESSAGES, body(session_id=session))
        await finish_all(within_s=5)
        found = await (await asked.get(f"/v1/sessions/{session}", headers=AUTHORIZED)).json()
        assert (found["message_count"], found["total_tokens"], found["project_id"]) == (4, 20, "demo")
        assert found["total_cost"] > 0


@pytest.mark.parametrize(
    "sent", [{"session_id": 5}, {"session_id": "a\nb"}, {"project_id": "é"}, {"session_id": ""}]
)
async def test_a_session_nobody_could_name_again_is_none(sent: dict[str, object]) -> None:
    """Protects headers from what a client chose, and clients that put other things there from a refusal."""
    house = bench(whole())
    async with client(services(house), ROUTES) as asked:
        status, headers, _ = await _said(asked, _MESSAGES, body(**sent))
        assert (status, "x-carousel-session" in headers) == (200, False)


async def test_a_store_in_trouble_costs_a_session_its_sum_and_a_conversation_its_turn() -> None:
    """Protects answers from the books, and clients from a model that has forgotten."""
    house = bench(whole())
    async with client(services(house), ROUTES) as asked:
        name = await _made(asked)
        house.store.tables.problem = StoreError("full")
        assert (await _said(asked, _MESSAGES, body(session_id="s")))[0] == 200
        assert (await _said(asked, _MESSAGES, body(conversation_id=name)))[0] == 503
        await finish_all(within_s=5)
