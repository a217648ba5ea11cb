"""What a server has said yes to: the truth that has to be found again after it was killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class Acknowledged(Generic[_T]):
    """States of things by name, as far as the server has acknowledged them.

    A change that was ordered and never answered may have come about or not; one that was answered has.
    """

    _possible: dict[str, set[_T]] = field(default_factory=dict)

    @contextmanager
    def change(self, name: str, *after: _T) -> Iterator[None]:
        """Order a change inside: before the end either state is possible, afterwards only the new one.

        Without a state it is unknown until it is `found`.
        """
        before = self._possible.get(name)
        if after and before is not None:
            before.update(after)
        else:
            self._possible.pop(name, None)
        yield
        if after:
            self._possible[name] = set(after)

    def found(self, name: str, state: _T) -> None:
        """It is so: from now on it may not be otherwise without another order."""
        self._possible[name] = {state}

    def possible(self, name: str) -> frozenset[_T] | None:
        """What may be; None where everything may."""
        found = self._possible.get(name)
        return None if found is None else frozenset(found)

    def names(self, kind: str) -> list[str]:
        """What begins so, in the order in which it was first acknowledged."""
        return [name for name in self._possible if name.startswith(kind)]
