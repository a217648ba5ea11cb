"""claude.ai sessions behind the whole house: what they answer, and what a refusal means for clients and accounts."""

import base64
import random
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from proxy.simulator import Step
from proxy.simulator.multipart import file_part
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, House, Spoken, body_of, house
from tests.support.web_sessions import COOKIES, image_block, nothing_left, session_entry, sessions

_ONE, _TWO = COOKIES


def _body(spoken: Spoken, **fields: object) -> bytes:
    plain = msgspec.json.decode(body_of(spoken, stream=False), type=dict[str, object])
    return msgspec.json.encode({**plain, **fields})


def _asked(found: House, *cookies: str) -> int:
    return sum(len(found.simulator.record.of(cookie)) for cookie in cookies)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_session_answers_clients_of_either_dialect(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the whole way, and the account's history: the conversation is gone afterwards."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        answer = await found.ask(spoken, stream=stream, text="artifact")
        assert (answer.status, answer.broken_off) == (200, False)
        assert b"```python" in answer.body
        assert answer.headers["x-carousel-credential"] == "web-1"
        await nothing_left(found.simulator, made=1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("form", "shown", "hidden"),
    [
        ("think", b"<think>", b"reasoning_content"),
        ("reasoning_content", b"reasoning_content", b"<think>"),
        ("none", b"You", b"think>"),
    ],
)
async def test_thinking_is_shown_as_the_operator_wants_it(
    tmp_path: Path, form: str, shown: bytes, hidden: bytes, *, stream: bool
) -> None:
    """Protects chat clients, who each look for thinking in another place."""
    async with house(tmp_path, {"THINKING_FORMAT": form}, credentials=sessions(_ONE)) as found:
        answer = await found.ask(Spoken.CHAT, stream=stream, model=f"{MODEL}-think")
        assert answer.status == 200
        text = answer.body.replace(b"\\u003c", b"<").replace(b"\\u003e", b">")
        assert shown in text
        assert hidden not in text


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_think_suffix_asks_for_extended_thinking(tmp_path: Path, spoken: Spoken) -> None:
    """Protects the suffix in both dialects; without it none is asked for."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        for model in (MODEL, f"{MODEL}-think"):
            assert (await found.ask(spoken, model=model)).status == 200
        modes = [
            msgspec.json.decode(one.body, type=dict[str, object])["thinking_mode"]
            for one in found.simulator.record.requests
            if one.path.endswith("/completion")
        ]
        assert modes == ["off", "extended"]


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_file_arrives_byte_for_byte_and_only_with_its_own_session(
    tmp_path: Path, spoken: Spoken
) -> None:
    """Protects images of any bytes on their way through base64 and multipart."""
    picture = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(300_000)
    content = [
        {"type": "text", "text": "What is it?"},
        image_block(spoken, base64.b64encode(picture).decode()),
    ]
    async with house(tmp_path, credentials=sessions(*COOKIES)) as found:
        answer = await found.send(spoken, _body(spoken, messages=[{"role": "user", "content": content}]))
        assert answer.status == 200
        (sent,) = (one for one in found.simulator.record.requests if one.path.endswith("/upload"))
        part = file_part(sent.header("content-type") or "", sent.body)
        assert part is not None
        assert (part.content == picture, part.media_type) == (True, "image/png")
        await nothing_left(found.simulator, made=1)


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_long_history_goes_as_an_attachment(tmp_path: Path, spoken: Spoken) -> None:
    """Protects long conversations from the site's limit on prompts; the text is whole."""
    turns = [
        {"role": role, "content": f"{role} says {'ä' * 3000} {number}"}
        for number in range(2)
        for role in ("user", "assistant")
    ]
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        question = {"role": "user", "content": "And now?"}
        assert (await found.send(spoken, _body(spoken, messages=[*turns, question]))).status == 200
        (sent,) = (one for one in found.simulator.record.requests if one.path.endswith("/completion"))
        asked = msgspec.json.decode(sent.body, type=dict[str, object])
        ((context),) = msgspec.convert(asked["attachments"], list[dict[str, object]])
        assert str(context["extracted_content"]).endswith("Human: And now?")
        assert str(context["extracted_content"]).count("ä") == 12_000


async def test_sessions_never_mix(tmp_path: Path) -> None:
    """Protects accounts from each other's cookies on shared connections."""
    async with house(tmp_path, credentials=sessions(*COOKIES)) as found:
        for number in range(6):
            assert (await found.ask(list(Spoken)[number % 2], stream=number > 2)).status == 200
        await nothing_left(found.simulator, made=6)
        made = [one.created_by for one in found.simulator.site.ledger.conversations.values()]
        assert sorted(made) == sorted(COOKIES * 3)


async def test_what_cannot_be_carried_is_named(tmp_path: Path) -> None:
    """Protects clients who set what a session has not: it is dropped, and said so."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        for spoken in Spoken:
            answer = await found.send(spoken, _body(spoken, temperature=0.3, top_p=0.9))
            assert answer.status == 200
            assert {"temperature", "top_p"} <= set(answer.headers["x-carousel-dropped"].split(", "))


_TOOL: Mapping[Spoken, Mapping[str, object]] = {
    Spoken.MESSAGES: {"name": "f", "input_schema": {"type": "object"}},
    Spoken.CHAT: {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
}


@pytest.mark.parametrize("spoken", Spoken)
async def test_tools_are_refused_by_name_where_only_sessions_are_there(
    tmp_path: Path, spoken: Spoken
) -> None:
    """Protects clients from an answer without the tools they brought; the session is not even asked."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        answer = await found.send(spoken, _body(spoken, tools=[_TOOL[spoken]]))
        assert (answer.status, answer.error.error.type) == (400, "invalid_request_error")
        assert "tools" in f"{answer.error.error.param} {answer.error.error.message}"
        assert found.calls() == 0


@pytest.mark.parametrize("spoken", Spoken)
async def test_tools_go_to_the_api_key_where_there_is_one(tmp_path: Path, spoken: Spoken) -> None:
    """Protects mixed pools: whose turn it is does not decide whether a request can be served."""
    entries = sessions(*COOKIES, others=[{"name": "key", "key": "k1", "tier": 1}])
    async with house(tmp_path, credentials=entries) as found:
        for _ in range(3):
            answer = await found.send(spoken, _body(spoken, tools=[_TOOL[spoken]]))
            assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "key")
        assert _asked(found, *COOKIES) == 0
        assert not any(one.in_flight for one in (await found.credentials()).values())


_REFUSALS = [
    pytest.param(Step("dead_cookie"), 503, "disabled(auth)", id="401"),
    pytest.param(Step("session_invalid"), 503, "disabled(auth)", id="session_invalid"),
    pytest.param(Step("organization_disabled"), 503, "disabled(auth)", id="organization_disabled"),
    pytest.param(
        Step(flags=("consumer_banned",), call="organizations"), 503, "disabled(auth)", id="consumer_banned"
    ),
    pytest.param(Step("challenge"), 503, "cooling(blocked)", id="challenge"),
    pytest.param(Step("redirect", status=302, location="/login"), 503, "cooling(blocked)", id="redirect"),
    pytest.param(
        Step("web_limit", call="complete", resets_in_s=7000, stated="both"),
        429,
        "cooling(rate_limit)",
        id="limit",
    ),
]


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize(("step", "status", "word"), _REFUSALS)
async def test_no_session_takes_the_place_of_one_that_was_told_to_stop(
    tmp_path: Path, spoken: Spoken, step: Step, status: int, word: str
) -> None:
    """Protects persons' accounts: the client hears the truth, now and the next times, and the other is never asked."""
    async with house(tmp_path, credentials=sessions(*COOKIES)) as found:
        found.simulator.script(_ONE, then=step)
        for number in range(3):
            answer = await found.ask(spoken, stream=bool(number % 2))
            assert answer.status == status
            assert answer.headers.get("x-carousel-credential", "web-1") == "web-1"
            assert b"canary" not in answer.body
            assert b"<html" not in answer.body
            if status == 429:
                assert 6900 <= int(answer.headers["retry-after"]) <= 7010
            if word == "cooling(blocked)":
                assert 1 <= int(answer.headers["retry-after"]) <= 60
        calls = _asked(found, _ONE)
        assert calls <= 4
        assert _asked(found, _TWO) == 0
        assert (await found.credentials())["web-1"].word() == word


async def test_an_api_key_is_asked_after_a_session_at_its_limit(tmp_path: Path) -> None:
    """Protects clients: what is paid for by use may answer, other persons' accounts may not."""
    entries = sessions(*COOKIES, others=[{"name": "key", "key": "k1", "tier": 1}])
    async with house(tmp_path, credentials=entries) as found:
        found.simulator.script(_ONE, then=Step("web_limit", call="complete", resets_in_s=500))
        for _ in range(3):
            answer = await found.ask(Spoken.CHAT)
            assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "key")
        assert _asked(found, _TWO) == 0


@pytest.mark.parametrize(
    "step",
    [
        Step("status", status=500, call="complete"),
        Step("reset_before_headers", call="complete", times=2),
        Step("close_before_event", call="complete"),
        Step("status", status=503, call="organizations"),
    ],
    ids=lambda step: f"{step.do}-{step.call}",
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_plain_fault_is_tried_again(tmp_path: Path, step: Step, *, stream: bool) -> None:
    """Protects clients from one bad moment of the site, and the account from what it left behind."""
    async with house(tmp_path, credentials=sessions(*COOKIES)) as found:
        found.simulator.script(_ONE, [step])
        answer = await found.ask(Spoken.MESSAGES, stream=stream)
        assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "web-2")
        made = 1 if step.call == "organizations" else 2
        await nothing_left(found.simulator, made=made)


@pytest.mark.parametrize(
    ("stated", "least", "most"), [("message", 490, 510), ("header", 490, 510), ("nowhere", 3590, 3600)]
)
async def test_a_limit_lasts_as_long_as_the_site_says(
    tmp_path: Path, stated: str, least: int, most: int
) -> None:
    """Protects the account: its own word is kept to, and an hour where it says nothing."""
    step = msgspec.convert(
        {"do": "web_limit", "call": "complete", "resets_in_s": 500, "stated": stated}, Step
    )
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        found.simulator.script(_ONE, [step])
        for _ in range(2):
            answer = await found.ask(Spoken.MESSAGES)
            assert answer.status == 429
            assert least <= int(answer.headers["retry-after"]) <= most
        await nothing_left(found.simulator, made=1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("spoken", Spoken)
async def test_an_answer_that_says_the_limit_is_reached_is_good_and_the_last_one(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the account from a question whose refusal was announced, and the other from standing in for it."""
    last = Step(message_limit="exceeded_limit", resets_in_s=7000, call="complete")
    async with house(tmp_path, credentials=sessions(*COOKIES)) as found:
        found.simulator.script(_ONE, [last])
        answer = await found.ask(spoken, stream=stream)
        assert (answer.status, answer.broken_off) == (200, False)
        told = (await found.idle())["web-1"]
        assert (told.word(), told.succeeded, told.failed) == ("cooling(rate_limit)", 1, 0)
        refused = await found.ask(spoken, stream=stream)
        assert refused.status == 429
        assert 6900 <= int(refused.headers["retry-after"]) <= 7010
        assert _asked(found, _TWO) == 0
        await nothing_left(found.simulator, made=1)


async def test_a_limit_that_is_only_near_changes_nothing(tmp_path: Path) -> None:
    """Protects the rest of the account's limit, which is there to be used."""
    near = Step(message_limit="approaching_limit", call="complete")
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        found.simulator.script(_ONE, then=near)
        assert [(await found.ask(Spoken.CHAT)).status for _ in range(2)] == [200, 200]
        assert (await found.idle())["web-1"].word() == "ready"


async def test_a_session_bound_to_its_owner_serves_nobody_else(tmp_path: Path) -> None:
    """Protects a person's account from other people's requests."""

    def entries(url: str) -> list[Mapping[str, object]]:
        return [
            session_entry(url, _ONE, clients=["env-1"]),
            session_entry(url, _TWO, "web-2", clients=["env-2"]),
        ]

    settings = {"API_KEY": f"{CLIENT_KEY},canary-another-client-key-0123456789"}
    async with house(tmp_path, settings, credentials=entries) as found:
        for _ in range(3):
            answer = await found.ask(Spoken.CHAT)
            assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "web-1")
        answer = await found.ask(Spoken.CHAT, key="canary-another-client-key-0123456789")
        assert answer.headers["x-carousel-credential"] == "web-2"
