"""What was told during a test, by where, and the secrets and prompts that were in it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.support.canaries.marks import PROMPT, marked_words
from tests.support.canaries.spellings import CANARIES, PIECE_CHARACTERS, Flock

_TOGETHER_BYTES: Final = 2**20
_CUT_BYTES: Final = 512
"""More than a secret takes in any spelling: so much of what was looked at is looked at again with what follows."""


class Place(StrEnum):
    """Where somebody could read what a test, and the servers of a test, left."""

    LOG = "the log"
    OUTPUT = "what the program wrote"
    OTHERS = "what another program wrote"
    ANSWER = "an answer to a client"
    PAGE = "an answer to an administrator"
    COMMAND = "a command line"
    FILE = "a file"
    DATABASE = "a file of a database"
    REDIS = "Redis"


PROMPTS_BELONG: Final = frozenset({Place.ANSWER, Place.OTHERS, Place.DATABASE})
"""A client may have back what it said, and other programs than ours are clients. Of a database, what is left without
the tables that are there for it is looked at as a file."""


@dataclass(slots=True)
class Watch:
    """Collects what is told, and looks through it when a test is over.

    Attributes:
        flock: the secrets that are looked for.
        looked_bytes: how much was looked through, by place.
    """

    flock: Flock = field(default_factory=lambda: Flock(CANARIES))
    looked_bytes: Counter[Place] = field(default_factory=Counter)
    _heard: dict[tuple[Place, str], bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    _found: list[str] = field(default_factory=list)

    def learn(self, text: str, where: str) -> None:
        """Look for the secrets in `text` from now on: its words that hold the mark. `where` they came from is told."""
        for word in marked_words(text):
            self.flock.learn(word, f"a secret of {where}")

    def hear(self, place: Place, whose: str, data: bytes) -> None:
        """Take what was told somewhere; what comes in pieces is looked at as a whole."""
        heard = self._heard[place, whose]
        heard += data
        if len(heard) > _TOGETHER_BYTES:
            self._look(place, whose, bytes(heard))
            del heard[:-_CUT_BYTES]

    def look(self) -> list[str]:
        """Look through all that came since the last time; one line for each thing that should not be there."""
        heard, self._heard = self._heard, defaultdict(bytearray)
        for (place, whose), data in heard.items():
            self._look(place, whose, bytes(data))
        found, self._found = self._found, []
        return list(dict.fromkeys(found))

    def _look(self, place: Place, whose: str, data: bytes) -> None:
        self.looked_bytes[place] += len(data)
        self._found += (f"{name} in {place} ({whose})" for name in self._names(place, data))

    def _names(self, place: Place, data: bytes) -> Iterator[str]:
        yield from self.flock.found(data)
        if place not in PROMPTS_BELONG and PROMPT[:PIECE_CHARACTERS].encode() in data:
            yield "a prompt"
