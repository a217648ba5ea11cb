"""Sums of usage: what is counted, and what it is counted under."""

from enum import StrEnum
from typing import NamedTuple

import msgspec


class TallyKey(NamedTuple):
    """What a sum is kept apart for.

    Attributes:
        hour_unix_ms: the beginning of the hour in which the requests ended, UTC.
        client: name of the client key.
        credential: alias of the credential that did the work; empty where none did.
        model: the id that was asked of it; empty where none was asked and the client's word for it is none we know.
        tier: the price list, as `proxy.model.pricing.Priced` names it; empty where there is no price.
    """

    hour_unix_ms: int
    client: str
    credential: str
    model: str
    tier: str


class Tally(msgspec.Struct):
    """A sum. All fields are whole numbers and none is ever negative.

    Attributes:
        requests: client requests, each counted once, under who answered.
        errors: those of them that ended in an error, also one in the middle of a stream.
        abandoned: those of them whose client left before the end.
        partial: upstream answers that broke off or were left; of their tokens, those are counted that had been told.
        unpriced: upstream answers whose cost is not known: no price for the model, or no word of what was used.
        priced: upstream answers whose cost is known.
        input_tokens: neither read from the cache nor written to it.
        output_tokens: thinking included.
        thinking_tokens: those of `output_tokens` that were thinking.
        cache_read_tokens: read from the cache.
        cache_write_5m_tokens: written to the cache for five minutes, or for a time that was not told.
        cache_write_1h_tokens: written to the cache for an hour.
        web_searches: searches the provider made.
        cost_micro_usd: millionths of a US dollar, of the answers whose cost is known.
        cache_hits: requests answered from memory, or by a call that an equal request had made.
        cache_misses: requests that were looked for in memory and asked for upstream.
    """

    requests: int = 0
    errors: int = 0
    abandoned: int = 0
    partial: int = 0
    unpriced: int = 0
    priced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_searches: int = 0
    cost_micro_usd: int = 0
    cache_hits: int = 0
    cache_misses: int = 0

    @property
    def tokens(self) -> int:
        """All tokens, each once."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
        )

    @property
    def known_micro_usd(self) -> int | None:
        """The cost; None where there were answers and the cost of none of them is known."""
        return None if self.unpriced and not self.priced else self.cost_micro_usd

    def add(self, other: "Tally") -> None:
        """Count all of `other` in."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class TallyRow(NamedTuple):
    """A sum as it is to be written: in place of what was written under the same key and writer, if anything was.

    Attributes:
        key: what it is kept apart for.
        writer: whose sum it is.
        tally: all that was counted so far.
    """

    key: TallyKey
    writer: str
    tally: Tally


class Dimension(StrEnum):
    """What sums can be shown apart for."""

    CLIENT = "client"
    CREDENTIAL = "credential"
    MODEL = "model"
    TIER = "tier"
    HOUR = "hour"


COUNTED = Tally.__struct_fields__
"""The names of all counts, in their order."""
