"""How much of a request each kind of credential would lose."""

from collections.abc import Collection
from typing import Final

from proxy.capabilities.feature import Feature, Front, Verdict
from proxy.capabilities.table import CELLS
from proxy.credentials import Kind

_FETCHED: Final = frozenset({Feature.IMAGE_URL, Feature.DOCUMENT_URL})
_MEASURED: Final = frozenset({Feature.COUNT_TOKENS})
"""What is asked for its exactness, so that an emulation of it is a loss."""


def losses(
    features: Collection[Feature], front: Front, kinds: Collection[Kind], *, fetches: bool = False
) -> tuple[tuple[Kind, int], ...]:
    """The place of each kind, from 0 for what loses least; kinds that lose as much share one.

    A refusal counts for more than any number of losses.

    Args:
        features: what the request asks for.
        front: the client's dialect.
        kinds: those among which there is a choice.
        fetches: whether URLs may be fetched here for kinds that do not do it themselves.

    Returns:
        Pairs in the order of the kinds' names; empty where all lose the same.
    """
    lost = {kind: _lost(features, front, kind, fetches=fetches) for kind in kinds}
    places = {loss: place for place, loss in enumerate(sorted(set(lost.values())))}
    if len(places) < 2:
        return ()
    return tuple((kind, places[lost[kind]]) for kind in sorted(kinds))


def _lost(features: Collection[Feature], front: Front, kind: Kind, *, fetches: bool) -> tuple[int, int]:
    """How many of the features it refuses, and how many it drops."""
    refused = dropped = 0
    for feature in features:
        verdict = CELLS[feature, front, kind].verdict
        if verdict is Verdict.REFUSED:
            refused += not (fetches and feature in _FETCHED)
        elif verdict is Verdict.DROPPED or (verdict is Verdict.EMULATED and feature in _MEASURED):
            dropped += 1
    return min(refused, 1), dropped
