"""Parsers take what operators write, refuse the rest, and never repeat what they refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.secrets import Secret
from proxy.settings import values
from proxy.settings.problems import InvalidValueError

GOOD: list[tuple[Callable[[str], object], str, object]] = [
    (values.boolean, "TRUE", True),
    (values.boolean, "1", True),
    (values.boolean, "yes", True),
    (values.boolean, "Off", False),
    (values.boolean, "0", False),
    (values.integer(0, 10), "10", 10),
    (values.integer(0, 10), "+0", 0),
    (values.integer(-5, 10), "-5", -5),
    (values.number(0, 1), "0.25", 0.25),
    (values.number(0, 1), "1", 1.0),
    (values.ladder(1, 100), "5, 10,10,99.5", (5.0, 10.0, 10.0, 99.5)),
    (values.one_of("text", "json"), "JSON", "json"),
    (values.secret, "  sk-1\r\n", Secret("sk-1")),
    (values.long_secret, "x" * 16, Secret("x" * 16)),
    (values.secrets, "a1, b2 ,a1", (Secret("a1"), Secret("b2"))),
    (values.raw_secret, '[{"a": 1}]', Secret('[{"a": 1}]')),
    (values.word, "A.b_c-9", "A.b_c-9"),
    (values.words, "a, b,", ("a", "b")),
    (values.words, '["/a b", "c,d"]', ("/a b", "c,d")),
    (values.networks, "10.0.0.0/8,::1", ("10.0.0.0/8", "::1/128")),
    (values.model_id, "claude-*", "claude-*"),
    (values.plain, "./mcp config.json", "./mcp config.json"),
    (values.log_level, "WARN", "warning"),
    (values.log_level, "trace", "debug"),
    (values.log_level, "hyper=trace,error,x=debug", "error"),
    (values.log_level, "claude_code_api=debug", "debug"),
    (values.base_url, "https://api.anthropic.com/", "https://api.anthropic.com"),
    (values.base_url, "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
    (values.base_url, "http://[::1]:9", "http://[::1]:9"),
    (values.proxy_url, "socks5h://u:p@h:1", Secret("socks5h://u:p@h:1")),
    (values.proxy_url, "http://proxy:2080/", Secret("http://proxy:2080/")),
    (values.redis_url, "rediss://:pw@h:6379/0", Secret("rediss://:pw@h:6379/0")),
    (values.sqlite_path, "sqlite:///./x.db", "./x.db"),
    (values.sqlite_path, "sqlite:////var/x.db", "/var/x.db"),
    (values.url_prefix, "/a/b-c", "/a/b-c"),
]

BAD: list[tuple[Callable[[str], object], str]] = [
    *[(values.boolean, text) for text in ("maybe", "2", "truee")],
    *[(values.integer(0, 10), text) for text in ("11", "-1", "1.0", "1_0", "0x1", "\u0661", "1e1", "9" * 30)],
    *[(values.number(0, 1), text) for text in ("1.01", "-0.1", "nan", "inf", "1e-3", ".5", "0,5")],
    *[(values.ladder(1, 100), text) for text in ("", "5,4", "0", "101", ",".join(["5"] * 17))],
    *[(values.one_of("text", "json"), text) for text in ("xml", "")],
    *[(values.secret, text) for text in ("", " \n", "a b", "a\nb", "a\x00b", "kéy", "a\u200bb", "x" * 4097)],
    *[(values.secret, text) for text in ("replace-me", "sk-Replace-Me-1")],
    (values.long_secret, "x" * 15),
    *[(values.secrets, text) for text in ("", "a,,b", "a,", "a,b c")],
    *[(values.word, text) for text in ("", "a b", "é", "x" * 65, "a\n")],
    *[(values.words, text) for text in ("[1]", '["a"', "[")],
    *[(values.networks, text) for text in ("10.0.0.1/8", "example.com", "10.0.0.0/33")],
    *[(values.model_id, text) for text in ("", "a b", "x" * 129, "modèle")],
    (values.plain, "a\x00b"),
    *[(values.log_level, text) for text in ("loud", ",", "x=loud")],
    *[
        (values.base_url, text)
        for text in (
            "api.anthropic.com",
            "ftp://a",
            "https://",
            "https://u@a",
            "https://u:p@a",
            "https://@a",
            "https://a?b=c",
            "https://a#b",
            "https://a\\@b",
            "https://a\\b",
            "https://a b",
            "https://a:0",
            "https://a:99999",
            "https://[::1",
            "https://ä.de",
            "file:///etc/passwd",
        )
    ],
    *[(values.proxy_url, text) for text in ("socks://h:1", "http://h/path", "h:1", "http://h?x", "")],
    *[(values.redis_url, text) for text in ("http://h", "redis://")],
    *[
        (values.sqlite_path, text)
        for text in (
            "postgres://h/db",
            "sqlite::memory:",
            "sqlite://x.db",
            "sqlite:///:memory:",
            "sqlite:///x?mode=ro",
        )
    ],
    *[(values.url_prefix, text) for text in ("mirrored", "/", "/a/", "/a?b", "//a")],
]


@pytest.mark.parametrize(("parse", "text", "value"), GOOD)
def test_what_operators_write_is_understood(parse: Callable[[str], object], text: str, value: object) -> None:
    """Protects the spellings the documentation promises."""
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text"), BAD)
def test_what_is_wrong_is_refused_without_repeating_it(parse: Callable[[str], object], text: str) -> None:
    """Protects against a half-understood value, and against a misplaced secret in the message."""
    with pytest.raises(InvalidValueError) as caught:
        parse(text)
    assert str(caught.value)
    assert len(text) < 4 or text not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=80))
def test_an_accepted_secret_can_stand_in_a_header(text: str) -> None:
    """Protects every upstream call: a control character or a space in a key makes HTTP libraries raise."""
    try:
        accepted = values.secret(text).reveal()
    except InvalidValueError:
        return
    assert accepted
    assert all("!" <= character <= "~" for character in accepted)


@given(st.text(alphabet="htps:/@.ab\\ #?[]1é\n", max_size=24))
def test_an_accepted_address_has_no_user_and_no_query(text: str) -> None:
    """Protects keys from being sent to a host that only looks like the one that was read."""
    try:
        accepted = values.base_url(text)
    except InvalidValueError:
        return
    assert not set(accepted) & set("@?#\\ \n")
    assert accepted.split("://")[0] in {"http", "https"}


def test_the_item_that_is_wrong_is_named_by_its_number() -> None:
    """Protects the operator of fifty keys from looking for the bad one."""
    with pytest.raises(InvalidValueError, match=r"^item 2 is empty$"):
        values.secrets("a,,b")


def test_a_database_needs_a_path() -> None:
    """Protects against a database whose name is a folder's."""
    with pytest.raises(InvalidValueError):
        values.sqlite_path("sqlite:///")
