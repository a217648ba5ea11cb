"""The targets of ``make fuzz`` over what they have met before, and over what lies near it."""

import random
from typing import Final

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.targets import CORPUS, TARGETS, requests, seeds
from tests.fuzz.variations import variations, varied
from tests.support.soak import seeded, sized

_VARIATIONS: Final = sized(full=20_000, short=400)
_CORPUS_MAX_BYTES: Final = 64 * 1024


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_of_the_corpus_and_nothing_near_it_breaks_a_parser(target: str) -> None:
    """Protects the loop and every other client from bytes that raise what nobody expects."""
    known = seeds(target)
    with seeded() as rng:
        for data in (*known, b"", *variations(known, _VARIATIONS, rng.randrange(2**32))):
            try:
                TARGETS[target](data)
            except Exception as error:
                error.add_note(f"bytes: {data!r}")
                raise


def test_every_target_has_a_corpus_and_it_is_small() -> None:
    """Protects against a target that starts from nothing, and the repository from what fuzzing piles up."""
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)
    assert all(seeds(target) for target in TARGETS)
    assert sum(len(data) for target in TARGETS for data in seeds(target)) <= _CORPUS_MAX_BYTES


def test_variations_are_the_same_for_the_same_seed_and_no_copies() -> None:
    """Protects a finding from being lost, and the tests above from going through one text again and again."""
    known = seeds("requests")
    found = list(variations(known, 200, 7))
    assert found == list(variations(known, 200, 7))
    assert len(set(found) - set(known)) > 150


def test_a_hole_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a target that swallows what it should raise."""
    monkeypatch.setattr("tests.fuzz.targets.passing_body", lambda *_, **__: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        requests(seeds("requests")[0])


def test_even_nothing_can_be_varied() -> None:
    """Protects the mutator, which atheris begins with no bytes at all."""
    rng = random.Random(1)
    assert all(isinstance(varied(b"", rng), bytes) for _ in range(100))


def test_a_target_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects ``make fuzz TARGET=…`` from doing nothing without a word."""
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "sse" in capsys.readouterr().err
