"""Conversations whose history the gateway keeps: what reaches the upstream, in either dialect, of every kind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Pace, Step
from tests.support.gateway import CLIENT_KEY, gateway
from tests.support.house import MODEL, House, Spoken, client, configuration, house, simulated, until
from tests.support.talks import CONVERSATION, Talk, chunks_of, conversation_of, text_of
from tests.support.web_sessions import COOKIES, completions, sessions

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALICE: Final = CLIENT_KEY
BOB: Final = "canary-another-client-key-0123456789abcdef"
KEYS: Final = ("k1", "k2", "k3", "k4", "k5")
SETTINGS: Final = {"API_KEY": f"{ALICE},{BOB}"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def open_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of five keys and two clients."""
    async with house(tmp_path_factory.mktemp("talks"), SETTINGS, keys=KEYS) as running:
        yield running


@pytest.fixture
def running(open_house: House) -> House:
    """The same without a memory of what was asked."""
    open_house.simulator.reset()
    return open_house


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoken", Spoken)
async def test_only_what_is_new_is_sent_and_everything_reaches_the_upstream(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the memory of conversations: each turn goes upstream with all that was said before it."""
    talk = Talk(running, spoken)
    begun = await talk.begin(metadata={"topic": "names"})
    assert (begun.object, begun.message_count, begun.metadata) == ("conversation", 0, {"topic": "names"})
    await talk.hear("My name is Alice.", stream=stream)
    assert talk.name == begun.id
    await talk.hear("What is my name?", stream=stream)
    assert talk.said() == [
        "user: My name is Alice.",
        'assistant: You said: "My name is Alice."',
        "user: What is my name?",
    ]
    shown = await talk.shown()
    assert (shown.id, shown.message_count, shown.metadata) == (begun.id, 4, {"topic": "names"})
    assert b"conversation" not in running.simulator.record.requests[-1].body


async def test_a_chat_answer_names_its_conversation_in_body_and_header(running: House) -> None:
    """Protects clients that read the id from either place."""
    talk = Talk(running)
    await talk.begin()
    whole = await talk.say("One.")
    assert conversation_of(whole) == whole.headers[CONVERSATION] == talk.name
    assert "x-carousel-dropped" not in whole.headers
    streamed = await talk.say("Two.", stream=True)
    chunks = chunks_of(streamed)
    assert len(chunks) > 3
    assert {chunk.conversation_id for chunk in chunks} == {talk.name} == {streamed.headers[CONVERSATION]}
    assert all(chunk.choices for chunk in chunks)


async def test_a_messages_answer_stays_as_the_upstream_made_it(running: House) -> None:
    """Protects the verbatim lane: the id is in the header alone, and only where the client asked for one."""
    plain = await Talk(running, Spoken.MESSAGES).say("Hello.")
    assert CONVERSATION not in plain.headers
    talk = Talk(running, Spoken.MESSAGES, name="new", by_header=True)
    first = await talk.say("Hello.")
    assert running.simulator.record.requests[-1].body == talk.body("Hello.")
    assert b"conversation" not in first.body
    talk.name = first.headers[CONVERSATION]
    assert talk.name.startswith("conv_")
    await talk.hear("Again.")
    assert talk.said() == ["user: Hello.", 'assistant: You said: "Hello."', "user: Again."]


@pytest.mark.parametrize("spoken", Spoken)
async def test_unasked_nothing_is_remembered(running: House, spoken: Spoken) -> None:
    """Protects prompts of API users from being kept anywhere: by default a conversation has to be named."""
    answer = await running.ask(spoken)
    assert CONVERSATION not in answer.headers
    assert b"conversation_id" not in answer.body


async def test_a_conversation_stays_with_its_credential_beyond_what_is_remembered(running: House) -> None:
    """Protects the prompt cache: neither forgotten turns nor new instructions make it another conversation."""
    # one fewer than there are keys, or turning round would bring each back to its own too
    talks = [Talk(running) for _ in range(4)]
    for talk in talks:
        await talk.begin()
    seen: list[list[str]] = [[] for _ in talks]
    for number in range(13):
        system = {"role": "system", "content": f"Rule {number // 5}."}
        for place, talk in enumerate(talks):
            answer = await talk.say(system, f"Turn {number}.")
            seen[place].append(answer.headers["x-carousel-credential"])
    assert [len(set(names)) for names in seen] == [1] * 4
    assert len({names[0] for names in seen}) == 4
    messages = talks[0].said()
    assert messages[0] == "user: Turn 2."
    assert len(messages) == 21
    assert talks[0].asked().system == [{"type": "text", "text": "Rule 2."}]


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_conversation_of_another_client_is_not_there(running: House, spoken: Spoken) -> None:
    """Protects what was said from everybody else, who learn no more than of one that never was."""
    mine = Talk(running, spoken)
    await mine.begin()
    await mine.hear("A secret.")
    theirs = Talk(running, spoken, name=mine.name, key=BOB)
    never = Talk(running, spoken, name="conv_" + "0" * 32, key=BOB)
    calls = running.calls()
    refused = [await talk.say("What was it?") for talk in (theirs, never)]
    for answer, talk in zip(refused, (theirs, never), strict=True):
        assert answer.status == 404
        assert answer.error.error.message.startswith(f"Conversation with id '{talk.name}' not found")
    assert running.calls() == calls
    for method in ("GET", "DELETE"):
        assert (await theirs.call(method, f"/v1/conversations/{mine.name}"))[0] == 404
    assert mine.name.encode() not in (await theirs.call("GET", "/v1/conversations"))[1]
    assert mine.name.encode() in (await mine.call("GET", "/v1/conversations"))[1]
    await mine.hear("Still there?")
    assert mine.said()[0] == "user: A secret."


async def test_two_turns_at_once_follow_each_other(running: House) -> None:
    """Protects a conversation from two answers that know nothing of each other, and from losing one of them."""
    talk = Talk(running)
    await talk.begin()
    running.simulator.script("*", [Step("success", pace=Pace(tokens_per_s=20))])
    first = asyncio.gather(talk.say("First.", stream=True))
    await until(lambda: running.calls() == 1)
    others = await asyncio.gather(*[talk.say(f"Later {number}.") for number in range(3)])
    (answered,) = await first
    assert {one.status for one in others} == {200}
    assert text_of(answered, Spoken.CHAT).startswith('You said: "First."')
    assert [len(talk.said(place)) for place in range(4)] == [1, 3, 5, 7]
    assert talk.said()[:2] == ["user: First.", 'assistant: You said: "First."']
    assert (await talk.shown()).message_count == 8


async def test_an_answer_that_breaks_off_leaves_the_conversation_as_it_was(running: House) -> None:
    """Protects a history from half an answer: the client says it again, and nothing is there twice."""
    talk = Talk(running)
    await talk.begin()
    await talk.hear("One.")
    running.simulator.script("*", [Step("cut_at_byte", at_byte=700, how="close")])
    assert (await talk.say("Two.", stream=True)).broken_off
    running.simulator.script("*", [])
    await talk.hear("Three.", stream=True)
    assert talk.said() == ["user: One.", 'assistant: You said: "One."', "user: Three."]


async def test_a_client_that_leaves_holds_up_nobody(running: House) -> None:
    """Protects the next turn from one whose client is gone, and the history from an answer nobody read."""
    talk = Talk(running)
    await talk.begin()
    running.simulator.script("*", [Step("success", pace=Pace(tokens_per_s=1, events=100))])
    async with running.opened(Spoken.CHAT, talk.body("Left.", stream=True)) as response:
        await response.content.readany()
    await talk.hear("Stayed.")
    assert talk.said() == ["user: Stayed."]


async def test_a_refused_answer_is_not_remembered(running: House) -> None:
    """Protects what follows: a history that holds a refusal would be refused again."""
    talk = Talk(running)
    await talk.begin()
    await talk.hear("One.")
    running.simulator.script("*", [Step("success", stop_reason="refusal")])
    assert (await talk.say("Two.")).status == 200
    await talk.hear("Three.")
    assert talk.said() == ["user: One.", 'assistant: You said: "One."', "user: Three."]


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_tool_call_is_remembered_with_its_result(running: House, spoken: Spoken) -> None:
    """Protects tool loops, in which a turn is more than one request."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    talk = Talk(running, spoken)
    if spoken is Spoken.CHAT:
        talk.fields["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    else:
        talk.fields["tools"] = [{"name": "weather", "input_schema": schema}]
    await talk.begin()
    answer = await talk.say("Please use the weather tool.")
    call = answer.body.partition(b'"toolu_')[2].partition(b'"')[0].decode()
    result: dict[str, object] = {"role": "tool", "tool_call_id": f"toolu_{call}", "content": "Sunny."}
    if spoken is Spoken.MESSAGES:
        block = {"type": "tool_result", "tool_use_id": f"toolu_{call}", "content": "Sunny."}
        result = {"role": "user", "content": [block]}
    assert 'returned: "Sunny."' in await talk.hear(result)
    roles = [turn["role"] for turn in talk.asked().messages]
    assert roles == ["user", "assistant", "user"]
    assert f"toolu_{call}" in str(talk.asked().messages[1]) + str(talk.asked().messages[2])


async def test_the_tokens_of_a_turn_are_counted_with_what_was_said_before(running: House) -> None:
    """Protects those who count before they ask; counting is no turn."""
    talk = Talk(running, Spoken.MESSAGES)
    await talk.begin()
    await talk.hear("Some words to begin with.")
    headers = {"anthropic-version": "2023-06-01"}
    counts = []
    for name in (talk.name, ""):
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "conversation_id": name}
        status, found = await talk.call("POST", "/v1/messages/count_tokens", body, headers=headers)
        assert status == 200, found
        counts.append(msgspec.json.decode(found, type=dict[str, int])["input_tokens"])
    assert counts[0] > counts[1]
    assert (await talk.shown()).message_count == 2


async def test_a_conversation_goes_on_in_the_dialect_it_began_in(running: House) -> None:
    """Protects a history from being read as what it is not."""
    talk = Talk(running)
    await talk.begin()
    await talk.hear("Hello.")
    answer = await Talk(running, Spoken.MESSAGES, name=talk.name).say("And now?")
    assert (answer.status, answer.error.error.type) == (400, "invalid_request_error")


async def test_more_than_can_be_remembered_is_refused_by_name(running: House) -> None:
    """Protects memory and disk, and the client from a conversation that forgets what it was just told."""
    talk = Talk(running)
    await talk.begin()
    answer = await talk.say("\u00e9" * 600_000)
    assert (answer.status, answer.error.error.param) == (413, "messages")
    assert running.calls() == 0
    for _ in range(4):
        await talk.hear("y" * 500_000)
    # three turns before it would take more than is remembered
    assert len(talk.said()) == 5


async def test_what_was_said_more_than_once_outlives_a_restart(tmp_path: Path) -> None:
    """Protects going conversations from a restart; what nobody came back to is not written down."""
    async with house(tmp_path, {"CONVERSATIONS": "on"}) as running:
        once, twice = Talk(running), Talk(running)
        await once.hear("Said once.")
        await twice.hear("Said first.")
        await twice.hear("Said again.")
        database = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("carousel.db*"))
        assert b"Said first." in database
        assert b"Said once." not in database
    async with house(tmp_path, {"CONVERSATIONS": "on"}) as running:
        again = Talk(running, name=twice.name)
        await again.hear("Said after.", stream=True)
        assert [line for line in again.said() if line.startswith("user")] == [
            *("user: Said first.", "user: Said again.", "user: Said after."),
        ]
        assert (await Talk(running, name=once.name).say("Hello?")).status == 404


async def test_turned_on_every_chat_has_an_id_and_turned_off_none_is_known(tmp_path: Path) -> None:
    """Protects the operator's word."""
    for folder in ("on", "off"):
        (tmp_path / folder).mkdir()
    async with house(tmp_path / "on", {"CONVERSATIONS": "on"}, keys=KEYS) as running:
        talk = Talk(running)
        for stream in (False, True):
            first = await talk.say("Hello.", stream=stream)
            named = Talk(running, name=first.headers[CONVERSATION])
            second = await named.say("And?")
            assert second.headers["x-carousel-credential"] == first.headers["x-carousel-credential"]
            assert named.said() == ["user: Hello.", 'assistant: You said: "Hello."', "user: And?"]
        assert CONVERSATION not in (await running.ask(Spoken.MESSAGES)).headers
        # whoever sends the whole history needs no id to come back to its cache
        history = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, "c")
        homes = {(await talk.say(*history)).headers["x-carousel-credential"] for _ in range(6)}
        assert len(homes) == 1
    async with house(tmp_path / "off", {"CONVERSATIONS": "off"}) as running:
        talk = Talk(running, name="conv_" + "0" * 32)
        assert (await talk.say("Hello.")).status == 404
        assert (await talk.call("POST", "/v1/conversations", {}))[0] == 404
        assert (await running.ask(Spoken.CHAT)).status == 200


async def test_a_fallback_goes_on_with_what_claude_began(tmp_path: Path) -> None:
    """Protects a conversation from the end of all Claude credentials; a passing stream says so in its header alone."""
    async with simulated() as simulator:
        chosen = {
            **configuration(tmp_path, simulator, ("k1",), None),
            "FALLBACK_API_URL_1": f"{simulator.url}/v1",
            "FALLBACK_API_KEY_1": "f1",
            "FALLBACK_API_MODEL_1": "gpt-4o",
        }
        async with gateway(tmp_path, chosen) as server, client() as session:
            await _goes_on_elsewhere(House(server, simulator, session))


async def _goes_on_elsewhere(running: House) -> None:
    talk = Talk(running)
    await talk.begin()
    await talk.hear("One.")
    running.simulator.script("k1", then=Step("status", status=402))
    whole = await talk.say("Two.")
    assert (whole.status, conversation_of(whole)) == (200, talk.name)
    sent = msgspec.json.decode(running.simulator.record.requests[-1].body, type=dict[str, object])
    said = [turn["content"] for turn in msgspec.convert(sent["messages"], list[dict[str, str]])]
    assert said == ["One.", 'You said: "One." (1 message)', "Two."]
    assert "conversation_id" not in sent
    streamed = await talk.say("Three.", stream=True)
    assert streamed.headers[CONVERSATION] == talk.name
    assert {chunk.conversation_id for chunk in chunks_of(streamed)} == {""}
    assert (await talk.shown()).message_count == 6


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_session_of_claude_ai_is_told_what_was_said(tmp_path: Path, spoken: Spoken) -> None:
    """Protects conversations of accounts, which are asked with the whole history too."""
    async with house(tmp_path, credentials=sessions(COOKIES[0])) as running:
        talk = Talk(running, spoken)
        await talk.begin()
        await talk.hear("My name is Alice.")
        await talk.hear("What is my name?")
        assert len(completions(running.simulator)) == 2
        last = [one for one in running.simulator.record.requests if one.path.endswith("/completion")][-1]
        assert b"My name is Alice." in last.body
