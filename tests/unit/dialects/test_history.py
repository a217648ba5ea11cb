"""What stays of a conversation that has become too long."""

from collections.abc import Sequence
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic.history import MessagesHistory
from proxy.dialects.history import History, HistoryFormat, as_json, cropped, demand_text, from_json
from proxy.dialects.openai_chat.history import ChatHistory
from proxy.errors import InvalidRequest

_CHAT: Final = ChatHistory()
_MUCH: Final = 10**9


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _said(role: str, text: str = "x") -> msgspec.Raw:
    return _raw({"role": role, "content": text})


def _history(*roles: str) -> History:
    return History((), tuple(_said(role, f"{place}") for place, role in enumerate(roles)))


def _roles(history: History | None) -> list[str]:
    assert history is not None
    return [msgspec.json.decode(raw, type=dict[str, str])["role"] for raw in history.messages]


def test_the_oldest_whole_turns_go_first() -> None:
    """Protects the latest turns, and the shape of a conversation, which begins with the user."""
    history = _history("user", "assistant", "user", "assistant", "user", "assistant")
    for most, left in ((6, 6), (5, 4), (4, 4), (3, 2), (2, 2), (1, 2)):
        assert _roles(cropped(history, _CHAT, most_messages=most, most_bytes=_MUCH)) == [
            "user",
            "assistant",
        ] * (left // 2)


def test_a_tool_result_is_never_left_without_its_call() -> None:
    """Protects requests from being refused because a turn was cut in two."""
    history = _history("user", "assistant", "tool", "assistant", "tool", "assistant", "user", "assistant")
    kept = cropped(history, _CHAT, most_messages=4, most_bytes=_MUCH)
    assert _roles(kept) == ["user", "assistant"]
    loop = History((), history.messages[:6])
    assert cropped(loop, _CHAT, most_messages=2, most_bytes=_MUCH) == loop


def test_a_messages_user_who_only_answers_a_call_begins_no_turn() -> None:
    """Protects the same for the dialect in which results are the user's."""
    wording = MessagesHistory()
    result = _raw({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "5"}]})
    history = History((), (_said("user"), _said("assistant"), result, _said("assistant"), _said("user")))
    kept = cropped(history, wording, most_messages=3, most_bytes=_MUCH)
    assert kept is not None
    assert kept.messages == history.messages[4:]


def test_instructions_outlive_the_turns_they_stand_in() -> None:
    """Protects the rules of a conversation, which are not among what is counted."""
    history = History(
        (_said("system"),), (_said("user"), _said("developer"), _said("assistant"), _said("user"))
    )
    kept = cropped(history, _CHAT, most_messages=1, most_bytes=_MUCH)
    assert kept is not None
    assert kept.system == history.system
    assert _roles(kept) == ["developer", "user"]


def test_a_last_turn_that_is_too_large_is_nothing_to_keep() -> None:
    """Protects memory: no part of a turn can go without the rest."""
    history = History((), (_said("user"), _said("assistant"), _said("user", "y" * 100)))
    assert cropped(history, _CHAT, most_messages=10, most_bytes=100) is None
    kept = cropped(history, _CHAT, most_messages=10, most_bytes=140)
    assert kept is not None
    assert kept.messages == history.messages[2:]


_ROLES: Final = st.lists(st.sampled_from(["user", "assistant", "tool", "system", "developer"]), max_size=30)


@given(roles=_ROLES, most_messages=st.integers(1, 30), most_bytes=st.integers(0, 1200))
def test_what_is_left_is_an_end_of_what_was(roles: list[str], most_messages: int, most_bytes: int) -> None:
    """Protects histories of every shape: nothing is changed, moved or left over, and the limits hold where they can."""
    history = _history(*roles)
    kept = cropped(history, _CHAT, most_messages=most_messages, most_bytes=most_bytes)
    if kept is None:
        return
    assert kept.length_bytes <= most_bytes
    spoken = [raw for raw in kept.messages if not _CHAT.instructs(raw)]
    all_spoken = [raw for raw in history.messages if not _CHAT.instructs(raw)]
    assert spoken == all_spoken[len(all_spoken) - len(spoken) :]
    instructions = [raw for raw in history.messages if _CHAT.instructs(raw)]
    assert [raw for raw in kept.messages if _CHAT.instructs(raw)] == instructions
    if len(spoken) < len(all_spoken):
        assert _CHAT.begins(spoken[0])
    if len(spoken) > most_messages:
        assert not any(map(_CHAT.begins, spoken[1:]))


@pytest.mark.parametrize("wording", [ChatHistory(), MessagesHistory()])
def test_new_instructions_take_the_place_of_those_before(wording: HistoryFormat) -> None:
    """Protects against rules that pile up with every turn of a client that always sends them."""
    first, second = (_asked(wording, text) for text in ("Old rule.", "New rule."))
    assert first.then(second).system == second.system
    assert first.then(History((), second.messages)).system == first.system
    assert first.then(second).messages == first.messages + second.messages


def _asked(wording: HistoryFormat, rule: str) -> History:
    messages: list[object] = [{"role": "user", "content": "Hi"}]
    if isinstance(wording, ChatHistory):
        messages.insert(0, {"role": "system", "content": rule})
        return wording.read(msgspec.json.encode({"messages": messages}))
    return wording.read(msgspec.json.encode({"system": rule, "messages": messages}))


def test_what_was_kept_is_read_again_byte_for_byte() -> None:
    """Protects prompt caches and signatures, which depend on every byte."""
    messages: Sequence[msgspec.Raw] = [msgspec.Raw(b'{"role": "user",  "content":"\\u00e9\\u0000"}')]
    assert from_json("[]", as_json(messages)) == History((), tuple(messages))


def test_a_body_that_is_no_text_is_refused() -> None:
    """Protects the store from what it could not give back."""
    demand_text('{"é":1}'.encode())
    with pytest.raises(InvalidRequest):
        demand_text(b'{"a":"\xff"}')
