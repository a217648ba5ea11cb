"""What was used and what it cost, summed up in memory until it is written down. Nothing here waits for anything.

A request is settled once, when it has ended, whichever way. Its tokens are counted for each upstream answer that told
of any, under the credential that did that work; the request itself under who answered.

Rows that have been written keep growing until their hour is over, and are then written again as a whole: a write
whose fate is unknown can be repeated without counting anything twice.
"""

from collections.abc import Collection, Sequence
from secrets import token_hex
from typing import Final, NamedTuple, Protocol

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.model.message import OutputTokensDetails, Usage
from proxy.model.pricing import MOST, Pricing, Tokens
from proxy.model.tally import Tally, TallyKey, TallyRow
from proxy.telemetry.redaction import REDACTOR

_log = get_logger("usage")
HOUR_MS: Final = 3_600_000
OTHER_MODEL: Final = "other"
_STRANGE_MODELS_MAX: Final = 200
_NAME_MAX: Final = 100
_NO_DETAILS: Final = OutputTokensDetails()
_ENTERED_MAX: Final = 32


class Charge(msgspec.Struct, frozen=True):
    """One upstream answer, or the beginning of one.

    Attributes:
        credential: alias of who gave it.
        model: the id that was asked.
        usage: what it told; None for an answer that costs nothing by its nature.
        partial: whether it broke off or was left before its end.
    """

    credential: str
    model: str
    usage: Usage | None
    partial: bool = False


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """One request after its end.

    Attributes:
        client: name of the client key.
        model: the one asked for; empty where the request could not be read.
        answered: the answer the client got, or the beginning of it; None where it got none.
        further: answers it did not get.
        failed: whether it ended in an error.
        abandoned: whether the client left before the end.
        cache_hit: whether it was answered from memory, or by a call that another request had made.
        cache_miss: whether it was looked for there and was not found.
    """

    client: str
    model: str
    answered: Charge | None = None
    further: Sequence[Charge] = ()
    failed: bool = False
    abandoned: bool = False
    cache_hit: bool = False
    cache_miss: bool = False


class Settleable(Protocol):
    """A request after its end, as it is kept."""

    @property
    def ended_unix_ms(self) -> int:
        """When that was."""
        ...

    def settlement(self) -> Settlement:
        """The same for the books."""
        ...


class _Sum(NamedTuple):
    writer: str
    tally: Tally


class UsageLedger:
    """The sums of one process."""

    def __init__(self, pricing: Pricing, clock: Clock) -> None:
        self._pricing = pricing
        self._clock = clock
        self._name = token_hex(8)
        self._generation = 0
        self._writer = f"{self._name}.0"
        self._sums: dict[TallyKey, _Sum] = {}
        self._unsaved: set[TallyKey] = set()
        self._earlier: dict[str, Tally] = {}
        self._strange: set[str] = set()
        self._told_unpriced: set[str] = set()
        self._entered: list[Settleable] = []

    def __repr__(self) -> str:
        return f"<UsageLedger [Rows: {len(self._sums)}, {len(self._unsaved)} unsaved]>"

    def enter(self, ended: Settleable) -> None:
        """Count a request that has ended, with others: at the latest when anybody asks. To be called once for each."""
        self._entered.append(ended)
        if len(self._entered) >= _ENTERED_MAX:
            self._settle_entered()

    def charge(self, client: str, charge: Charge) -> None:
        """Count an answer that belongs to no request of its own."""
        self._count(self._hour(), client, charge)

    def apart(self) -> "UsageLedger":
        """An empty ledger of the same prices, whose sums can be taken over."""
        return UsageLedger(self._pricing, self._clock)

    def take_over(self, other: "UsageLedger") -> None:
        """Count all that another ledger has counted, in the hour that is now."""
        hour_unix_ms = self._hour()
        for row in other.take_unsaved():
            self._at(row.key._replace(hour_unix_ms=hour_unix_ms)).add(row.tally)

    def of(self, client: str) -> Tally:
        """All that a client has used since the start."""
        self._settle_entered()
        found = Tally()
        if (earlier := self._earlier.get(client)) is not None:
            found.add(earlier)
        for key, held in self._sums.items():
            if key.client == client:
                found.add(held.tally)
        return found

    def total(self) -> Tally:
        """All that was used since the start."""
        self._settle_entered()
        found = Tally()
        for earlier in self._earlier.values():
            found.add(earlier)
        for held in self._sums.values():
            found.add(held.tally)
        return found

    def by_client(self) -> dict[str, Tally]:
        """All that each client has used since the start."""
        self._settle_entered()
        found = {client: msgspec.structs.replace(tally) for client, tally in self._earlier.items()}
        for key, held in self._sums.items():
            found.setdefault(key.client, Tally()).add(held.tally)
        return found

    def take_unsaved(self) -> list[TallyRow]:
        """The sums that have changed since they were last taken, as they are now."""
        self._settle_entered()
        taken, self._unsaved = self._unsaved, set()
        rows = []
        for key in taken:
            writer, tally = self._sums[key]
            rows.append(TallyRow(key, writer, msgspec.structs.replace(tally)))
        return rows

    def not_saved(self, keys: Collection[TallyKey]) -> None:
        """These could not be written, or perhaps could: they are to be taken again."""
        self._unsaved.update(keys)

    def forget_written_hours(self) -> None:
        """Keep of the hours that are over, where all of them is written, only what each client used."""
        hour_unix_ms = self._hour()
        over = [key for key in self._sums if key.hour_unix_ms != hour_unix_ms and key not in self._unsaved]
        if not over:
            return
        for key in over:
            self._earlier.setdefault(key.client, Tally()).add(self._sums.pop(key).tally)
        # should the wall clock be set back, the hour begins again under another name, and overwrites nothing
        self._generation += 1
        self._writer = f"{self._name}.{self._generation}"

    def _hour(self) -> int:
        now_ms = self._clock.unix_ms()
        return now_ms - now_ms % HOUR_MS

    def _settle(self, done: Settlement, ended_unix_ms: int) -> None:
        hour_unix_ms = ended_unix_ms - ended_unix_ms % HOUR_MS
        for charge in done.further:
            self._count(hour_unix_ms, done.client, charge)
        if done.answered is not None:
            tally = self._count(hour_unix_ms, done.client, done.answered)
        else:
            # what nobody answered may be any word of a client's
            model = done.model if done.model in self._pricing else ""
            tally = self._at(TallyKey(hour_unix_ms, done.client, "", model, ""))
        tally.requests += 1
        tally.errors += done.failed
        tally.abandoned += done.abandoned
        tally.cache_hits += done.cache_hit
        tally.cache_misses += done.cache_miss

    def _settle_entered(self) -> None:
        entered, self._entered = self._entered, []
        for ended in entered:
            self._settle(ended.settlement(), ended.ended_unix_ms)

    def _at(self, key: TallyKey) -> Tally:
        self._unsaved.add(key)
        held = self._sums.get(key)
        if held is None:
            held = self._sums[key] = _Sum(self._writer, Tally())
        return held.tally

    def _count(self, hour_unix_ms: int, client: str, charge: Charge) -> Tally:
        model, usage = self._shown(charge.model), charge.usage
        if usage is None:
            return self._at(TallyKey(hour_unix_ms, client, charge.credential, model, ""))
        tokens = Tokens.of(usage)
        told = usage.input_tokens is not None or usage.output_tokens is not None
        priced = self._pricing.priced(charge.model, usage, tokens) if told else None
        tier = priced.tier if priced is not None else ""
        tally = self._at(TallyKey(hour_unix_ms, client, charge.credential, model, tier))
        if priced is not None:
            tally.priced += 1
            tally.cost_micro_usd += priced.micro_usd
        else:
            tally.unpriced += 1
            if told:
                self._tell_unpriced(model)
        tally.partial += charge.partial
        tally.input_tokens += tokens.input
        tally.output_tokens += tokens.output
        tally.cache_write_5m_tokens += tokens.cache_write_5m
        tally.cache_write_1h_tokens += tokens.cache_write_1h
        tally.cache_read_tokens += tokens.cache_read
        tally.web_searches += tokens.web_searches
        thinking = (usage.output_tokens_details or _NO_DETAILS).thinking_tokens
        if thinking:
            tally.thinking_tokens += min(max(thinking, 0), MOST)
        return tally

    def _shown(self, model: str) -> str:
        """The name a model is counted under: its own, if it can be one and there are not too many strange ones."""
        if model in self._pricing or model in self._strange:
            return model
        if len(self._strange) >= _STRANGE_MODELS_MAX or len(model) > _NAME_MAX or not model.isprintable():
            return OTHER_MODEL
        # a model's name is a client's word, and these are written down
        if REDACTOR.clean(model.encode()) != model.encode():
            return OTHER_MODEL
        self._strange.add(model)
        return model

    def _tell_unpriced(self, model: str) -> None:
        if model not in self._told_unpriced:
            self._told_unpriced.add(model)
            _log.warning("no price is known for a model, so its cost is not counted", model=model)
