"""What answers tell about limits before they bite."""

from collections import UserDict
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.pool.headroom import (
    LIMIT_HEADERS,
    Allowance,
    LimitHeaders,
    Window,
    exhausted_until_unix_ms,
    limit_headers,
)
from proxy.settings import Policy

NOW_MS = 1_795_000_000_000  # 2026-11-18T11:06:40Z
NOW_S = 1000.0
POLICY = Policy()
KINDS = ("requests", "tokens", "input-tokens", "output-tokens")


def api(
    left: Mapping[str, int] | None = None, *, reset: str = "2026-11-18T11:07:10Z", limit: int = 100
) -> dict[str, str]:
    """The headers of an API key's answer; everything is left of what `left` does not name."""
    headers = {}
    for kind in KINDS:
        headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{kind}-remaining"] = str((left or {}).get(kind, limit))
        headers[f"anthropic-ratelimit-{kind}-reset"] = reset
    return headers


def login(**fields: str) -> dict[str, str]:
    """The headers of a subscription's answer; ``_5h_`` in a name is ``-5h-``."""
    plain = {"anthropic-ratelimit-unified-status": "allowed"}
    return plain | {f"anthropic-ratelimit-unified{name.replace('_', '-')}": fields[name] for name in fields}


def read(headers: Mapping[str, str]) -> LimitHeaders:
    """The limit headers among `headers`, which has some."""
    found = limit_headers(headers, "org")
    assert found is not None
    return found


def learned(headers: Mapping[str, str], policy: Policy = POLICY) -> Allowance:
    """What one answer tells."""
    allowance = Allowance()
    allowance.learn(read(headers), policy, now_s=NOW_S, now_unix_ms=NOW_MS)
    return allowance


def test_every_window_of_an_api_key_is_read() -> None:
    """Protects the figures: the share left of each limit, and when it is full again."""
    assert learned(api({"requests": 50, "tokens": 0, "output-tokens": 100})).windows == (
        Window("requests", 0.5, NOW_MS + 30_000),
        Window("tokens", 0.0, NOW_MS + 30_000),
        Window("input-tokens", 1.0, NOW_MS + 30_000),
        Window("output-tokens", 1.0, NOW_MS + 30_000),
    )


def test_every_window_of_a_login_is_read() -> None:
    """Protects subscriptions: shares used instead of counts left, and resets in Unix seconds."""
    headers = login(**{"-5h-utilization": "0.25", "-5h-reset": "1795000100", "-7d-status": "rejected"})
    assert learned(headers).windows == (
        Window("unified-5h", 0.75, 1_795_000_100_000),
        Window("unified-7d", 0.0, None),
    )


def test_a_login_that_is_rejected_has_nothing_left_whatever_its_windows_say() -> None:
    """Protects the verdict on all windows together."""
    headers = login(**{"-status": "rejected", "-reset": "1795000100", "-5h-utilization": "0.5"})
    assert learned(headers).windows[0] == Window("unified", 0.0, 1_795_000_100_000)


@pytest.mark.parametrize(
    ("used", "left"),
    [("0", 1.0), ("1e-05", 0.99999), ("0.98", pytest.approx(0.02)), ("1.3", 0.0)],
)
def test_a_share_used_is_turned_into_a_share_left(used: str, left: float) -> None:
    """Protects the range: use beyond the limit is none left, never less."""
    assert learned(login(**{"-5h-utilization": used})).windows == (Window("unified-5h", left, None),)


@pytest.mark.parametrize("value", ["", " 1", "-1", "+5", "1.5", "1_0", "٣", "9" * 40, "nan", "soon"])
def test_a_count_that_is_no_number_is_left_alone(value: str) -> None:
    """Protects the pool from rubbish: that window is unknown, the others are not."""
    headers = api() | {"anthropic-ratelimit-tokens-remaining": value}
    assert [window.name for window in learned(headers).windows] == [
        "requests",
        "input-tokens",
        "output-tokens",
    ]


@pytest.mark.parametrize("value", ["", "nan", "inf", "-0.5", "1_0", "٣", "half"])
def test_a_share_that_is_no_number_is_left_alone(value: str) -> None:
    """Protects the pool from rubbish of the other family."""
    assert learned(login(**{"-5h-utilization": value})).windows == ()


@pytest.mark.parametrize(
    ("reset", "at_ms"),
    [
        ("2026-11-18T12:06:40+01:00", NOW_MS),
        ("2026-11-18T11:06:40.5Z", NOW_MS + 500),
        ("2026-11-18T11:06:40", None),
        ("1795000000", None),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
        ("soon", None),
        ("", None),
    ],
)
def test_a_reset_is_a_moment_with_its_zone(reset: str, at_ms: int | None) -> None:
    """Protects deadlines from the machine's own time zone and from rubbish."""
    assert learned(api(reset=reset)).windows[0].reset_unix_ms == at_ms


def test_a_limit_of_zero_tells_nothing() -> None:
    """Protects against a division by what is not there."""
    assert learned(api(limit=0)).windows == ()


class Counting(UserDict[str, str]):
    """Headers that count how often they are asked."""

    asked = 0

    def __getitem__(self, name: str) -> str:
        """See `UserDict`."""
        self.asked += 1
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        """See `UserDict`."""
        self.asked += 1
        return super().__contains__(name)


def test_an_answer_without_limits_costs_one_look_up() -> None:
    """Protects the hot path of upstreams that tell nothing."""
    headers = Counting({"content-type": "application/json"})
    assert limit_headers(headers, None) is None
    assert headers.asked == 1


def test_what_was_read_is_not_read_again() -> None:
    """Protects the hot path: only windows whose headers have changed are parsed."""
    allowance = learned(api())
    before = allowance.windows
    allowance.learn(read(api()), POLICY, now_s=NOW_S, now_unix_ms=NOW_MS)
    assert allowance.windows is before
    allowance.learn(read(api({"requests": 7})), POLICY, now_s=NOW_S, now_unix_ms=NOW_MS)
    assert allowance.windows[0].share_left == 0.07
    assert all(now is then for now, then in zip(allowance.windows[1:], before[1:], strict=True))


@pytest.mark.parametrize(
    ("left", "reset", "rest_s"),
    [
        (2, "2026-11-18T11:07:10Z", 0),
        (1, "2026-11-18T11:07:10Z", 30),
        (0, "2026-11-18T11:07:10Z", 30),
        (0, "2026-11-18T12:00:00Z", 60),
        (0, "2026-11-18T11:06:40Z", 0),
        (0, "2026-11-18T10:00:00Z", 0),
        (0, "soon", 60),
    ],
)
def test_who_has_too_little_left_is_short_until_the_reset(left: int, reset: str, rest_s: float) -> None:
    """Protects limits from being run into, and credentials from resting longer than a minute for it."""
    allowance = learned(api({"requests": left}, reset=reset))
    assert allowance.short_until_s == (NOW_S + rest_s if rest_s else 0)


def test_the_last_of_the_short_limits_decides() -> None:
    """Protects the longer of two limits; one that is not short does not count."""
    headers = api({"requests": 0, "tokens": 1}) | {
        "anthropic-ratelimit-tokens-reset": "2026-11-18T11:07:20Z",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-18T11:07:30Z",
    }
    assert learned(headers).short_until_s == NOW_S + 40


def test_the_share_and_the_time_are_settings() -> None:
    """Protects operators who want more reserve, or none: what is used up is short in any case."""
    assert learned(api({"requests": 9}), Policy(headroom_share=0.1)).short_until_s > 0
    assert learned(api({"requests": 1}), Policy(headroom_share=0.0)).short_until_s == 0
    assert learned(api({"requests": 0}), Policy(headroom_share=0.0)).short_until_s > 0
    assert learned(api({"requests": 0}), Policy(headroom_rest_s=5.0)).short_until_s == NOW_S + 5
    assert learned(api({"requests": 0}), Policy(headroom_rest_s=0.0)).short_until_s == 0


def test_a_later_answer_with_room_ends_it() -> None:
    """Protects a credential from resting for a limit that has been raised or refilled."""
    allowance = learned(api({"requests": 0}))
    assert not allowance.learn(read(api({"requests": 60})), POLICY, now_s=NOW_S, now_unix_ms=NOW_MS)
    assert (allowance.short_until_s, allowance.share_left(NOW_S)) == (0.0, 0.6)


def test_the_same_answer_again_makes_it_last_as_long_as_it_says() -> None:
    """Protects the minute's bound from being the end of it while answers still say that nothing is left."""
    told = api({"requests": 0}, reset="2026-11-18T12:00:00Z")
    allowance = learned(told)
    assert allowance.learn(read(told), POLICY, now_s=NOW_S + 50, now_unix_ms=NOW_MS + 50_000)
    assert allowance.short_until_s == NOW_S + 110


def test_what_is_left_is_forgotten_when_all_is_full_again() -> None:
    """Protects the reader of the pool's state from a figure that ended long ago."""
    allowance = learned(api({"requests": 10}))
    assert Allowance().share_left(NOW_S) is None
    assert allowance.share_left(NOW_S + 29.9) == 0.1
    assert allowance.share_left(NOW_S + 30) == 1.0


def test_the_second_family_is_looked_for_in_answers_that_name_their_organization() -> None:
    """Protects both kinds of login, and the single look-up of all others."""
    assert limit_headers(login(), None) is None
    assert limit_headers(login(), "org") is not None
    assert limit_headers({}, "org") is None


def test_what_is_used_up_says_when_a_refusal_ends() -> None:
    """Protects the deadline of a refusal that names no time: the last limit that is used up, in either family."""
    assert exhausted_until_unix_ms(api({"requests": 1})) is None
    assert exhausted_until_unix_ms(api({"requests": 0})) == NOW_MS + 30_000
    later = login(**{"-5h-utilization": "1", "-5h-reset": "1795000100", "-7d-status": "rejected"})
    assert exhausted_until_unix_ms(api({"requests": 0}) | later) == 1_795_000_100_000


NUMBERS = st.integers(-5, 200).map(str)
TEXTS = (
    NUMBERS
    | st.floats().map(str)
    | st.text(max_size=30)
    | st.datetimes().map(lambda at: f"{at.isoformat()}Z")
)


@given(
    st.lists(st.dictionaries(st.sampled_from(LIMIT_HEADERS), TEXTS), max_size=4),
    st.floats(0, 1),
    st.floats(0, 3600),
)
@example([dict.fromkeys(LIMIT_HEADERS, "0")], 0.02, 60.0)
def test_nothing_that_is_told_raises_or_lasts(
    answers: list[dict[str, str]], share: float, rest_s: float
) -> None:
    """Protects the pool from whatever an upstream writes: shares stay shares, and rests stay bounded."""
    policy = Policy(headroom_share=share, headroom_rest_s=rest_s)
    allowance = Allowance()
    for headers in answers:
        until = exhausted_until_unix_ms(headers)
        assert until is None or isinstance(until, int)
        if (told := limit_headers(headers, "org")) is None:
            continue
        short = allowance.learn(told, policy, now_s=NOW_S, now_unix_ms=NOW_MS)
        assert short is (allowance.short_until_s > NOW_S)
        assert allowance.short_until_s <= NOW_S + rest_s
        assert all(0 <= window.share_left <= 1 for window in allowance.windows)
        left = allowance.share_left(NOW_S)
        assert left is None or 0 <= left <= 1


COUNTS = st.integers(0, 6).map(str) | st.none() | st.sampled_from(["+1", "1_0", "many", "\u0665"])


@given(
    st.lists(st.tuples(*[COUNTS] * 8, st.sampled_from(["2026-11-18T11:07:10Z", "soon"])), max_size=6),
    st.floats(0, 1),
)
@example([("6", "6") * 4 + ("soon",), ("6", "5") * 4 + ("soon",), ("6", "0") * 4 + ("soon",)], 0.5)
def test_what_is_only_taken_over_reads_as_if_it_had_been_learnt(
    answers: list[tuple[str | None, ...]], share: float
) -> None:
    """Protects the short way of answers with plenty left: no figure differs, and no shortage is overlooked."""
    policy = Policy(headroom_share=share)
    quick, slow = Allowance(), Allowance()
    for *counts, reset in answers:
        pairs = zip(counts[::2], counts[1::2], strict=True)
        values = tuple(value for pair in pairs for value in (*pair, reset))
        told = LimitHeaders(read(api()).family, values)
        if not quick.takes(told):
            quick.learn(told, policy, now_s=NOW_S, now_unix_ms=NOW_MS)
        slow.learn(told, policy, now_s=NOW_S, now_unix_ms=NOW_MS)
        assert quick.short_until_s == slow.short_until_s
        assert quick.windows == slow.windows
        assert quick.share_left(NOW_S) == slow.share_left(NOW_S)


def test_plenty_is_taken_over_and_little_is_learnt() -> None:
    """Protects the hot path, and the moment at which it has to be left."""
    allowance = learned(api())
    assert allowance.takes(read(api({"requests": 3})))
    assert not allowance.takes(read(api({"requests": 2})))
    assert not allowance.takes(read(api(limit=200)))
    assert not allowance.takes(read(login()))
    assert not learned(login()).takes(read(login()))
    assert not learned(api({"requests": 0})).takes(read(api()))


def test_a_wall_clock_that_was_set_is_followed_after_some_answers() -> None:
    """Protects the time of the reset, which is told by the wall clock and kept by the other."""
    allowance, told = learned(api({"requests": 50})), read(api({"requests": 50}))
    taken = 0
    while allowance.takes(told):
        taken += 1
    assert taken == 64
    allowance.learn(told, POLICY, now_s=NOW_S, now_unix_ms=NOW_MS + 20_000)
    assert allowance.share_left(NOW_S + 9) == 0.5
    assert allowance.share_left(NOW_S + 10) == 1.0
