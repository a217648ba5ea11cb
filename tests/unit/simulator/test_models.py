"""The simulator's own table of models."""

from typing import cast

import pytest

from proxy.simulator.models import MODELS, describe, find_model, page_of_models

_ALL = frozenset({"active", "deprecated"})
_KNOWN = {
    *(f"claude-{line}-{version}" for line in ("fable", "mythos") for version in ("5", "5-1", "5-2")),
    *(f"claude-opus-{version}" for version in ("4-5-20251101", "4-6", "4-7", "4-8", "5", "5-5")),
    *(f"claude-sonnet-{version}" for version in ("4-5-20250929", "4-6", "5", "5-5")),
    *(f"claude-haiku-{version}" for version in ("4-5-20251001", "5-5")),
    "claude-mythos-preview",
}


def _ids(page: dict[str, object]) -> list[str]:
    return [str(model["id"]) for model in cast(list[dict[str, object]], page["data"])]


def test_every_model_of_november_2026_is_there() -> None:
    """An id that is missing would be a 404 no real account gives."""
    assert set(MODELS) == _KNOWN


@pytest.mark.parametrize(
    ("alias", "full"),
    [
        ("claude-opus-4-5", "claude-opus-4-5-20251101"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    ],
)
def test_an_alias_is_its_model(alias: str, full: str) -> None:
    """Answers name the full id."""
    assert find_model(alias) is MODELS[full]


@pytest.mark.parametrize("name", ["claude-3-opus-20240229", "claude-sonnet-4-20250514", "gpt-5", ""])
def test_retired_and_unknown_models_are_not_found(name: str) -> None:
    """Both are the same 404."""
    assert find_model(name) is None


def test_pages_follow_one_another_without_gaps() -> None:
    """The SDKs page by ``after_id``."""
    found: list[str] = []
    after = None
    while True:
        page = page_of_models(limit=4, after_id=after, before_id=None, lifecycles=_ALL)
        found += _ids(page)
        assert page["first_id"] == _ids(page)[0]
        after = cast(str, page["last_id"])
        if not page["has_more"]:
            break
    assert found == list(MODELS)


def test_a_page_before_an_id_ends_just_before_it() -> None:
    """Paging backwards keeps the order."""
    ids = list(MODELS)
    page = page_of_models(limit=2, after_id=None, before_id=ids[5], lifecycles=_ALL)
    assert _ids(page) == ids[3:5]
    assert page["has_more"]


def test_an_unknown_cursor_gives_the_empty_page() -> None:
    """Nothing is after what is not there."""
    page = page_of_models(limit=2, after_id="nobody", before_id=None, lifecycles=_ALL)
    assert page == {"data": [], "first_id": None, "last_id": None, "has_more": False}


def test_models_can_be_listed_by_lifecycle() -> None:
    """Deprecated ones tell when they retire."""
    page = page_of_models(limit=100, after_id=None, before_id=None, lifecycles=frozenset({"deprecated"}))
    assert set(_ids(page)) == {"claude-sonnet-4-5-20250929", "claude-mythos-preview"}
    described = describe(MODELS["claude-sonnet-4-5-20250929"])
    assert described["retires_at"] == "2026-11-30T00:00:00Z"
    assert described["max_tokens"] == 64_000
