"""What the pool and its limits are held to beside single failures, and which tests have seen it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.faults.tried import tried_in

_UNIT: Final = Path("tests/unit")
_INTEGRATION: Final = Path("tests/integration")


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that holds.

    Attributes:
        holds: what.
        held_to: the figure that is promised, as the tests or the soak measure it.
        tests: files that try it.
        soak: parts of the soak that take it in full.
    """

    holds: str
    held_to: str
    tests: tuple[Path, ...]
    soak: tuple[str, ...] = ()


PROMISES: Final = (
    Promise(
        "however an upstream's bytes are sliced, the client gets the same",
        "byte for byte: pieces of 1, 2 and 7 bytes, cuts within letters and line ends, 2,000 random ones",
        (
            _INTEGRATION / "test_slicing.py",
            Path("tests/conformance/dialects/test_transcripts.py"),
            _UNIT / "dialects/test_sse.py",
        ),
    ),
    Promise(
        "an upstream in trouble is asked little more often than a healthy one, and is used again once it is well",
        "3 counted calls a request, also where an SDK tries again; 1.2 a request and 2 a second in all, at 50 requests "
        "a second for a minute; no failure 15 s after it is over",
        (_INTEGRATION / "test_resilience_retries.py", Path("tests/e2e/test_sdk_faults.py")),
        soak=("resilience-retries",),
    ),
    Promise(
        "after the first byte nothing is asked again",
        "one call for each of 1,000 cuts",
        (_INTEGRATION / "test_resilience_retries.py", _INTEGRATION / "test_cut_everywhere.py"),
        soak=("resilience-retries",),
    ),
    Promise(
        "one bad credential of ten is not noticed, and the others take turns",
        "no failed answer; 1,000 requests evenly to one",
        (_INTEGRATION / "test_resilience_ejection.py",),
    ),
    Promise(
        "a cooldown keeps its longest time among much else, and over a restart",
        "to the second; 10,000 other entries push none out",
        (_INTEGRATION / "test_resilience_ejection.py", _UNIT / "pool/test_restoring.py"),
        soak=("resilience-ejection",),
    ),
    Promise(
        "no credential is stuck: each comes back by itself, whatever order things happen in",
        "5,000 random steps at least: no trial outlasts `POOL_TRIAL_S`, and with a healthy upstream every credential "
        "serves again",
        (_UNIT / "pool/test_pool_machine.py", _UNIT / "pool/test_trials.py"),
    ),
    Promise(
        "our own want of room is told at once, and blamed on nobody",
        "50 ms; no upstream call, no credential touched",
        (_INTEGRATION / "test_resilience_load.py", _INTEGRATION / "test_queue.py"),
    ),
    Promise(
        "places are used to the full and never beyond, and who waits and leaves gives up its turn",
        "5 at each of 10 credentials in a storm of 1,000 requests of every outcome; none taken afterwards",
        (_INTEGRATION / "test_resilience_load.py", _INTEGRATION / "test_queue.py"),
        soak=("resilience-load",),
    ),
    Promise(
        "credentials change under running streams",
        "none of 100 streams ends early over 20 changes; a removed key is not asked again",
        (_INTEGRATION / "test_reload.py",),
    ),
    Promise(
        "an order sent twice with one `idempotency-key` is carried out once",
        "50 at the same time have one effect and one answer, for a day and over a restart",
        (_UNIT / "access/test_idempotency.py", _UNIT / "server/test_uploads_once.py"),
    ),
    Promise(
        "Claude Code's processes end with their requests, and with the server",
        "200 starts broken off anywhere leave none after 10 s, a killed server none after 5 s",
        (_INTEGRATION / "test_claude_code.py",),
        soak=("claude-code",),
    ),
    Promise(
        "probes tell the truth",
        "`/live` within 50 ms for 99 of 100 under five times what fits; `/ready` is 503 while it starts "
        "and drains",
        (_INTEGRATION / "test_soak.py", Path("tests/deploy/test_drain.py"), _UNIT / "server/test_extras.py"),
        soak=("overload",),
    ),
)


def promise_table() -> str:
    """The table."""
    return f"| What holds | Held to | Tried in |\n|---|---|---|\n{''.join(_rows())}"


def _rows() -> Iterator[str]:
    for promise in PROMISES:
        tried = tried_in(promise.tests, promise.soak)
        yield f"| {promise.holds} | {promise.held_to} | {tried} |\n"
