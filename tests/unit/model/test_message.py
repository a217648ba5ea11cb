"""Usage is merged field by field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.message import CacheCreation, OutputTokensDetails, Usage


@pytest.mark.parametrize(
    ("earlier", "later", "merged"),
    [
        (None, None, None),
        (None, 0, 0),
        (None, 5, 5),
        (0, None, 0),
        (0, 5, 5),
        (7, None, 7),
        (7, 0, 7),
        (7, 5, 5),
    ],
)
def test_absent_and_zero_never_overwrite(earlier: int | None, later: int | None, merged: int | None) -> None:
    """A late event that does not repeat a count does not delete it."""
    assert Usage(input_tokens=earlier).merge(Usage(input_tokens=later)) == Usage(input_tokens=merged)


def test_nested_counts_are_merged_too() -> None:
    """The split by cache lifetime and the thinking tokens follow the same rule."""
    earlier = Usage(cache_creation=CacheCreation(2048, 0), service_tier="standard")
    later = Usage(cache_creation=CacheCreation(0, 7), output_tokens_details=OutputTokensDetails(31))
    assert earlier.merge(later) == Usage(
        cache_creation=CacheCreation(2048, 7),
        output_tokens_details=OutputTokensDetails(31),
        service_tier="standard",
    )


_counts = st.none() | st.integers(min_value=0, max_value=9)
_usages = st.builds(
    Usage,
    input_tokens=_counts,
    output_tokens=_counts,
    cache_read_input_tokens=_counts,
    cache_creation=st.none() | st.builds(CacheCreation, _counts, _counts),
)


@given(_usages, _usages, _usages)
def test_merging_can_be_grouped_anyhow(first: Usage, second: Usage, third: Usage) -> None:
    """However the events were batched, the sum of what was told is the same."""
    assert first.merge(second).merge(third) == first.merge(second.merge(third))
    assert first.merge(Usage()) == first == Usage().merge(first)
