"""The one tool that stands for a client's: names there and back, and the client's own words in place of its result."""

import asyncio
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.sse import encode_frame
from proxy.upstreams.claude_code import client_tools as module
from proxy.upstreams.claude_code.client_tools import NAME, ClientTools

_MARK: Final = {"type": "ephemeral"}


def _event(index: int, block: dict[str, object]) -> bytes:
    event = {"type": "content_block_start", "index": index, "content_block": block}
    return encode_frame(msgspec.json.encode(event), "content_block_start")


def _call(call_id: str, name: str) -> dict[str, object]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}, "caller": {"type": "direct"}}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _told(tools: ClientTools, messages: list[object]) -> list[object]:
    return [msgspec.json.decode(raw) for raw in tools.to_upstream([_raw(one) for one in messages])]


def _data(events: bytes) -> list[dict[str, object]]:
    lines = [line.removeprefix(b"data: ") for line in events.splitlines() if line.startswith(b"data: ")]
    return [msgspec.json.decode(line, type=dict[str, object]) for line in lines]


@given(st.lists(st.text(max_size=64), min_size=1, max_size=5))
def test_names_go_to_the_program_as_one_and_go_out_again_as_they_were(names: list[str]) -> None:
    """Protects any name a client gives its tools, also one the program would take for its own."""
    tools = ClientTools()
    events = b"".join(_event(index, _call(f"toolu_{index}", name)) for index, name in enumerate(names))
    passed = _data(tools.to_program(events))
    blocks = [msgspec.convert(event["content_block"], dict[str, object]) for event in passed]
    assert blocks == [_call(f"toolu_{index}", NAME) for index in range(len(names))]
    said = {"role": "assistant", "content": [_call(f"toolu_{index}", NAME) for index in range(len(names))]}
    told = {"role": "assistant", "content": [_call(f"toolu_{n}", name) for n, name in enumerate(names)]}
    assert _told(tools, [said]) == [told]


@pytest.mark.parametrize(
    "events",
    [
        b"",
        _event(0, {"type": "text", "text": 'He said "tool_use" and "content_block_start".'}),
        _event(
            0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"type": "tool_use"}}
        ),
        encode_frame(b'{"type":"message_delta","delta":{"stop_reason":"tool_use"}}', "message_delta"),
        b'event: content_block_start\ndata: {"content_block": "tool_use"}\n\n',
        b'event: content_block_start\ndata: {"content_block": {"type": "tool_use"}\n\n',
        b'event: content_block_start\n: "tool_use"\n\n',
    ],
)
def test_every_other_event_passes_byte_for_byte(events: bytes) -> None:
    """Protects answers that only talk about calls, tools the API runs itself, and what is for others to judge."""
    tools = ClientTools()
    assert tools.to_program(events) == events
    assert not tools.called


def test_calls_nobody_saw_on_the_wire_keep_their_names() -> None:
    """Protects the history that was handed to the program: its calls were never renamed."""
    tools = ClientTools()
    tools.to_program(_event(0, _call("toolu_new", "look_up")))
    old: list[object] = [
        {"role": "user", "content": 'What is "tool_use"?'},
        {"role": "assistant", "content": [_call("toolu_old", "ask")]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_old", "content": "x"}]},
    ]
    assert _told(tools, old) == old


@pytest.mark.parametrize("marked", [False, True])
def test_the_clients_message_takes_the_place_of_what_the_tool_gave(*, marked: bool) -> None:
    """Protects what no result of the program's could hold, and the prompt cache, whose mark moves with the end."""
    tools = ClientTools()
    tools.to_program(_event(0, _call("toolu_1", "look_up")) + _event(1, _call("toolu_2", "look_up")))
    answer: list[dict[str, object]] = [
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "new_kind", "of": 1.50}]},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True},
        {"type": "text", "text": "Mind the gap."},
    ]
    tools.release([_raw(block) for block in answer])
    given: list[dict[str, object]] = [
        {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "-"} for number in (1, 2)
    ]
    if marked:
        given[1]["cache_control"] = answer[2]["cache_control"] = _MARK
    assert _told(tools, [{"role": "user", "content": given}]) == [{"role": "user", "content": answer}]


async def test_calls_wait_from_the_answer_on_until_the_client_comes_back() -> None:
    """Protects the order of a run: nothing goes on before there is a result, and each answer's calls wait anew."""
    tools = ClientTools()
    assert not tools.released.is_set()
    waiting = asyncio.get_running_loop().create_task(tools.released.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    tools.release([])
    await waiting
    tools.hold()
    assert not tools.released.is_set()


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the server's memory from clients with large results: such a process is not gone on with."""
    monkeypatch.setattr(module, "KEPT_MAX_BYTES", 1000)
    tools = ClientTools()
    result = _raw({"type": "tool_result", "tool_use_id": "toolu_1", "content": "x" * 400})
    for _ in range(2):
        tools.release([result])
    assert not tools.full
    tools.release([result])
    assert tools.full
