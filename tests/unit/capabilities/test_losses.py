"""Kinds in the order of what they would lose."""

import pytest

from proxy.capabilities import Feature, Front, losses
from proxy.credentials import Kind

_API, _WEB, _OTHER = Kind.ANTHROPIC, Kind.CLAUDE_WEB, Kind.OPENAI


@pytest.mark.parametrize(
    ("features", "kinds", "expected"),
    [
        ([], [_API, _WEB], ()),
        ([Feature.SYSTEM, Feature.STOP_SEQUENCES], [_API, _WEB], ()),
        ([Feature.TEMPERATURE], [_API, _WEB], ((_API, 0), (_WEB, 1))),
        ([Feature.TEMPERATURE], [_WEB], ()),
        ([Feature.TEMPERATURE], [_API, _OTHER], ()),
        ([Feature.SEED], [_API, _WEB], ()),
        ([Feature.SEED], [_API, _OTHER], ((_API, 1), (_OTHER, 0))),
        ([Feature.SEED, Feature.TEMPERATURE], [_API, _WEB, _OTHER], ((_API, 1), (_WEB, 2), (_OTHER, 0))),
        ([Feature.TOOLS], [_API, _WEB], ((_API, 0), (_WEB, 1))),
        (
            [Feature.TOOLS, Feature.SEED, Feature.LOGPROBS, Feature.METADATA],
            [_WEB, _API],
            ((_API, 0), (_WEB, 1)),
        ),
        ([Feature.SEVERAL_ANSWERS], [_API, _WEB], ()),
    ],
)
def test_kinds_are_placed_by_what_they_lose(
    features: list[Feature], kinds: list[Kind], expected: tuple[tuple[Kind, int], ...]
) -> None:
    """Protects the order: least first, equals together, nothing at all where nobody loses more."""
    assert losses(features, Front.CHAT, kinds) == expected


def test_a_refusal_counts_for_more_than_many_losses() -> None:
    """Protects requests from a kind that would refuse them, where another drops what only tunes."""
    many = [Feature.CACHE_MARKS, Feature.TOP_K, Feature.THINKING, Feature.EFFORT, Feature.SPEED]
    found = dict(losses([Feature.TOOLS, *many], Front.MESSAGES, [_WEB, _OTHER]))
    assert found[_OTHER] < found[_WEB]


def test_estimated_counts_come_after_true_ones() -> None:
    """Protects clients that count: an estimate is for where there is nothing better."""
    assert losses([Feature.COUNT_TOKENS], Front.MESSAGES, [_API, _WEB]) == ((_API, 0), (_WEB, 1))


@pytest.mark.parametrize("feature", [Feature.IMAGE_URL, Feature.DOCUMENT_URL])
def test_what_may_be_fetched_here_is_no_loss(feature: Feature) -> None:
    """Protects the turns of sessions where the operator lets URLs be fetched for them."""
    assert losses([feature], Front.MESSAGES, [_API, _WEB]) == ((_API, 0), (_WEB, 1))
    assert losses([feature], Front.MESSAGES, [_API, _WEB], fetches=True) == ()
