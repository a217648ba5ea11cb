"""The settings of several processes."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, load_settings

WRONG = {"WORKERS": "0", "REDIS_URL": "http://redis"}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_stops_the_start(name: str, tmp_path: Path) -> None:
    """Protects from processes that would each go by themselves without anybody knowing."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {name: WRONG[name]}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == [name]


def test_one_process_is_alone_unless_told_otherwise(tmp_path: Path) -> None:
    """Protects those who need no Redis."""
    settings = load_settings({}, {}, tmp_path)
    assert (settings.workers, settings.redis_url) == (1, None)
