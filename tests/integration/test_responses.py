"""The Responses API through the real server: conversations, their owners, restarts, faults, and thinking."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import ANY_KEY, Simulator, Step
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, gateway
from tests.support.house import Answer, House, client, configuration, house, read_answer, simulated
from tests.unit.dialects.openai_responses.building import told
from tests.unit.dialects.openai_responses.order import check_order

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL: Final = "claude-sonnet-5-5"
OTHER_KEY: Final = "canary-another-client-key-0123456789abcdef"
KEYS: Final = ("k1", "k2", "k3")
_SETTINGS: Final = {
    "API_KEY": f"{CLIENT_KEY},{OTHER_KEY}",
    "RETRY_COUNT": "5",
    "POOL_SAME_FAULT_ATTEMPTS": "5",
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_BUDGET_MAX": "1000",
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "1000",
}
_TOOL: Final = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
_FAULT: Final = Step("status", status=500)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Three keys in front of a Claude that knows every conversation by heart."""
    folder = tmp_path_factory.mktemp("responses")
    async with house(folder, _SETTINGS, keys=KEYS, simulator=Simulator(strict_thinking=True)) as running:
        yield running


@pytest.fixture
def user(running_house: House) -> "_User":
    """A client of a Claude without a memory of what was asked."""
    running_house.simulator.reset()
    return _User(running_house.server.url, running_house.session, running_house.simulator)


@dataclass(frozen=True, slots=True)
class _User:
    """Somebody who speaks the Responses API."""

    url: str
    session: aiohttp.ClientSession
    simulator: Simulator
    key: str = CLIENT_KEY

    def other(self, key: str = OTHER_KEY) -> "_User":
        """Somebody with another key."""
        return _User(self.url, self.session, self.simulator, key)

    async def calls(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Anything below ``/v1/responses``."""
        sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **headers}
        async with self.session.request(
            method, f"{self.url}/v1/responses{path}", data=body or None, headers=sent
        ) as response:
            return await read_answer(response)

    async def posts(self, path: str = "", /, **fields: object) -> Answer:
        """A request of these fields."""
        return await self.calls(
            "POST", path, msgspec.json.encode({"model": MODEL, "input": "Hello", **fields})
        )

    async def asks(self, **fields: object) -> dict[str, object]:
        """A response."""
        answer = await self.posts(**fields)
        assert answer.status == 200, answer.body
        if fields.get("stream"):
            found = told(answer.body)
            check_order(found, whole=True)
            return msgspec.convert(found[-1]["response"], dict[str, object])
        return msgspec.json.decode(answer.body, type=dict[str, object])

    async def used(self) -> dict[str, int]:
        """How many requests its key has made so far, and their tokens."""
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.session.get(f"{self.url}/stats", headers=headers) as response:
            found = await read_answer(response)
        stats = msgspec.json.decode(found.body, type=dict[str, object])
        return msgspec.convert({name: stats[name] for name in ("requests", "tokens")}, dict[str, int])

    def upstream(self) -> list[dict[str, object]]:
        """The messages that reached Claude last."""
        body = msgspec.json.decode(self.simulator.record.requests[-1].body)
        return msgspec.convert(body["messages"], list[dict[str, object]])


def _said(response: Mapping[str, object]) -> str:
    items = msgspec.convert(response["output"], list[dict[str, object]])
    texts = [
        msgspec.convert(item["content"], list[dict[str, object]])[0]
        for item in items
        if item["type"] == "message"
    ]
    return "".join(str(text["text"]) for text in texts)


def _items(response: Mapping[str, object]) -> list[dict[str, object]]:
    return msgspec.convert(response["output"], list[dict[str, object]])


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
async def test_a_conversation_goes_on_by_its_last_response_alone(user: _User, stream: bool) -> None:
    """Protects ``previous_response_id``: all that was said goes upstream, instructions but once."""
    first = await user.asks(input="One", instructions="Be kind.", stream=stream)
    second = await user.asks(input="Two", previous_response_id=first["id"], stream=stream)
    third = await user.asks(input=[{"role": "user", "content": "Three"}], previous_response_id=second["id"])
    assert [turn["role"] for turn in user.upstream()] == ["user", "assistant"] * 2 + ["user"]
    assert "Be kind." not in user.simulator.record.requests[-1].body.decode()
    assert _said(third).startswith('You said: "Three" (5 messages')
    assert third["previous_response_id"] == second["id"]


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
async def test_a_stored_response_is_read_listed_and_deleted(user: _User, stream: bool) -> None:
    """Protects the three calls about a response, and that what is read is what was answered."""
    made = await user.asks(input=[{"role": "user", "content": text} for text in "abc"], stream=stream)
    read = await user.calls("GET", f"/{made['id']}")
    assert msgspec.json.decode(read.body) == made
    listed = msgspec.json.decode((await user.calls("GET", f"/{made['id']}/input_items?order=asc")).body)
    assert [item["content"][0]["text"] for item in listed["data"]] == ["a", "b", "c"]
    deleted = await user.calls("DELETE", f"/{made['id']}")
    assert msgspec.json.decode(deleted.body) == {"id": made["id"], "object": "response", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        gone = await user.calls(method, f"/{made['id']}{path}")
        assert (gone.status, gone.error.error.type) == (404, "invalid_request_error")
        assert gone.error.error.message == f"Response with id '{made['id']}' not found."


async def test_items_are_listed_page_by_page(user: _User) -> None:
    """Protects paging: the last first unless asked, no item twice and none left out, and bad parameters by name."""
    made = await user.asks(input=[{"role": "user", "content": str(number)} for number in range(7)])
    found: list[str] = []
    after = ""
    while True:
        answer = await user.calls("GET", f"/{made['id']}/input_items?limit=3{after}")
        page = msgspec.json.decode(answer.body)
        found += [item["content"][0]["text"] for item in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert found == ["6", "5", "4", "3", "2", "1", "0"]
    for query, param in (
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("order=up", "order"),
        ("after=x", "after"),
    ):
        refused = await user.calls("GET", f"/{made['id']}/input_items?{query}")
        assert (refused.status, refused.error.error.param) == (400, param)


async def test_nobody_sees_or_continues_anothers_response(user: _User) -> None:
    """Protects what one client says from all others, who cannot tell it from one that never was."""
    made = await user.asks(input="secret words")
    other = user.other()
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        hidden = await other.calls(method, f"/{made['id']}{path}")
        assert hidden.status == 404
        assert b"secret" not in hidden.body
    calls = user.simulator.record.requests_total
    refused = await other.posts(previous_response_id=made["id"])
    assert (refused.status, refused.error.error.code) == (400, "previous_response_not_found")
    assert refused.error.error.param == "previous_response_id"
    item = _items(made)[-1]["id"]
    stolen = await other.posts(
        input=[{"type": "item_reference", "id": item}, {"role": "user", "content": "x"}]
    )
    assert (stolen.status, stolen.error.error.param) == (404, "input")
    counted = await other.posts("/input_tokens", previous_response_id=made["id"])
    assert counted.status == 400
    assert user.simulator.record.requests_total == calls
    assert (await user.calls("GET", f"/{made['id']}")).status == 200
    assert (await user.other(ADMIN_KEY).calls("GET", f"/{made['id']}")).status == 401


async def test_what_is_not_to_be_stored_is_not(user: _User) -> None:
    """Protects who says ``store: false``: it is answered, and forgotten."""
    made = await user.asks(store=False)
    assert made["store"] is False
    assert (await user.calls("GET", f"/{made['id']}")).status == 404
    assert (await user.posts(previous_response_id=made["id"])).status == 400


async def test_an_item_may_be_named_instead_of_sent(user: _User) -> None:
    """Protects clients that send references to what is stored."""
    made = await user.asks(input="One")
    reference = {"type": "item_reference", "id": _items(made)[-1]["id"]}
    await user.asks(input=[{"role": "user", "content": "One"}, reference, {"role": "user", "content": "Two"}])
    assert [turn["role"] for turn in user.upstream()] == ["user", "assistant", "user"]
    assert _said(made) in str(user.upstream()[1])


async def test_tokens_are_counted_with_all_that_went_before(user: _User) -> None:
    """Protects programs that plan their context: the history weighs too, and nothing is asked or stored."""
    made = await user.asks(input="One two three four five")
    alone = msgspec.json.decode((await user.posts("/input_tokens", input="Six")).body)
    after = await user.posts(
        "/input_tokens", input="Six", previous_response_id=made["id"], stream=True, temperature=1
    )
    counted = msgspec.json.decode(after.body)
    assert counted["object"] == "response.input_tokens"
    assert counted["input_tokens"] > alone["input_tokens"] > 0
    assert user.simulator.record.requests[-1].path.endswith("/count_tokens")


async def test_a_restart_in_the_middle_loses_no_conversation(tmp_path: Path) -> None:
    """Protects conversations, and sealed reasoning a client keeps itself, from an update of the server."""
    async with simulated(Simulator(strict_thinking=True)) as claude, client() as session:
        settings = {**configuration(tmp_path, claude, KEYS, None), **_SETTINGS}
        fields: dict[str, object] = {
            "tools": [_TOOL],
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
        }
        async with gateway(tmp_path, settings) as server:
            before = _User(server.url, session, claude)
            first = await before.asks(input="Please look", **fields)
            assert await server.stop() == 0
        call = next(item for item in _items(first) if item["type"] == "function_call")
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        async with gateway(tmp_path, settings) as server:
            after = _User(server.url, session, claude)
            second = await after.asks(input=[result], previous_response_id=first["id"], **fields)
            assert _said(second).startswith('The tools returned: "sunny"')
            thought = msgspec.convert(after.upstream()[1]["content"], list[dict[str, object]])[0]
            assert thought["type"] == "thinking"
            history = [{"role": "user", "content": "Please look"}, *_items(first), result]
            third = await after.asks(input=history, store=False, **fields)
            assert _said(third) == _said(second)
            assert msgspec.convert(after.upstream()[1]["content"], list[dict[str, object]])[0] == thought


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize("keeps", ["the response", "all items", "calls alone"])
async def test_a_tool_loop_thinks_on_while_it_goes_round_all_keys(
    user: _User, stream: bool, keeps: str
) -> None:
    """Protects thinking with tools, however the client keeps it, on whichever credential the next turn falls."""
    fields: dict[str, object] = {"tools": [_TOOL], "reasoning": {"effort": "low"}, "stream": stream}
    if keeps == "all items":
        fields["include"] = ["reasoning.encrypted_content"]
    history: list[object] = [{"role": "user", "content": f"Please look {keeps} {stream}"}]
    first = await user.asks(input=history, **fields)
    call = next(item for item in _items(first) if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "x"}
    for only in KEYS:
        for key in KEYS:
            user.simulator.script(key, then=None if key == only else _FAULT)
        if keeps == "the response":
            last = await user.asks(input=[result], previous_response_id=first["id"], **fields)
        else:
            items = _items(first) if keeps == "all items" else [call]
            last = await user.asks(input=[*history, *items, result], **fields)
        for key in KEYS:
            user.simulator.script(key)
        assert _said(last).startswith("The tools returned")
        assert user.simulator.record.requests[-1].key == only
        blocks = msgspec.convert(user.upstream()[1]["content"], list[dict[str, object]])
        assert blocks[0]["type"] == "thinking"


async def test_a_conversation_stays_with_its_credential(user: _User) -> None:
    """Protects prompt caches: each turn goes where the last was answered, though all began alike."""
    talks: list[tuple[dict[str, object], str | None]] = []
    for _ in KEYS:
        made = await user.asks(input="the same words")
        talks.append((made, user.simulator.record.requests[-1].key))
    assert {home for _, home in talks} == set(KEYS)
    for _ in range(3):
        for place, (made, home) in enumerate(talks):
            following = await user.asks(input="on", previous_response_id=made["id"])
            assert user.simulator.record.requests[-1].key == home
            talks[place] = (following, home)


@pytest.mark.parametrize(
    "step",
    [
        Step("reset_mid_stream"),
        Step("cut_at_byte", at_byte=1000, how="close"),
        Step("error_event_mid"),
        Step("end_without_stop"),
    ],
    ids=lambda step: step.do,
)
async def test_a_stream_that_breaks_off_ends_as_a_failed_response(user: _User, step: Step) -> None:
    """Protects clients from half an answer that looks whole, and the store from keeping it."""
    for key in KEYS:
        user.simulator.script(key, then=step)
    answer = await user.posts(stream=True, input="one two three four five six seven eight")
    assert answer.status == 200
    assert answer.broken_off
    found = told(answer.body)
    check_order(found, whole=True)
    assert [event["type"] for event in found[-2:]] == ["error", "response.failed"]
    failed = msgspec.convert(found[-1]["response"], dict[str, object])
    assert failed["status"] == "failed"
    assert (await user.calls("GET", f"/{failed['id']}")).status == 404


async def test_a_failure_before_the_begin_is_an_ordinary_error(user: _User) -> None:
    """Protects clients that read the status: nothing of a stream has been sent yet."""
    for key in KEYS:
        user.simulator.script(key, then=Step("status", status=529))
    answer = await user.posts(stream=True)
    assert (answer.status, answer.error.error.code) == (503, "server_is_overloaded")
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"type": "reasoning", "encrypted_content": "gAAAAA"}]}, "input[0].encrypted_content"),
        ({"previous_response_id": 5}, "previous_response_id"),
        ({"tools": [{"type": "file_search"}]}, "tools[0].type"),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_by_name_and_asks_nobody(
    user: _User, fields: dict[str, object], param: str
) -> None:
    """Protects users from guessing, and credentials from requests that cannot succeed."""
    calls = user.simulator.record.requests_total
    answer = await user.posts(**fields)
    assert (answer.status, answer.error.error.param) == (400, param)
    assert answer.error.error.type == "invalid_request_error"
    assert user.simulator.record.requests_total == calls


async def test_json_that_does_not_parse_is_asked_for_once_more_and_only_the_answer_is_stored(
    user: _User,
) -> None:
    """Protects JSON mode, and what goes on from it: the prose that was thrown away is nowhere."""
    fenced = Step(text='```json\n{"a": 1}\n```')
    user.simulator.script(ANY_KEY, [Step(text="Sure! Here it is.")], then=fenced)
    made = await user.asks(text={"format": {"type": "json_object"}})
    assert _said(made) == '{"a": 1}'
    assert len(user.simulator.record.requests) == 2
    assert msgspec.json.decode((await user.calls("GET", f"/{made['id']}")).body) == made


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
async def test_a_schema_that_is_not_compiled_is_answered_as_text(user: _User, stream: bool) -> None:
    """Protects answers that a tool has to carry: the client called for no tool, and gets none."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    schema = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}
    form = {"type": "json_schema", "name": "thing", "schema": schema}
    made = await user.asks(model="claude-opus-5", text={"format": form}, stream=stream)
    assert [item["type"] for item in _items(made)] == ["message"]
    assert isinstance(msgspec.json.decode(_said(made)), dict)
    assert made["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
async def test_what_a_response_used_is_counted_once_and_counting_tokens_is_free(
    user: _User, stream: bool
) -> None:
    """Protects the books: the tokens a client is told of are those it is charged for."""
    before = await user.used()
    usage = msgspec.convert((await user.asks(stream=stream))["usage"], dict[str, object])
    after = await user.used()
    assert after["requests"] - before["requests"] == 1
    assert after["tokens"] - before["tokens"] == usage["total_tokens"]
    assert (await user.posts("/input_tokens")).status == 200
    assert (await user.used())["tokens"] == after["tokens"]


async def test_codex_is_served_with_the_tools_it_always_sends(user: _User) -> None:
    """Protects a program that offers tools of OpenAI's own with every request."""
    body = msgspec.json.encode({"model": MODEL, "input": "Hi", "tools": [_TOOL, {"type": "local_shell"}]})
    refused = await user.calls("POST", "", body)
    assert refused.status == 400
    served = await user.calls("POST", "", body, originator="codex_exec")
    assert served.status == 200
    assert served.headers["x-carousel-dropped"] == "tools[1]"


async def test_addresses_that_are_not_offered_say_so(user: _User) -> None:
    """Protects programs that try and go on: compaction is not there, nothing runs in the background."""
    assert (await user.posts("/compact")).status == 404
    made = await user.asks()
    assert (await user.calls("POST", f"/{made['id']}/cancel")).status == 400
    assert (await user.calls("GET", f"/{made['id']}?stream=true")).error.error.param == "stream"
    sealed = await user.calls("GET", f"/{made['id']}?include=reasoning.encrypted_content")
    assert sealed.status == 200


async def test_fifty_conversations_at_once_never_mix(user: _User) -> None:
    """Protects conversations from each other under load."""

    async def talk(number: int) -> None:
        made = await user.asks(input=f"I am {number}", stream=bool(number % 2))
        for _ in range(2):
            made = await user.asks(input=f"Still {number}", previous_response_id=made["id"])
        assert _said(made).startswith(f'You said: "Still {number}" (5 messages')

    await asyncio.gather(*(talk(number) for number in range(50)))
