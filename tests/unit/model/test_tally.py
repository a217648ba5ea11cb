"""Sums add up field by field, and know when their cost is not known."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.tally import COUNTED, Tally

_tallies = st.lists(st.builds(Tally, *[st.integers(0, 10**12)] * len(COUNTED)), max_size=6)


def _sum(tallies: list[Tally]) -> Tally:
    found = Tally()
    for tally in tallies:
        found.add(tally)
    return found


@given(_tallies, _tallies)
def test_the_sum_of_the_parts_is_the_whole(first: list[Tally], second: list[Tally]) -> None:
    """Protects every total from how its rows were grouped."""
    grouped = _sum(first)
    grouped.add(_sum(second))
    assert grouped == _sum(first + second)
    for name in COUNTED:
        assert getattr(grouped, name) == sum(getattr(each, name) for each in (*first, *second))


@pytest.mark.parametrize(("priced", "unpriced", "known"), [(0, 0, 0), (2, 0, 50), (0, 1, None), (2, 1, 50)])
def test_a_cost_that_nobody_knows_is_not_zero(priced: int, unpriced: int, known: int | None) -> None:
    """Protects against taking an unknown price for a free answer; what is known of a mixed sum is told."""
    cost = 50 if priced else 0
    assert Tally(priced=priced, unpriced=unpriced, cost_micro_usd=cost).known_micro_usd == known


def test_every_token_is_in_the_total_once() -> None:
    """Protects the one number of tokens from a sort left out, and from thinking, which is output already."""
    tally = Tally(**{name: 10**index for index, name in enumerate(COUNTED)})
    counted = [name for name in COUNTED if name.endswith("_tokens") and name != "thinking_tokens"]
    assert tally.tokens == sum(msgspec.structs.asdict(tally)[name] for name in counted)
