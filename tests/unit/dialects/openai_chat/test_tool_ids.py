"""Tool call ids the upstream accepts."""

import re

from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_chat.tool_ids import ToolIds


def test_good_ids_stay() -> None:
    """An id of the upstream's own goes back as it came."""
    ids = ToolIds()
    assert ids.for_call("toolu_01-A", 1) == "toolu_01-A"
    assert ids.for_result("toolu_01-A") == "toolu_01-A"


def test_a_result_nobody_asked_for_has_no_id() -> None:
    """Neither has a second result for the same call."""
    ids = ToolIds()
    ids.for_call("a", 1)
    assert [ids.for_result("a"), ids.for_result("a"), ids.for_result("b")] == ["a", "", ""]


def test_ids_used_again_name_other_calls() -> None:
    """Some clients count from call_0 in every turn; results belong to the latest."""
    ids = ToolIds()
    first = ids.for_call("call_0", 1)
    second = ids.for_call("call_0", 3)
    assert first != second
    assert ids.for_result("call_0") == second
    twins = [ids.for_call("x", 5), ids.for_call("x", 5)]
    assert [ids.for_result("x"), ids.for_result("x")] == twins


@given(st.lists(st.sampled_from(["a", "a.b", "a_b", "functions.Bash:0", "", "ä", "a|b"]), max_size=12))
def test_ids_are_legal_unique_and_stable(originals: list[str]) -> None:
    """The same history gives the same ids, and a longer one begins with them."""
    once, again = ToolIds(), ToolIds()
    ids = [once.for_call(original, place) for place, original in enumerate(originals)]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", each) for each in ids)
    assert len(set(ids)) == len(ids)
    assert [again.for_call(o, p) for p, o in enumerate(originals[:5])] == ids[:5]
