"""What befalls processes, disks, clocks and Redis, what holds in spite of it, and which tests have seen it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.faults.tried import tried_in

_INTEGRATION: Final = Path("tests/integration")
_DEPLOY: Final = Path("tests/deploy")


@dataclass(frozen=True, slots=True)
class Mishap:
    """One thing that befalls machines.

    Attributes:
        what: that.
        promise: what holds all the same.
        held_to: the figure that is promised, as the tests or the soak measure it; empty where it is a yes or a no.
        tests: files that try it.
        soak: parts of the soak that take it in full.
    """

    what: str
    promise: str
    held_to: str
    tests: tuple[Path, ...]
    soak: tuple[str, ...] = ()


MISHAPS: Final = (
    Mishap(
        "one of several processes meets a limit",
        "the others leave the credential alone, to the same moment; of two moments the later counts. An order to "
        "disable it reaches them as soon. One of them tries it again, and limits and budgets are those of all together",
        "1.5 s, to the second; `make test` waits up to 6 s, because other tests run beside it",
        (_INTEGRATION / "test_replicas.py", Path("tests/unit/pool/test_pool.py")),
    ),
    Mishap(
        "a conversation's turns reach one replica, then another, two at the same moment; it is deleted during a turn; "
        "the replica that answered is killed; Redis is killed and comes back empty",
        "each turn knows all that were acknowledged before; one turn at a time, the next waits `QUEUE_WAIT_S` or is a "
        "409; a deletion beats the turn; without Redis each replica goes on with its own, and the others find them "
        "when it is back",
        "",
        (_INTEGRATION / "test_shared_conversations.py", Path("tests/unit/store/redis/test_conversations.py")),
    ),
    Mishap(
        "one core is busy, Redis is away, the database is locked and every key cools, all at once",
        "`/live` answers and `/ready` stays 200; without a key, and without a word about keys. `/ready` "
        "is 503 while starting and draining, and with `READY_NEEDS_CREDENTIAL` while no credential can be used; a "
        "database that cannot be written stops a start",
        "50 ms; `make test` waits four times as long",
        (
            _INTEGRATION / "test_probes.py",
            _INTEGRATION / "test_store_trouble.py",
            _DEPLOY / "test_drain.py",
            Path("tests/unit/server/test_extras.py"),
        ),
    ),
    Mishap(
        "the event loop hangs for more than 5 s",
        "`/live` fails meanwhile and right afterwards, and is well again by itself when the loop is in time",
        "",
        (_INTEGRATION / "test_probes.py", Path("tests/unit/telemetry/test_loop_lag.py")),
    ),
    Mishap(
        "`kill -9` at any moment, 50 times",
        "every order, key, stored answer and cooldown that was acknowledged is there again, the books count nothing "
        "twice and the last two seconds at most are missing in them, the database is sound, no file and no process is "
        "left, and conversations at claude.ai are deleted",
        "ready again within 3 s, cooldowns to the second, no process left 5 s later",
        (
            _INTEGRATION / "test_kills.py",
            _INTEGRATION / "test_claude_web_campaign.py",
            _INTEGRATION / "test_claude_code.py",
        ),
        soak=("kills", "claude-web-campaign", "claude-code"),
    ),
    Mishap(
        "SIGTERM with open streams, and a second one",
        "they go on for `DRAIN_SECONDS`, then each ends in an error frame, and calls without an answer yet in a 503; "
        "a second signal ends all",
        "none of 100 streams seems whole that is not; 2 s after a second signal; up to 8 s are let pass, "
        "because the load is on the same machine",
        (_DEPLOY / "test_drain.py",),
        soak=("drain",),
    ),
    Mishap(
        "a rolling restart behind nginx",
        "no call is lost and no stream is cut",
        "10 restarts, 28 clients, 20,000 calls at least",
        (_DEPLOY / "test_rolling_restart.py",),
        soak=("rolling-restart",),
    ),
    Mishap(
        "Redis is killed, hangs, turns read-only or is full",
        "every request is answered, by what the process knows, with its share of each limit; an order that is to hold "
        "everywhere is a 503; when it is back all agree again",
        "none of 50 requests a second fails; at most 20 ms later once it is known; over 5 s after it is back; "
        "`make test` waits up to 20 s for the last",
        (_INTEGRATION / "test_redis_trouble.py", _INTEGRATION / "test_soak.py"),
        soak=("redis-away",),
    ),
    Mishap(
        "two replicas behind nginx: Redis killed and frozen, a replica killed, stopped for 20 s, its wall clock wrong, "
        "for five minutes",
        "what was disabled or revoked is not used 1.5 s later, by a replica that was cut off not 5 s after that is "
        "over; limits are not multiplied; one trial, and one question to a claude.ai session, at a time; an "
        "upload is done once; responses are where they were, and stay deleted",
        "five minutes of it",
        (_DEPLOY / "test_history.py",),
        soak=("history",),
    ),
    Mishap(
        "the disk is full, read-only or locked by another; that of the log or of the standard output is full",
        "answers go on, orders are a 503, the log says so once a minute, and all is well afterwards without a restart",
        "the loop is never late by 100 ms; `make test` allows 400",
        (_INTEGRATION / "test_store_trouble.py",),
    ),
    Mishap(
        "the wall clock is set, by up to a day, forward or back",
        "cooldowns and limits last as long as they should; a stored moment is bounded at a restart; budgets keep what "
        "was spent and end with their period; lists stay in order. Moments of the calendar (the end of a key or of a "
        "stored answer) follow the clock",
        "a second; after a restart never longer than `POOL_RETRY_AFTER_MAX_S`",
        (_INTEGRATION / "test_clock_jumps.py", Path("tests/unit/access/test_budgets.py")),
    ),
)


def machine_table() -> str:
    """The table."""
    return f"| What happens | What holds | Held to | Tried in |\n|---|---|---|---|\n{''.join(_rows())}"


def _rows() -> Iterator[str]:
    for mishap in MISHAPS:
        tried = tried_in(mishap.tests, mishap.soak)
        yield f"| {mishap.what} | {mishap.promise} | {mishap.held_to} | {tried} |\n"
