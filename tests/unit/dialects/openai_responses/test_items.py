"""Input items, as the turns they become."""

import msgspec
import pytest
from openai.types.responses import response_input_item_param as theirs

from proxy.dialects.common import Thought
from proxy.dialects.openai_responses.items import _READERS, LEFT_OUT
from proxy.errors import InvalidRequest
from proxy.model.content import RedactedThinkingBlock, ThinkingBlock
from tests.unit.dialects.openai_responses.building import MODEL, SEAL, call, dropped, sent, target, translated

_CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
_OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "done"}
_HI = {"role": "user", "content": "hi"}
_THOUGHT = ThinkingBlock("hm", "sig")
_REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "something else"}],
    "content": None,
    "encrypted_content": SEAL.close(_THOUGHT),
}


def _turns(*items: object, **fields: object) -> list[tuple[str, list[dict[str, object]]]]:
    body = sent(input=list(items), **fields)
    messages = msgspec.convert(body["messages"], list[dict[str, object]])
    return [(str(one["role"]), msgspec.convert(one["content"], list[dict[str, object]])) for one in messages]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _use(call_id: str = "c1", name: str = "f", tool_input: object = None) -> dict[str, object]:
    return {
        "type": "tool_use",
        "id": call_id,
        "name": name,
        "input": {"a": 1} if tool_input is None else tool_input,
    }


def _result(*content: object, call_id: str = "c1") -> dict[str, object]:
    found: dict[str, object] = {"type": "tool_result", "tool_use_id": call_id}
    return {**found, "content": list(content)} if content else found


def test_a_text_is_one_message() -> None:
    """Protects the shortest request there is."""
    assert sent(input="Hello")["messages"] == [{"role": "user", "content": [_text("Hello")]}]


@pytest.mark.parametrize(
    ("items", "turns"),
    [
        ([{"role": "user", "content": [{"type": "input_text", "text": "a"}]}], [("user", [_text("a")])]),
        (
            [_HI, {"type": "message", "role": "assistant", "phase": "final_answer", "content": "yo"}, _HI],
            [("user", [_text("hi")]), ("assistant", [_text("yo")]), ("user", [_text("hi")])],
        ),
        (
            [_HI, _CALL, _OUTPUT],
            [("user", [_text("hi")]), ("assistant", [_use()]), ("user", [_result(_text("done"))])],
        ),
        (
            [_HI, {**_CALL, "arguments": ""}, {**_OUTPUT, "output": ""}],
            [("user", [_text("hi")]), ("assistant", [_use(tool_input={})]), ("user", [_result()])],
        ),
        (
            [_HI, {**_CALL, "arguments": "no json"}, _OUTPUT],
            [
                ("user", [_text("hi")]),
                ("assistant", [_use(tool_input={"_raw_arguments": "no json"})]),
                ("user", [_result(_text("done"))]),
            ],
        ),
        (
            [_HI, {**_CALL, "namespace": "n"}, _OUTPUT],
            [("user", [_text("hi")]), ("assistant", [_use(name="n__f")]), ("user", [_result(_text("done"))])],
        ),
        (
            [
                _HI,
                {"type": "custom_tool_call", "call_id": "c1", "name": "p", "input": "text"},
                {
                    "type": "custom_tool_call_output",
                    "call_id": "c1",
                    "output": [{"type": "input_text", "text": "ok"}],
                },
            ],
            [
                ("user", [_text("hi")]),
                ("assistant", [_use(name="p", tool_input={"input": "text"})]),
                ("user", [_result(_text("ok"))]),
            ],
        ),
        (
            [
                _HI,
                {"type": "function_call_output", "call_id": "c9", "output": "nobody asked"},
            ],
            [("user", [_text("hi"), _text("nobody asked")])],
        ),
    ],
    ids=str,
)
def test_items_become_turns(items: list[object], turns: object) -> None:
    """Protects each sort of item, and its place in the conversation."""
    assert _turns(*items) == turns


def test_what_the_model_did_in_one_go_is_one_turn_and_all_outputs_are_one() -> None:
    """Protects parallel calls: thinking, text and calls in their order, then all results."""
    second = {**_CALL, "call_id": "c2", "name": "g"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Look:"}]}
    outputs = [_OUTPUT, {**_OUTPUT, "call_id": "c2"}]
    turns = _turns(_HI, _REASONING, said, _CALL, second, *outputs, _HI)
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert turns[1] == ("assistant", [thought, _text("Look:"), _use(), _use("c2", "g")])
    assert turns[2][1] == [_result(_text("done")), _result(_text("done"), call_id="c2"), _text("hi")]


@pytest.mark.parametrize("kind", ["local_shell", "shell", "apply_patch"])
def test_calls_of_tools_with_types_of_their_own_stay_in_the_history(kind: str) -> None:
    """Protects conversations that began elsewhere: the item is the input, its output the result."""
    item = {"type": f"{kind}_call", "call_id": "c1", "action": {"command": ["ls"]}}
    for output, text in (("out", "out"), ([{"stdout": "x"}], '[{"stdout":"x"}]')):
        turns = _turns(_HI, item, {"type": f"{kind}_call_output", "call_id": "c1", "output": output})
        assert turns[1] == ("assistant", [_use(name=kind, tool_input=item)])
        assert turns[2] == ("user", [_result(_text(text))])


def test_instructions_lead_and_developers_speak_where_they_spoke() -> None:
    """Protects Codex, whose whole prompt is a developer's message, and the order of instructions."""
    developer = {"role": "developer", "content": [{"type": "input_text", "text": "B"}]}
    system = {"role": "system", "content": "C"}
    body = sent(instructions="A", input=[developer, system, _HI, developer])
    assert body["system"] == [_text("A"), _text("B"), _text("C")]
    messages = msgspec.convert(body["messages"], list[dict[str, object]])
    assert [one["role"] for one in messages] == ["user", "system"]


def test_reasoning_comes_back_as_the_block_it_was() -> None:
    """Protects the signature: the sealed text counts, not the summary a client may have changed."""
    redacted = {"type": "reasoning", "encrypted_content": SEAL.close(RedactedThinkingBlock("xyz"))}
    turns = _turns(_HI, _REASONING, redacted, _CALL, _OUTPUT)
    assert turns[1][1][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]


@pytest.mark.parametrize("sealed", ["gAAAAAB", SEAL.close(_THOUGHT)[:-1], "crs1."])
def test_reasoning_that_is_not_ours_is_refused_by_name(sealed: str) -> None:
    """Protects the upstream from thinking that was made up, and users from losing theirs unseen."""
    with pytest.raises(InvalidRequest) as caught:
        translated(input=[_HI, {**_REASONING, "encrypted_content": sealed}, _CALL])
    assert (caught.value.param, caught.value.code) == (
        "input[1].encrypted_content",
        "invalid_encrypted_content",
    )


def test_stored_reasoning_under_another_key_costs_only_itself() -> None:
    """Protects a conversation over a change of the secret key: its client has nothing to mend."""
    items = [_HI, {**_REASONING, "encrypted_content": "crs1.AAAA"}, _CALL, _OUTPUT]
    assert dropped(call(stored_items=3), input=items) == ["previous_response_id"]


def test_reasoning_without_a_seal_and_refused_reasoning_are_left_out_and_told() -> None:
    """Protects clients that send all items back, and the second attempt after the API refused thinking."""
    plain = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert dropped(input=[_HI, plain, _CALL, _OUTPUT]) == ["input[1]"]
    without = translated(MODEL, None, target(thinking_back=False), input=[_HI, _REASONING, _CALL, _OUTPUT])
    assert [(loss.field, loss.reason) for loss in without.dropped] == [
        ("input[1]", "refused by the upstream")
    ]
    assert len(without.request.messages[1].content) == 1


def test_thinking_alone_is_no_turn() -> None:
    """Protects requests whose last answer broke off: thinking cannot stand alone."""
    assert _turns(_HI, _REASONING, _HI) == [("user", [_text("hi"), _text("hi")])]


def test_remembered_thinking_is_put_back_where_the_client_lost_it() -> None:
    """Protects agents that send items back without their reasoning; what is brought back counts first."""
    remembered = {"c1": [Thought(0, ThinkingBlock("mem", "s"))]}
    towards = target(recall=lambda call_id: remembered.get(call_id, ()))
    alone = translated(MODEL, None, towards, input=[_HI, _CALL, _OUTPUT])
    assert alone.request.messages[1].content[0] == ThinkingBlock("mem", "s")
    both = translated(MODEL, None, towards, input=[_HI, _REASONING, _CALL, _OUTPUT])
    assert both.request.messages[1].content[0] == _THOUGHT


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_an_item_the_model_gets_nothing_of_is_told(kind: str) -> None:
    """Protects histories that began at another provider."""
    assert dropped(input=[_HI, {"type": kind, "id": "x", "arguments": {"any": "thing"}}]) == ["input[1]"]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "compaction", "encrypted_content": "x"}, "input[1].type"),
        ({"type": "hologram"}, "input[1].type"),
        ({"type": "item_reference", "id": "msg_1"}, "input[1].id"),
        ({"id": "msg_1"}, "input[1].id"),
        ({"role": "robot", "content": "x"}, "input[1].role"),
        (
            {"role": "assistant", "content": [{"type": "input_image", "image_url": "https://a"}]},
            "input[1].content[0].type",
        ),
        ({"type": "message", "content": "x"}, "input[1].role"),
        ({"type": "function_call", "call_id": "c"}, "input[1].name"),
        ({"type": "function_call", "name": "f"}, "input[1].call_id"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "input[1].arguments"),
        ({"type": "function_call_output", "output": "x"}, "input[1].call_id"),
        ({"type": "function_call_output", "call_id": "c", "output": 5}, "input[1].output"),
        (
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_audio"}]},
            "input[1].output[0].type",
        ),
        ("text", "input[1]"),
        (None, "input[1]"),
        ({"type": 5}, "input[1].type"),
    ],
    ids=str,
)
def test_an_item_that_cannot_be_is_named(item: object, param: str) -> None:
    """Protects users with long histories from guessing which one it was."""
    with pytest.raises(InvalidRequest) as caught:
        translated(input=[_HI, item])
    assert caught.value.param == param


def test_a_clients_own_items_are_counted_without_the_stored_ones() -> None:
    """Protects the name of a field from items the client never sent."""
    with pytest.raises(InvalidRequest) as caught:
        translated(MODEL, call(stored_items=2), input=[_HI, _HI, {"type": "hologram"}])
    assert caught.value.param == "input[0].type"


def test_every_item_of_the_official_client_is_read_left_out_or_refused_on_purpose() -> None:
    """Protects against a new sort of item that nobody has thought about."""
    refused = {"compaction_trigger"}
    kinds = {
        word
        for name in dir(theirs)
        if isinstance(struct := getattr(theirs, name), type)
        and "type" in (hints := getattr(struct, "__annotations__", {}))
        for word in str(hints["type"]).split("'")[1::2]
    }
    own = {kind for kind in kinds if kind.endswith(("_call", "_output", "_trigger", "_tools"))}
    assert len(own) > 15
    assert own - {*_READERS, *LEFT_OUT} == refused


def test_the_same_items_always_give_the_same_bytes() -> None:
    """Protects prompt caches and signatures, which depend on every byte."""
    items = [_HI, _REASONING, {**_CALL, "call_id": "call.1|x"}, {**_OUTPUT, "call_id": "call.1|x"}]
    assert sent(input=items) == sent(input=items)
    assert "|" not in str(_turns(*items)[1])
