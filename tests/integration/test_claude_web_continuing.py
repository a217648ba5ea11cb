"""Kept conversations of claude.ai are gone on with: only what is new is sent, and never into another history."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from proxy.simulator import Step
from tests.support.gateway import gateway
from tests.support.house import MODEL, Answer, House, Spoken, client, configuration, house, simulated
from tests.support.web_sessions import COOKIES, completions, image_block, sessions

_ONE = COOKIES[0]
_KEPT = {"CHAT_DELETE": "false"}
_LONG = "It was a dark and stormy night. " * 10


class _Choice(msgspec.Struct):
    message: "_Said"


class _Said(msgspec.Struct):
    content: str


class _ChatBody(msgspec.Struct):
    choices: list[_Choice]


class _MessageBody(msgspec.Struct):
    content: list[dict[str, object]]


class _Delta(msgspec.Struct):
    content: str | None = None


class _ChunkChoice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_ChunkChoice]


@dataclass(slots=True)
class _Talk:
    """A conversation as a client holds it: everything is sent again each time."""

    found: House
    spoken: Spoken
    model: str = MODEL
    messages: list[dict[str, object]] = field(default_factory=list)

    async def say(self, content: object, *, stream: bool = False) -> Answer:
        """Ask, and keep the answer as this dialect's clients do."""
        self.messages.append({"role": "user", "content": content})
        body = {"model": self.model, "max_tokens": 4000, "stream": stream, "messages": self.messages}
        answer = await self.found.send(self.spoken, msgspec.json.encode(body))
        assert answer.status == 200, answer.body
        await self.found.idle()
        self.messages.append({"role": "assistant", "content": self._heard(answer, stream=stream)})
        return answer

    def _heard(self, answer: Answer, *, stream: bool) -> object:
        if self.spoken is Spoken.MESSAGES:
            return msgspec.json.decode(answer.body, type=_MessageBody).content
        if not stream:
            return msgspec.json.decode(answer.body, type=_ChatBody).choices[0].message.content
        pieces = [
            msgspec.json.decode(line.removeprefix(b"data: "), type=_Chunk).choices
            for line in answer.body.split(b"\n\n")
            if line.startswith(b"data: {")
        ]
        return "".join(choice.delta.content or "" for choices in pieces for choice in choices)


@pytest.mark.parametrize(
    ("spoken", "stream"), [(Spoken.CHAT, False), (Spoken.CHAT, True), (Spoken.MESSAGES, False)]
)
async def test_forty_turns_send_only_what_is_new(tmp_path: Path, spoken: Spoken, *, stream: bool) -> None:
    """Protects long conversations: bytes upstream stay flat, and it is one conversation in the account."""
    async with house(tmp_path, _KEPT, credentials=sessions(_ONE)) as found:
        talk = _Talk(found, spoken)
        for number in range(40):
            await talk.say(f"{_LONG}{number:02}", stream=stream)
        sizes = completions(found.simulator)
        assert len(sizes) == 40
        assert max(sizes) - min(sizes) <= 10
        (kept,) = found.simulator.site.ledger.alive
        assert kept.completions == 40
        assert [turn.text for turn in kept.turns[::2]] == [f"{_LONG}{number:02}" for number in range(40)]
        assert len(msgspec.json.encode(talk.messages)) > 20 * max(sizes)


@pytest.mark.parametrize("change", ["question", "answer", "system", "client"])
async def test_a_changed_history_begins_a_new_conversation(tmp_path: Path, change: str) -> None:
    """Protects answers from a past the client has taken back, and one client's past from another."""
    settings = {**_KEPT, "API_KEY": "canary-client-key-0123456789abcdef,canary-another-client-key-0123456789"}
    async with house(tmp_path, settings, credentials=sessions(_ONE)) as found:
        talk = _Talk(found, Spoken.MESSAGES)
        for text in ("one", "two"):
            await _said(talk, text)
        system = None
        key = "canary-client-key-0123456789abcdef"
        match change:
            case "question":
                talk.messages[0] = {"role": "user", "content": "another"}
            case "answer":
                talk.messages[1] = {"role": "assistant", "content": "something else"}
            case "system":
                system = "Be brief."
            case _:
                key = "canary-another-client-key-0123456789"
        await _said(talk, "three", key=key, system=system)
        made = found.simulator.site.ledger.alive
        assert [one.completions for one in made] == [2, 1]
        assert "three" in made[1].turns[0].text
        assert "two" in made[1].turns[0].text


async def _said(
    talk: _Talk, text: str, *, key: str = "canary-client-key-0123456789abcdef", system: str | None = None
) -> None:
    talk.messages.append({"role": "user", "content": text})
    body = {"model": MODEL, "max_tokens": 4000, "messages": talk.messages} | (
        {"system": system} if system is not None else {}
    )
    answer = await talk.found.send(talk.spoken, msgspec.json.encode(body), key=key)
    assert answer.status == 200, answer.body
    await talk.found.idle()
    content = msgspec.json.decode(answer.body, type=_MessageBody).content
    talk.messages.append({"role": "assistant", "content": content})


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Protects conversations from a new version of the server: what can be gone on with is on disk."""
    async with simulated() as simulator, client() as session:
        settings = {**configuration(tmp_path, simulator, (), sessions(_ONE)), **_KEPT}
        messages: list[dict[str, object]] = []
        for text in ("one", "two"):
            async with gateway(tmp_path, settings) as server:
                talk = _Talk(House(server, simulator, session), Spoken.CHAT, messages=messages)
                await talk.say(text)
                await server.stop()
        (kept,) = simulator.site.ledger.alive
        assert [turn.text for turn in kept.turns[::2]] == ["one", "two"]


@pytest.mark.parametrize("spoken", Spoken)
async def test_thinking_and_pictures_do_not_break_it(tmp_path: Path, spoken: Spoken) -> None:
    """Protects what clients bring back in their own form, and uploads a picture once."""
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    async with house(tmp_path, _KEPT, credentials=sessions(_ONE)) as found:
        talk = _Talk(found, spoken, model=f"{MODEL}-think")
        await talk.say([{"type": "text", "text": "Look."}, image_block(spoken, picture)])
        await talk.say("And now?")
        await talk.say("And in the end?")
        (kept,) = found.simulator.site.ledger.alive
        assert kept.completions == 3
        assert len(found.simulator.site.ledger.files) == 1


async def test_a_conversation_its_owner_deleted_is_begun_anew(tmp_path: Path) -> None:
    """Protects clients from what the owner does on the site: the whole history is sent once more."""
    async with house(tmp_path, _KEPT, credentials=sessions(_ONE)) as found:
        talk = _Talk(found, Spoken.CHAT)
        await talk.say("one")
        found.simulator.site.ledger.alive[0].deleted_by = "its owner"
        await talk.say("two")
        await talk.say("three")
        (anew,) = found.simulator.site.ledger.alive
        assert anew.turns[0].text.startswith("Human: one\n\nAssistant: ")
        assert [turn.text for turn in anew.turns[2::2]] == ["three"]


async def test_after_a_failure_it_is_begun_anew(tmp_path: Path) -> None:
    """Protects the history from a turn of which nobody knows how much the site has."""
    async with house(tmp_path, _KEPT, credentials=sessions(_ONE)) as found:
        talk = _Talk(found, Spoken.CHAT)
        await talk.say("one")
        found.simulator.script(_ONE, [Step("reset_mid_stream", call="complete")])
        await talk.say("two")
        assert [one.completions for one in found.simulator.site.ledger.alive] == [2, 1]


async def test_deleted_conversations_are_never_gone_on_with(tmp_path: Path) -> None:
    """Protects the default: each question has a conversation of its own, which is deleted."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        talk = _Talk(found, Spoken.CHAT)
        for text in ("one", "two"):
            await talk.say(text)
        assert [one.completions for one in found.simulator.site.ledger.conversations.values()] == [1, 1]
