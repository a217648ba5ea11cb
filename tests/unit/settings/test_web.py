"""The settings of the mirror."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, load_settings

_ON = {"ENABLE_MIRROR_API": "true"}
_REDIS = {"REDIS_URL": "redis://localhost", "SECRET_KEY": "s" * 32}


def test_there_is_no_mirror_unless_it_is_turned_on(tmp_path: Path) -> None:
    """Protects operators who never asked for it."""
    assert not load_settings({}, {}, tmp_path).mirror.enabled
    found = load_settings({}, {**_ON, "MIRROR_API_PREFIX": "/own/one"}, tmp_path).mirror
    assert (found.enabled, found.prefix) == (True, "/own/one")


@pytest.mark.parametrize("others", [_REDIS, {**_REDIS, "WORKERS": "2"}], ids=["redis", "workers"])
def test_it_serves_in_one_process_only(others: dict[str, str], tmp_path: Path) -> None:
    """Protects accounts from callers who are told to stop by one process and go on with the next."""
    assert load_settings({}, others, tmp_path).workers > 0
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {**others, **_ON}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == ["ENABLE_MIRROR_API"]


@pytest.mark.parametrize("prefix", ["mirror", "/", "/v1", "/hf", "/admin/mirror", "/openapi.json", "/health"])
def test_it_takes_no_other_endpoints_path(prefix: str, tmp_path: Path) -> None:
    """Protects routes from being opened by another key because a path begins like theirs."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {"MIRROR_API_PREFIX": prefix}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == ["MIRROR_API_PREFIX"]


def test_every_endpoints_first_word_is_taken(tmp_path: Path) -> None:
    """Protects the list of taken paths from a route that is added later."""
    from proxy.server.app import ROUTES  # noqa: PLC0415 - settings lie far below it

    firsts = {(prefix + route.path).split("/")[1] for route in ROUTES for prefix in route.prefixes}
    for first in firsts:
        with pytest.raises(ConfigurationError):
            load_settings({}, {"MIRROR_API_PREFIX": f"/{first}/x"}, tmp_path)
