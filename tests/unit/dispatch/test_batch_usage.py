"""What a batch used comes into the books once its results have passed, and not before."""

import msgspec

from proxy.dispatch.batch_usage import BatchUsage
from proxy.model.pricing import Pricing
from proxy.telemetry.usage import UsageLedger
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import CATALOG, MODEL

_LINE = msgspec.json.encode(
    {
        "custom_id": "r1",
        "result": {
            "type": "succeeded",
            "message": {"model": MODEL, "usage": {"input_tokens": 1_000_000, "output_tokens": 100_000}},
        },
    }
)


def test_the_sums_are_counted_together_at_half_the_price() -> None:
    """Protects the bill of who asks in batches: tokens and cost, and no request of its own."""
    clock = FakeClock()
    ledger = UsageLedger(Pricing(CATALOG), clock)
    usage = BatchUsage(ledger, "anna", "api-1")
    usage.feed(_LINE + b"\n" + _LINE[:20])
    usage.feed(_LINE[20:])
    assert ledger.total().tokens == 0
    clock.advance(3600)
    usage.count()
    found = ledger.of("anna")
    assert (found.requests, found.priced, found.input_tokens, found.output_tokens) == (
        0,
        2,
        2_000_000,
        200_000,
    )
    # 2 dollars a million tokens read and 10 written, of which a batch costs half
    assert found.cost_micro_usd == (4_000_000 + 2_000_000) // 2
    (row,) = ledger.take_unsaved()
    assert (row.key.credential, row.key.tier) == ("api-1", "standard+batch")
    assert row.key.hour_unix_ms == clock.unix_ms() - clock.unix_ms() % 3_600_000
