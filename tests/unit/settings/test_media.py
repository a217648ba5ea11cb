"""Which images and documents the operator lets requests name."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, FetchRule, InvalidValueError, load_settings
from proxy.settings.media import directories, fetch_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("off", FetchRule()),
        ("False", FetchRule()),
        ("on", FetchRule(enabled=True)),
        ("YES", FetchRule(enabled=True)),
        (
            "images.example.com, *.CDN.example.com,h:8443",
            FetchRule(
                enabled=True, hosts=(("images.example.com", None), ("*.cdn.example.com", None), ("h", 8443))
            ),
        ),
        ('["192.0.2.1"]', FetchRule(enabled=True, hosts=(("192.0.2.1", None),))),
        (",", FetchRule()),
    ],
)
def test_fetching_is_off_on_or_for_hosts(text: str, rule: FetchRule) -> None:
    """Protects the operator's word from being read as another."""
    assert fetch_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        *(
            "on,example.com",
            "example.com,off",
            "https://example.com",
            "example.com/",
            "a b",
            "*",
            "*.",
            "a.*",
        ),
        *("h:0", "h:65536", "h:", "u@h", "[::1]", "h.", ".h", "häuser.example"),
    ],
)
def test_anything_else_stops_the_start(text: str) -> None:
    """Protects from a rule that means less, or more, than it says."""
    with pytest.raises(InvalidValueError):
        fetch_rule(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "allowed"),
    [
        ("off", "a.example", 443, False),
        ("on", "a.example", 443, True),
        ("on", "a.example", 80, True),
        ("on", "a.example", 22, False),
        ("a.example", "a.example", 443, True),
        ("a.example", "a.example", 8443, False),
        ("a.example", "b.a.example", 443, False),
        ("a.example", "ba.example", 443, False),
        ("*.a.example", "b.a.example", 80, True),
        ("*.a.example", "a.example", 80, False),
        ("*.a.example", "ba.example", 80, False),
        ("a.example:8443", "a.example", 8443, True),
        ("a.example:8443", "a.example", 443, False),
        ("a.example:8443,a.example", "a.example", 443, True),
    ],
)
def test_a_rule_allows_its_hosts_on_the_standard_ports_or_their_own(
    text: str, host: str, port: int, *, allowed: bool
) -> None:
    """Protects every other host and every other port."""
    assert fetch_rule(text).allows(host, port) is allowed


def test_directories_of_both_names_add_up_and_become_absolute(tmp_path: Path) -> None:
    """Protects those who come with the name their earlier program had."""
    (tmp_path / "a").mkdir()
    environ = {
        "CLAUDE_CODE_ROOTS": f"a, {tmp_path}/a",
        "CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS": f'["{tmp_path}/a/../b"]',
    }
    settings = load_settings({}, environ, tmp_path)
    assert settings.media.roots == (tmp_path / "a", tmp_path / "b")
    assert settings.warnings == (
        "CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS names a directory that does not exist.",
    )


@pytest.mark.parametrize(
    "path", ["/", "/srv/..", "/proc", "/proc/self", "/sys/class", "/dev/fd", "//", "//proc"]
)
def test_the_whole_machine_is_no_directory_of_images(path: str, tmp_path: Path) -> None:
    """Protects the operator from one slip that opens everything."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {"CLAUDE_CODE_ROOTS": path}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == ["CLAUDE_CODE_ROOTS"]


@pytest.mark.parametrize("text", ["[1]", '["a\\u0000b"]', "/srv/a\x07"])
def test_what_is_no_list_of_paths_stops_the_start(text: str) -> None:
    """Protects from opening another directory than the one that was meant."""
    with pytest.raises(InvalidValueError):
        directories(text)


def test_nothing_is_fetched_or_read_unless_the_operator_says_so(tmp_path: Path) -> None:
    """Protects every machine whose operator never thought about it."""
    media = load_settings({}, {}, tmp_path).media
    assert media.roots == ()
    assert not media.fetch.enabled
