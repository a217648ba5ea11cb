"""How long a key is compared tells nothing of how much of it was right."""

import gc
import math
import random
import statistics
import string
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Final

import pytest

from proxy.access import Client, ClientKeys
from proxy.secrets import Secret
from tests.support.soak import sized

_SAMPLES: Final = sized(full=100_000, short=20_000)
_LEAK_T: Final = 4.5
_TRIES: Final = 3
_CALLS_A_SAMPLE: Final = 20
_COPIES: Final = 64
_KEPT: Final = 0.9
_LETTERS: Final = string.ascii_letters + string.digits
_KEY: Final = "sk-carousel-" + "".join(random.Random(1).choices(_LETTERS, k=43))


def _wrong_at(place: int) -> str:
    """The key with one character exchanged."""
    return _KEY[:place] + ("a" if _KEY[place] != "a" else "b") + _KEY[place + 1 :]


def _took_ns(compare: Callable[[str], object], presented: Sequence[str], samples: int) -> list[list[int]]:
    """The times of each presented key, in an order by chance, so that what disturbs one disturbs all.

    Each is presented in many copies: where in memory a string happens to lie makes more of a difference than a leak.
    """
    rng = random.Random(2)
    copies = [["".join(list(key)) for _ in range(_COPIES)] for key in presented]
    order = [number % len(presented) for number in range(samples)]
    rng.shuffle(order)
    took: list[list[int]] = [[] for _ in presented]
    gc.disable()
    try:
        for which in order:
            key = copies[which][len(took[which]) % _COPIES]
            begin = perf_counter_ns()
            for _ in range(_CALLS_A_SAMPLE):
                compare(key)
            took[which].append(perf_counter_ns() - begin)
    finally:
        gc.enable()
    return took


def _welch_t(one: Sequence[int], other: Sequence[int]) -> float:
    """Welch's t of two samples without their slowest tenth, which tells of the machine and not of the keys."""
    kept = [sorted(each)[: int(len(each) * _KEPT)] for each in (one, other)]
    means = [statistics.fmean(each) for each in kept]
    errors = [statistics.variance(each) / len(each) for each in kept]
    return (means[0] - means[1]) / math.sqrt(sum(errors) or 1e-9)


def _least_t(compare: Callable[[str], object], early: str, late: str, samples: int) -> float:
    """The smallest of a few results: a leak shows every time, a disturbance does not."""
    return min(abs(_welch_t(*_took_ns(compare, (early, late), samples))) for _ in range(_TRIES))


@pytest.mark.long
def test_a_key_wrong_at_its_end_takes_as_long_as_one_wrong_at_its_beginning() -> None:
    """Protects keys from being guessed one character after the other."""
    keys = ClientKeys([(Secret(_KEY), Client("one")), (Secret("x" * 40), Client("two"))], require_auth=True)
    assert _least_t(keys.match, _wrong_at(0), _wrong_at(len(_KEY) - 1), _SAMPLES) < _LEAK_T


def test_the_measurement_sees_a_comparison_that_ends_early() -> None:
    """Protects the test above from a ruler that measures nothing."""

    def early_end(presented: str) -> bool:
        return all(known == given for known, given in zip(_KEY, presented, strict=False))

    assert _least_t(early_end, _wrong_at(0), _wrong_at(len(_KEY) - 1), 2_000) > _LEAK_T


@pytest.mark.parametrize("shared", [40, 54])
def test_keys_that_share_their_beginning_never_cross(shared: int) -> None:
    """Protects one client's account from the holder of a key that begins like its own."""
    keys = [_wrong_at(place) for place in range(shared, len(_KEY))]
    known = ClientKeys([(Secret(key), Client(key)) for key in keys], require_auth=True)
    for key in keys:
        assert known.match(key) == Client(key)
    assert known.match(_KEY) is None
    assert known.match(_KEY[:shared]) is None
