"""What rests in memory is bounded, and found as long as it lives."""

from dataclasses import replace
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from proxy.store.conversation_memory import ConversationMemory, size_bytes
from proxy.store.conversations import ConversationRow

_ROW: Final = ConversationRow(owner="ann", id="c", created_unix_ms=1, used_unix_ms=10)


def test_what_was_put_last_is_found_until_its_time_is_over() -> None:
    """Protects a going conversation, and its owner from everybody else."""
    memory = ConversationMemory()
    memory.put(_ROW)
    memory.put(later := replace(_ROW, messages='["more"]', used_unix_ms=20))
    assert (memory.find("ann", "c", 19), memory.find("ann", "c", 20)) == (later, None)
    assert memory.find("bob", "c", 0) is None
    memory.forget(19)
    assert (len(memory), memory.size_bytes) == (1, size_bytes(later))
    memory.forget(20)
    assert (len(memory), memory.size_bytes, list(memory)) == (0, 0, [])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3000)), max_size=30))
def test_it_never_takes_more_than_it_may_and_the_oldest_go_first(puts: list[tuple[int, int]]) -> None:
    """Protects the process from conversations nobody comes back to."""
    memory, model = ConversationMemory(10_000), dict[int, int]()
    for name, length in puts:
        memory.put(replace(_ROW, id=str(name), messages="x" * length))
        model.pop(name, None)
        model[name] = 1000 + length + len(_ROW.system) + len(_ROW.metadata)
        while sum(model.values()) > 10_000:
            del model[next(iter(model))]
        assert memory.size_bytes == sum(model.values())
        assert [row.id for row in memory] == [str(each) for each in model]
    for name in tuple(model):
        assert memory.drop("ann", str(name))
        assert not memory.drop("ann", str(name))
    assert memory.size_bytes == 0
