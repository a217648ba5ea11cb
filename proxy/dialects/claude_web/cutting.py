"""Where an answer ends that the site would go on with: at a stop sequence, or when it has grown too long."""

from collections.abc import Sequence

import msgspec

from proxy.dialects.claude_web.plan import BYTES_PER_TOKEN


class Reached(msgspec.Struct, frozen=True):
    """What ended an answer: its stop reason, and the stop sequence if it was one."""

    stop_reason: str
    stop_sequence: str | None = None


class Cutter:
    """Text in pieces to the text that may be shown.

    However the text is cut into pieces, the same comes out: what may be the beginning of a stop sequence waits for
    what follows it. Of several sequences the one that is complete first counts, and of those the longest.

    Attributes:
        shown_bytes: UTF-8 bytes that came out.
    """

    def __init__(self, stop_sequences: Sequence[str], max_tokens: int | None) -> None:
        """`max_tokens` is passed when a quarter of the bytes shown would be more; None is no limit."""
        self.shown_bytes = 0
        self._sequences = tuple(sequence for sequence in stop_sequences if sequence)
        self._longest = max(map(len, self._sequences), default=0)
        self._max_bytes = None if max_tokens is None else max_tokens * BYTES_PER_TOKEN
        self._held = ""

    def feed(self, text: str) -> tuple[str, Reached | None]:
        """What may be shown now, and what ended the answer, if anything did."""
        if not self._sequences:
            return self._within(text, None)
        text = self._held + text
        ends = [
            (start + len(sequence), start, sequence)
            for sequence in self._sequences
            if (start := text.find(sequence)) >= 0
        ]
        if ends:
            _, start, sequence = min(ends)
            self._held = ""
            return self._within(text[:start], Reached("stop_sequence", sequence))
        shown = len(text) - self._beginning(text)
        self._held = text[shown:]
        return self._within(text[:shown], None)

    def flush(self) -> tuple[str, Reached | None]:
        """What waited, now that nothing follows it."""
        text, self._held = self._held, ""
        return self._within(text, None)

    def _beginning(self, text: str) -> int:
        """How many characters at the end may begin a stop sequence."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(sequence.startswith(end) for sequence in self._sequences):
                return length
        return 0

    def _within(self, text: str, reached: Reached | None) -> tuple[str, Reached | None]:
        data = text.encode()
        if self._max_bytes is not None and self.shown_bytes + len(data) > self._max_bytes:
            data = data[: self._max_bytes - self.shown_bytes]
            text, reached = data.decode("utf-8", "ignore"), Reached("max_tokens")
            self.shown_bytes = self._max_bytes
        else:
            self.shown_bytes += len(data)
        return text, reached
