"""Requests are summed up, each once, under who did the work."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.catalog import Catalog
from proxy.model.message import OutputTokensDetails, Usage
from proxy.model.pricing import Pricing
from proxy.model.tally import COUNTED, Tally, TallyKey, TallyRow
from proxy.telemetry import usage as usage_module
from proxy.telemetry.usage import HOUR_MS, OTHER_MODEL, Charge, Settlement, UsageLedger
from tests.support.clock import FakeClock
from tests.support.ended import EndedUsage
from tests.unit.telemetry.recording import RecordedLog

_PRICING = Pricing(Catalog.load())
_SONNET, _HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
_USED = Usage(input_tokens=100, output_tokens=10)
_HOUR = 1_795_000_000_000 // HOUR_MS * HOUR_MS


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordedLog:
    """What the ledger tells the log."""
    recorded = RecordedLog()
    monkeypatch.setattr(usage_module, "_log", recorded)
    return recorded


class _Ledger(UsageLedger):
    """A ledger for requests that end now."""

    def settle(self, done: Settlement) -> None:
        """A request ends."""
        self.enter(EndedUsage(done, self._clock.unix_ms()))


def _ledger(clock: FakeClock | None = None) -> _Ledger:
    return _Ledger(_PRICING, clock or FakeClock())


def _answered(
    client: str = "anna", credential: str = "api-1", model: str = _SONNET, usage: Usage | None = _USED
) -> Settlement:
    return Settlement(client=client, model=model, answered=Charge(credential, model, usage))


def _rows(ledger: UsageLedger) -> dict[TallyKey, Tally]:
    return {row.key: row.tally for row in ledger.take_unsaved()}


def test_an_answer_is_counted_under_who_when_and_what() -> None:
    """Protects the row an operator looks for: client, credential, model, tier and hour."""
    ledger = _ledger()
    usage = Usage(
        input_tokens=100,
        output_tokens=10,
        cache_creation_input_tokens=30,
        cache_read_input_tokens=7,
        output_tokens_details=OutputTokensDetails(4),
    )
    ledger.settle(_answered(usage=usage))
    expected = Tally(
        requests=1,
        priced=1,
        input_tokens=100,
        output_tokens=10,
        thinking_tokens=4,
        cache_read_tokens=7,
        cache_write_5m_tokens=30,
        cost_micro_usd=376,
    )
    assert _rows(ledger) == {TallyKey(_HOUR, "anna", "api-1", _SONNET, "standard"): expected}
    assert ledger.total() == expected == ledger.of("anna")
    assert ledger.of("bert") == Tally()


@pytest.mark.parametrize("number", [1, 31, 32, 33, 100])
def test_a_request_is_counted_in_the_hour_of_its_end_whenever_that_is_done(number: int) -> None:
    """Protects the sums of an hour from when somebody asked for them, and each request from being counted twice."""
    clock = FakeClock()
    ledger = _ledger(clock)
    for _ in range(number):
        ledger.settle(_answered())
    clock.advance(3600)
    assert ledger.of("anna").requests == ledger.total().requests == number
    (row,) = ledger.take_unsaved()
    assert (row.key.hour_unix_ms, row.tally.requests) == (_HOUR, number)


def test_tiers_are_kept_apart() -> None:
    """Protects the price of long prompts from being lost in that of short ones."""
    ledger = _ledger()
    ledger.settle(_answered(model=_HAIKU, usage=Usage(input_tokens=100_000)))
    ledger.settle(_answered(model=_HAIKU, usage=Usage(input_tokens=100_001)))
    assert {key.tier: tally.cost_micro_usd for key, tally in _rows(ledger).items()} == {
        "standard": 10_000,
        "over_100000": 50_001,
    }


def test_work_is_counted_for_who_did_it_and_the_request_for_who_answered() -> None:
    """Protects a credential from the bill of another, and the number of requests from that of attempts."""
    ledger = _ledger()
    wasted = Charge("api-1", _SONNET, Usage(input_tokens=100, output_tokens=1), partial=True)
    ledger.settle(
        Settlement(
            client="anna",
            model=_SONNET,
            answered=Charge("fallback-1", "gpt-5", _USED),
            further=[wasted],
        )
    )
    found = {key.credential: tally for key, tally in _rows(ledger).items()}
    assert (found["api-1"].requests, found["api-1"].partial, found["api-1"].input_tokens) == (0, 1, 100)
    assert (found["fallback-1"].requests, found["fallback-1"].partial) == (1, 0)
    assert (found["api-1"].cost_micro_usd, found["fallback-1"].known_micro_usd) == (210, None)


@pytest.mark.parametrize(("model", "shown"), [(_SONNET, _SONNET), ("claude-secret-wish", ""), ("", "")])
def test_what_nobody_answered_is_counted_without_a_credential(model: str, shown: str) -> None:
    """Protects the errors of a client from being lost, and the rows from words a client can choose."""
    ledger = _ledger()
    ledger.settle(Settlement(client="anna", model=model, failed=True))
    ledger.settle(Settlement(client="anna", model=model, abandoned=True))
    expected = Tally(requests=2, errors=1, abandoned=1)
    assert _rows(ledger) == {TallyKey(_HOUR, "anna", "", shown, ""): expected}


def test_what_is_free_has_no_price_and_lacks_none() -> None:
    """Protects counting tokens, which costs nothing, from looking like an answer of unknown cost."""
    ledger = _ledger()
    ledger.settle(_answered(usage=None))
    assert ledger.total() == Tally(requests=1)
    assert ledger.total().known_micro_usd == 0


def test_an_answer_that_tells_nothing_has_an_unknown_cost(log: RecordedLog) -> None:
    """Protects against zero in the place of a number nobody was told."""
    ledger = _ledger()
    ledger.settle(_answered(usage=Usage()))
    assert ledger.total() == Tally(requests=1, unpriced=1)
    assert log.lines == []


def test_a_secret_in_a_models_place_is_not_written_down(log: RecordedLog) -> None:
    """Protects a key that a client has put where the name of a model belongs."""
    ledger, key = _ledger(), f"sk-ant-api03-{'x' * 40}"
    ledger.settle(_answered(model=key))
    assert not [row for row in _rows(ledger) if key in row.model]
    assert key not in repr(log.lines)


def test_a_model_without_a_price_is_told_once_and_counted_always(log: RecordedLog) -> None:
    """Protects operators from an incomplete sum they do not notice, and the log from a line each request."""
    ledger = _ledger()
    for model in ("gpt-5", "gpt-5", "claude-mythos-preview", "gpt-5"):
        ledger.settle(_answered(model=model))
    assert ledger.total().unpriced == 4
    assert [fields["model"] for _, _, fields in log.lines] == ["gpt-5", "claude-mythos-preview"]
    assert {key.model: (tally.unpriced, tally.known_micro_usd) for key, tally in _rows(ledger).items()} == {
        "gpt-5": (3, None),
        "claude-mythos-preview": (1, None),
    }


def test_names_of_unknown_models_are_bounded() -> None:
    """Protects memory and database where an upstream answers to any name a client thinks of."""
    ledger = _ledger()
    for number in range(300):
        ledger.settle(_answered(model=f"model-{number}"))
    for model in ("x" * 101, "a\nb", "\ud800"):
        ledger.settle(_answered(model=model))
    rows = _rows(ledger)
    assert len(rows) == 201
    assert rows[TallyKey(_HOUR, "anna", "api-1", OTHER_MODEL, "")].requests == 103


def test_a_sum_is_taken_again_only_when_it_has_grown() -> None:
    """Protects the disk from rows that say nothing new, and a row from being written in part."""
    ledger = _ledger()
    ledger.settle(_answered())
    ledger.settle(_answered(credential="api-2"))
    first = ledger.take_unsaved()
    assert len(first) == 2
    assert ledger.take_unsaved() == []
    ledger.settle(_answered())
    (again,) = ledger.take_unsaved()
    assert (again.key.credential, again.tally.requests) == ("api-1", 2)
    assert {row.tally.requests for row in first} == {1}
    ledger.not_saved([again.key])
    assert ledger.take_unsaved() == [again]


def test_hours_that_are_over_and_written_leave_the_memory_but_not_the_totals() -> None:
    """Protects a server that runs for months, and what a client is told it used since the start."""
    clock = FakeClock()
    ledger = _ledger(clock)
    ledger.settle(_answered())
    ledger.settle(_answered(client="bert"))
    rows = ledger.take_unsaved()
    ledger.not_saved([row.key for row in rows if row.key.client == "bert"])
    clock.advance(3600)
    ledger.forget_written_hours()
    assert repr(ledger) == "<UsageLedger [Rows: 1, 1 unsaved]>"
    ledger.settle(_answered())
    assert (ledger.of("anna").requests, ledger.of("bert").requests) == (2, 1)
    assert ledger.total().requests == 3


def test_a_clock_that_is_set_back_overwrites_nothing() -> None:
    """Protects the hour that is written already from the same hour lived through again."""
    clock = FakeClock()
    ledger = _ledger(clock)
    ledger.settle(_answered())
    (before,) = ledger.take_unsaved()
    clock.advance(3600)
    ledger.forget_written_hours()
    clock.jump(-3600)
    ledger.settle(_answered())
    (after,) = ledger.take_unsaved()
    assert before.key == after.key
    assert before.writer != after.writer
    assert before.writer != UsageLedger(_PRICING, clock)._writer


_charges = st.builds(
    Charge,
    st.sampled_from(["api-1", "api-2"]),
    st.sampled_from([_SONNET, _HAIKU, "gpt-5"]),
    st.none()
    | st.builds(Usage, input_tokens=st.none() | st.integers(0, 200_000), output_tokens=st.integers(0, 9)),
    st.booleans(),
)
_settlements = st.builds(
    Settlement,
    client=st.sampled_from(["anna", "bert"]),
    model=st.sampled_from([_SONNET, "gpt-5"]),
    answered=st.none() | _charges,
    further=st.lists(_charges, max_size=2),
    failed=st.booleans(),
    abandoned=st.booleans(),
)
_steps = st.lists(_settlements | st.sampled_from(["save", "fail", "hour", "back"]), max_size=30)


def _written(rows: list[TallyRow], disk: dict[tuple[TallyKey, str], Tally]) -> None:
    disk.update({(row.key, row.writer): row.tally for row in rows})


@given(_steps, st.booleans())
def test_whatever_is_saved_when_the_sum_of_all_rows_is_what_was_used(
    steps: list[Settlement | str], reached_the_disk: bool
) -> None:
    """Protects the books: no order of settling, writing, failing and passing hours loses or doubles anything."""
    clock = FakeClock()
    ledger, plain = _ledger(clock), _ledger()
    disk: dict[tuple[TallyKey, str], Tally] = {}
    for step in steps:
        match step:
            case Settlement():
                ledger.settle(step)
                plain.settle(step)
            case "save" | "fail":
                rows = ledger.take_unsaved()
                if step == "save" or reached_the_disk:
                    _written(rows, disk)
                if step == "fail":
                    ledger.not_saved([row.key for row in rows])
                ledger.forget_written_hours()
            case "hour":
                clock.advance(3600)
            case _:
                clock.jump(-3600)
    _written(ledger.take_unsaved(), disk)
    kept = Tally()
    for tally in disk.values():
        kept.add(tally)
    assert kept == plain.total() == ledger.total()
    both = ledger.of("anna")
    both.add(ledger.of("bert"))
    assert both == kept
    settled = [step for step in steps if isinstance(step, Settlement)]
    assert kept.requests == len(settled)
    told = [charge.usage for each in settled for charge in _of(each) if charge.usage is not None]
    assert kept.input_tokens == sum(usage.input_tokens or 0 for usage in told)
    assert kept.priced + kept.unpriced == len(told)


def _of(done: Settlement) -> list[Charge]:
    return [*done.further, *([done.answered] if done.answered is not None else [])]


def test_every_count_of_a_tally_can_be_told() -> None:
    """Protects a new count from being forgotten where sums are added."""
    assert set(msgspec.structs.asdict(Tally())) == set(COUNTED)
