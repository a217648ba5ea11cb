"""Random minutes of faults: whatever goes wrong, every answer is whole and every error has its reason."""

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest
import structlog

from tests.support.schedules.clients import happened
from tests.support.schedules.oracle import Oracle, Why
from tests.support.schedules.plan import make_plan

SEEDS: Final = range(100)
REASONS_SEEN: Final = frozenset(Why)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Changes of health by the thousand are no news here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def test_in_100_random_minutes_every_error_has_its_reason_and_every_answer_is_whole() -> None:
    """Protects clients from errors that could have been avoided, and from halves of answers taken for whole ones.

    Every reason there is has to come up, or the plans have become too tame to prove anything.
    """
    found: Counter[Why] = Counter()
    for seed in SEEDS:
        found.update(Oracle(happened(make_plan(seed))).judge())
    sys.stdout.write("".join(f"{number:6} {why}\n" for why, number in found.most_common()))
    assert set(found) == REASONS_SEEN


def test_a_plan_happens_the_same_way_each_time() -> None:
    """Protects whoever looks for the cause of a failure: its seed is all that is needed to see it again."""
    first, second = happened(make_plan(7)), happened(make_plan(7))
    assert [(call.name, call.began_s, call.end, call.ended_s) for call in first.calls] == [
        (call.name, call.began_s, call.end, call.ended_s) for call in second.calls
    ]
