"""The memory of thinking: whose it is, how long it lasts, how much it holds."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Thought
from proxy.dispatch.thinking import ThinkingMemory
from proxy.model.content import RedactedThinkingBlock, ThinkingBlock
from tests.support.clock import FakeClock

_THOUGHTS = (Thought(0, ThinkingBlock("I think.", "s")), Thought(1, RedactedThinkingBlock("x")))


def test_thinking_belongs_to_one_client_and_one_call() -> None:
    """Protects clients from each other's thinking."""
    memory = ThinkingMemory(FakeClock())
    memory.keep("a", "t1", _THOUGHTS)
    assert memory.recall("a", "t1") == _THOUGHTS
    assert memory.recall("b", "t1") == ()
    assert memory.recall("a", "t2") == ()


def test_thinking_is_forgotten_an_hour_after_its_last_use() -> None:
    """Protects long tool turns, which use it again and again, and memory from those that ended."""
    clock = FakeClock()
    memory = ThinkingMemory(clock)
    memory.keep("a", "t1", _THOUGHTS)
    for _ in range(3):
        clock.advance(3599.0)
        assert memory.recall("a", "t1") == _THOUGHTS
    clock.advance(3600.0)
    assert memory.recall("a", "t1") == ()
    assert (len(memory), memory.size_bytes) == (0, 0)


def test_the_turn_that_was_idle_longest_makes_room() -> None:
    """Protects the conversations that are going on."""
    memory = ThinkingMemory(FakeClock(), turns_max=2)
    memory.keep("a", "t1", _THOUGHTS)
    memory.keep("a", "t2", _THOUGHTS)
    memory.recall("a", "t1")
    memory.keep("a", "t3", _THOUGHTS)
    assert [bool(memory.recall("a", name)) for name in ("t1", "t2", "t3")] == [True, False, True]


def test_what_was_idle_too_long_leaves_when_something_comes() -> None:
    """Protects memory from conversations nobody asks about again."""
    clock = FakeClock()
    memory = ThinkingMemory(clock)
    memory.keep("a", "t1", _THOUGHTS)
    clock.advance(3600.0)
    memory.keep("a", "t2", _THOUGHTS)
    assert len(memory) == 1


def test_a_turn_too_large_is_not_kept_and_costs_no_other_its_place() -> None:
    """Protects everybody's memory from one answer."""
    memory = ThinkingMemory(FakeClock(), size_max_bytes=16_000)
    memory.keep("a", "t1", _THOUGHTS)
    memory.keep("a", "t2", [Thought(0, ThinkingBlock("x" * 1000, "s"))])
    assert memory.recall("a", "t2") == ()
    assert memory.recall("a", "t1") == _THOUGHTS


def test_what_was_forgotten_is_gone() -> None:
    """Protects the next turn from thinking the upstream has refused."""
    memory = ThinkingMemory(FakeClock())
    memory.keep("a", "t1", _THOUGHTS)
    assert memory.forget("a", "t1") == ()
    assert memory.forget("a", "t1") == ()
    assert memory.recall("a", "t1") == ()
    assert repr(memory) == "<ThinkingMemory [Turns: 0 | Bytes: 0]>"


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "recall", "forget", "wait"]),
        st.sampled_from("abc"),
        st.integers(0, 9),
        st.integers(0, 900),
    )
)


@given(_STEPS)
def test_its_bounds_hold_whatever_happens(steps: list[tuple[str, str, int, int]]) -> None:
    """Protects the process: never over its number or its bytes, and the count of bytes never drifts."""
    clock = FakeClock()
    memory = ThinkingMemory(clock, turns_max=5, size_max_bytes=8000)
    for step, client, number, size in steps:
        if step == "keep":
            memory.keep(client, f"t{number}", [Thought(0, ThinkingBlock("é" * (size // 4), "s"))])
        elif step == "recall":
            memory.recall(client, f"t{number}")
        elif step == "forget":
            memory.forget(client, f"t{number}")
        else:
            clock.advance(size)
        assert len(memory) <= 5
        assert 0 <= memory.size_bytes <= 8000
    for client in "abc":
        for number in range(10):
            memory.forget(client, f"t{number}")
    assert (len(memory), memory.size_bytes) == (0, 0)
