"""The simulated claude.ai, call by call."""

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.web import MAX_PROMPT_CHARACTERS
from tests.unit.simulator.client import Answer, ask, event_data, event_names
from tests.unit.simulator.site import COOKIE, OTHER, UUID, complete, create, script, upload, visit

_CONVERSATION = f"/api/organizations/{{org}}/chat_conversations/{UUID}"


def _error(answer: Answer) -> dict[str, object]:
    return msgspec.convert(answer.json()["error"], dict[str, object])


async def test_a_session_finds_the_organization_it_may_chat_in(simulator: Simulator) -> None:
    """Protects tests of choosing: the first organization is one that cannot chat."""
    answer = await visit(simulator, "GET", "/api/organizations")
    listed = msgspec.json.decode(answer.body, type=list[dict[str, object]])
    assert [one["capabilities"] for one in listed] == [["api", "api_individual"], ["chat", "claude_pro"]]
    assert listed[1]["uuid"] == simulator.site.organization_of(COOKIE)
    assert (answer.status, listed[1]["active_flags"]) == (200, [])


async def test_sessions_of_one_organization_share_its_uuid(simulator: Simulator) -> None:
    """Protects tests of shared limits."""
    assert simulator.site.organization_of(COOKIE) != simulator.site.organization_of(OTHER)
    for cookie in (COOKIE, OTHER):
        simulator.assign(cookie, "one")
    assert simulator.site.organization_of(COOKIE) == simulator.site.organization_of(OTHER)


@pytest.mark.parametrize("flag", ["consumer_banned", "consumer_restricted_mode"])
async def test_an_account_can_be_flagged(simulator: Simulator, flag: str) -> None:
    """Protects the notices by which an account is known to be closed."""
    script(simulator, *(Step(call=call, flags=(flag,)) for call in ("organizations", "bootstrap")))
    for path in ("/api/organizations", "/api/bootstrap"):
        answer = await visit(simulator, "GET", path)
        assert f'"type":"{flag}"'.encode() in answer.body


async def test_a_conversation_lives_from_its_creation_to_its_deletion(simulator: Simulator) -> None:
    """Protects the ledger, by which nothing left behind is found."""
    created = await create(simulator, is_temporary=True, model="claude-sonnet-4-6")
    assert (created.status, created.json()["uuid"]) == (201, UUID)
    ledger = simulator.site.ledger
    assert [one.uuid for one in ledger.alive] == [UUID]
    deleted = await visit(simulator, "DELETE", _CONVERSATION, {"uuid": UUID})
    again = await visit(simulator, "DELETE", _CONVERSATION, {"uuid": UUID})
    assert (deleted.status, again.status, ledger.alive) == (204, 404, [])
    assert [(one.created_by, one.deleted_by, one.temporary) for one in ledger.deleted] == [
        (COOKIE, COOKIE, True)
    ]


async def test_an_answer_says_what_it_was_asked_in_the_sites_events(simulator: Simulator) -> None:
    """Protects the shape every decoder is tested against."""
    await create(simulator)
    answer = await complete(simulator, "Good morning")
    names = event_names(answer.body)
    assert (names[0], names[1]) == ("message_start", "content_block_start")
    assert names[-4:] == ["content_block_stop", "message_delta", "message_limit", "message_stop"]
    assert b'"usage"' not in answer.body
    text = "".join(
        str(msgspec.convert(data["delta"], dict[str, object]).get("text", ""))
        for data in event_data(answer.body)
        if data["type"] == "content_block_delta"
    )
    assert text == 'You said: "Good morning"'


async def test_the_history_names_the_last_message_as_parent_of_the_next(simulator: Simulator) -> None:
    """Protects kept conversations: a wrong parent is refused."""
    await create(simulator)
    await complete(simulator, "one")
    history = await visit(simulator, "GET", _CONVERSATION + "?tree=True&rendering_mode=messages")
    leaf = history.json()["current_leaf_message_uuid"]
    turns = msgspec.convert(history.json()["chat_messages"], list[dict[str, object]])
    assert [turn["sender"] for turn in turns] == ["human", "assistant"]
    assert (await complete(simulator, "two")).status == 400
    assert (await complete(simulator, "two", {"parent_message_uuid": leaf})).status == 200


async def test_a_first_completion_may_create_its_conversation(simulator: Simulator) -> None:
    """Protects the newer way of the site."""
    answer = await complete(
        simulator, "x", {"create_conversation_params": {"name": "", "is_temporary": True}}
    )
    assert answer.status == 200
    assert [(one.uuid, one.completions) for one in simulator.site.ledger.alive] == [(UUID, 1)]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": " "},
        {"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1)},
        {"tools": []},
        {"temperature": 0.5},
        {"files": ["nothing"]},
        {
            "attachments": [
                {"file_name": "c", "file_type": "text/plain", "file_size": 1, "extracted_content": "é"}
            ]
        },
        {"parent_message_uuid": "x"},
        {"prompt": 5},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_wrong_completion_is_refused(simulator: Simulator, fields: dict[str, object]) -> None:
    """Protects against a gateway that sends what the site has no room for."""
    await create(simulator)
    assert (await complete(simulator, "Hello", fields)).status == 400
    assert simulator.site.ledger.conversations[UUID].completions == 0


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/{org}/upload", set()),
        (f"/api/organizations/{{org}}/conversations/{UUID}/wiggle/upload-file", {"success", "size_bytes"}),
    ],
)
async def test_an_uploaded_file_is_counted_and_can_be_asked_about(
    simulator: Simulator, path: str, more: set[str]
) -> None:
    """Protects tests of images: both calls of the site store the bytes that came."""
    await create(simulator)
    stored = await upload(simulator, b"\x89PNG\r\n-- b x", path=path)
    assert set(stored.json()) == {"file_uuid", "file_name", "file_kind"} | more
    uuid = str(stored.json()["file_uuid"])
    assert (await complete(simulator, "x", {"files": [uuid]})).status == 200
    kept = simulator.site.ledger.files[uuid]
    assert (kept.size_bytes, kept.media_type, kept.used_in) == (12, "image/png", [UUID])
    assert simulator.site.ledger.uploaded_bytes == 12


async def test_a_document_can_be_converted_to_text(simulator: Simulator) -> None:
    """Protects the older way of sending a text."""
    path = "/api/organizations/{org}/convert_document"
    answer = await upload(simulator, "é".encode(), path=path, name="a.txt", media_type="text/plain")
    assert answer.json() == {
        "file_name": "a.txt",
        "file_type": "text/plain",
        "file_size": 2,
        "extracted_content": "é",
    }


@pytest.mark.parametrize("path", ["/api/{org}/upload", "/api/{org}/convert_document"])
async def test_a_body_that_is_no_form_is_no_file(simulator: Simulator, path: str) -> None:
    """Protects against uploads without their boundary."""
    assert (await visit(simulator, "POST", path, {})).status == 400


async def test_thinking_is_asked_for_in_the_completion_or_on_the_conversation(simulator: Simulator) -> None:
    """Protects both ways the site knows; the account itself is never touched."""
    await create(simulator)
    plain = await complete(simulator)
    asked = await complete(simulator, "x", {"thinking_mode": "extended", **_after(plain)})
    put = await visit(simulator, "PUT", _CONVERSATION, {"settings": {"paprika_mode": "extended"}})
    settled = await complete(simulator, "x", _after(asked))
    assert put.json()["settings"] == {"paprika_mode": "extended"}
    assert [b"thinking_delta" in one.body for one in (plain, asked, settled)] == [False, True, True]
    assert simulator.site.ledger.account_changes == 0


def _after(answer: Answer) -> dict[str, object]:
    started = msgspec.convert(event_data(answer.body)[0]["message"], dict[str, object])
    return {"parent_message_uuid": started["uuid"]}


async def test_overwriting_a_persons_settings_is_seen(simulator: Simulator) -> None:
    """Protects people's preferences: a gateway that touches them is caught."""
    assert (await visit(simulator, "PUT", "/api/account", {"settings": {}})).status == 200
    assert simulator.site.ledger.account_changes == 1


async def test_an_account_that_pays_nothing_may_not_choose_a_model(simulator: Simulator) -> None:
    """Protects the rule that such accounts are sent no model."""
    simulator.site.free.add(COOKIE)
    assert (await create(simulator, model="claude-opus-4-8")).status == 403
    await create(simulator)
    assert (await complete(simulator, "x", {"model": "claude-opus-4-8"})).status == 403
    assert (await complete(simulator)).status == 200


async def test_another_sessions_conversation_is_not_there(simulator: Simulator) -> None:
    """Protects tests of isolation: neither reading nor deleting it works, in whatever organization."""
    await create(simulator)
    simulator.assign(COOKIE, "one")
    simulator.assign(OTHER, "one")
    for method in ("GET", "DELETE"):
        assert (await visit(simulator, method, _CONVERSATION, cookie=OTHER)).status == 404
    foreign = simulator.site.organization_of("a third")
    assert (await visit(simulator, "GET", f"/api/organizations/{foreign}/usage")).status == 403
    assert (await visit(simulator, "GET", "/api/organizations", cookie="")).status == 403


async def test_usage_tells_windows(simulator: Simulator) -> None:
    """Protects the shape of the account's usage."""
    answer = await visit(simulator, "GET", "/api/organizations/{org}/usage")
    assert set(answer.json()) == {"five_hour", "seven_day"}


async def test_every_answer_sets_the_sites_cookies_and_none_of_the_apis_headers(simulator: Simulator) -> None:
    """Protects tests of cookie jars: what is set for one session can be told from another's."""
    script(simulator, Step(call="organizations"), Step("dead_cookie"))
    await create(simulator)
    answers = [await visit(simulator, "GET", "/api/organizations") for _ in range(3)]
    for answer in answers:
        assert answer.wire.count(b"set-cookie: ") == 3
        assert b"anthropic-ratelimit" not in answer.wire
    assert simulator.site.ledger.leaks == []


async def test_a_mix_up_of_sessions_is_seen(simulator: Simulator) -> None:
    """Protects every test that says cookies do not leak: one of another session, or a key, is noted."""
    other = await visit(simulator, "GET", "/api/organizations", cookie=OTHER)
    cookie = next(
        line.decode().partition(": ")[2].partition(";")[0]
        for line in other.wire.split(b"\r\n")
        if line.startswith(b"set-cookie: activity")
    )
    headers = {"cookie": f"sessionKey={COOKIE}; {cookie}", "authorization": "Basic x"}
    await visit(simulator, "GET", "/api/organizations", headers=headers)
    leaks = simulator.site.ledger.leaks
    assert [(leak.key, leak.header, leak.call) for leak in leaks] == [
        (COOKIE, "cookie", "organizations"),
        (COOKIE, "authorization", "organizations"),
    ]


async def test_the_ledger_can_be_read_and_forgotten_from_another_process(simulator: Simulator) -> None:
    """Protects tests that kill the program: they read what it left behind."""
    await create(simulator)
    told = await ask(simulator, method="GET", path="/__site", key="")
    assert list(msgspec.convert(told.json()["conversations"], dict[str, object])) == [UUID]
    await ask(simulator, {}, path="/__reset", key="")
    assert simulator.site.ledger.conversations == {}
