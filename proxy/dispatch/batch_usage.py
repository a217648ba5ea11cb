"""What a batch used: summed up while its results pass, and counted once they have passed as a whole."""

from typing import Final

from proxy.dialects.anthropic import ResultsTap
from proxy.telemetry.usage import Charge, UsageLedger

_LINE_MAX_BYTES: Final = 8 * 1024 * 1024


class BatchUsage:
    """The sums of one batch, kept apart until they are counted."""

    def __init__(self, ledger: UsageLedger, client: str, credential: str) -> None:
        """`client` is the name of the client key, `credential` the alias of who holds the batch."""
        self._ledger = ledger
        self._apart = ledger.apart()
        self._client = client
        self._credential = credential
        self._tap = ResultsTap(_LINE_MAX_BYTES)

    def feed(self, piece: bytes) -> None:
        """A piece of the results."""
        for answer in self._tap.feed(piece):
            self._apart.charge(self._client, Charge(self._credential, answer.model, answer.usage))

    def count(self) -> None:
        """All of them have passed: put the sums into the books."""
        for answer in self._tap.end():
            self._apart.charge(self._client, Charge(self._credential, answer.model, answer.usage))
        self._ledger.take_over(self._apart)
