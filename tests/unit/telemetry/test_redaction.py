"""No line leaves with a secret in it, known or recognisable."""

from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.secrets import Secret
from proxy.telemetry.redaction import Redactor

_SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=40)


def _redactor(*secrets: str) -> Redactor:
    found = Redactor()
    found.learn(Secret(secret) for secret in secrets)
    return found


@given(secret=_SECRETS, before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_a_known_secret_is_masked_wherever_it_stands(secret: str, before: bytes, after: bytes) -> None:
    """Protects every line, whatever else is in it."""
    redactor = _redactor(secret)
    in_base64 = b64encode(secret.encode())
    for spelled in (secret.encode(), quote(secret, safe="").encode(), in_base64, in_base64.rstrip(b"=")):
        cleaned = redactor.clean(before + spelled + after)
        assert spelled.rstrip(b"=") not in cleaned.replace(b"[redacted]", b"\0")


def test_of_two_secrets_with_one_beginning_the_longer_is_masked_whole() -> None:
    """Protects the end of a long key from being left over by a shorter one."""
    redactor = _redactor("secret-one", "secret-one-and-more")
    assert redactor.clean(b"x secret-one-and-more y") == b"x [redacted] y"
    assert redactor.clean(b"x secret-one y") == b"x [redacted] y"


def test_secrets_add_up() -> None:
    """Protects the secrets of one source when those of another are learned."""
    redactor = _redactor("first-secret")
    redactor.learn([Secret("second-secret")])
    assert redactor.clean(b"first-secret second-secret") == b"[redacted] [redacted]"


def test_secrets_may_hold_marks_that_mean_something_in_patterns() -> None:
    """Protects secrets with dots and brackets, and lines that only resemble them."""
    redactor = _redactor("a.c(d)+[e]")
    assert redactor.clean(b"a.c(d)+[e]") == b"[redacted]"
    assert redactor.clean(b"abc(d)+[e]") == b"abc(d)+[e]"


def test_a_very_short_secret_is_not_masked() -> None:
    """Protects the log from being blotted out by a client key of three letters."""
    assert _redactor("abc").clean(b"abcdef") == b"abcdef"


@pytest.mark.parametrize(
    "line",
    [
        b"key=sk-ant-api03-AbCdEfGh",
        b"sk-ant-sid01-AbCd_EfGh-",
        b"sk-carousel-0123456789",
        b"Authorization: Bearer abcdefghijklmnop",
        b"authorization: bearer  abcdefghijklmnop",
        b"AUTHORIZATION: BEARER abcdefghijklmnop",
        b"sessionKey=abcdefghijklmnop",
        b"sessionkey=abcdefghijklmnop",
        b"http://user:password@localhost:1080",
        b"socks5://me:password@localhost",
    ],
)
def test_what_looks_like_a_secret_is_masked_unknown_as_it_is(line: bytes) -> None:
    """Protects keys nobody told us, such as a client's of another service."""
    cleaned = _redactor().clean(line)
    assert b"[redacted]" in cleaned
    assert b"AbCd" not in cleaned
    assert b"abcdefghijklmnop" not in cleaned
    assert b"password" not in cleaned
    assert b"0123456789" not in cleaned


@pytest.mark.parametrize(
    "line",
    [b"credential=api-1 attempts=2", b"http://127.0.0.1:8080/v1/messages", b"the bearer of news", b""],
)
def test_ordinary_lines_stay_as_they_are(line: bytes) -> None:
    """Protects the use of the log."""
    assert _redactor("some-secret").clean(line) == line


def test_of_one_topic_only_what_is_kept_stays_masked() -> None:
    """Protects the other secrets when the keys of the past are let go, one that both topics have among them."""
    redactor = _redactor("of-the-server", "of-both")
    redactor.learn([Secret("old-key"), Secret("of-both")], topic="keys")
    redactor.learn([Secret("new-key")], topic="keys")
    line = b"of-the-server of-both old-key new-key"
    assert redactor.clean(line) == b"[redacted] [redacted] [redacted] [redacted]"
    redactor.keep([Secret("new-key")], topic="keys")
    assert redactor.clean(line) == b"[redacted] [redacted] old-key [redacted]"
