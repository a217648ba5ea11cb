"""What model names mean today, and which model is asked when none can answer for another."""

import datetime
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from proxy.clock import Clock
from proxy.model.aliases import AliasRules, Resolution
from proxy.model.catalog import Catalog

_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime.date(1970, 1, 1).toordinal()
_RESOLVED_MAX: Final = 1024
_NAME_MAX: Final = 128


class ModelNames:
    """The catalog and the operator's rules together. What a name means is remembered until midnight UTC.

    Args:
        catalog: model facts.
        aliases: which names stand for others.
        clock: the time.
        fallbacks: patterns of models, each with the name of a model to ask instead; in their order.
    """

    __slots__ = ("_aliases", "_catalog", "_clock", "_fallbacks", "_resolved", "_resolved_on")

    def __init__(
        self, catalog: Catalog, aliases: AliasRules, clock: Clock, fallbacks: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._catalog = catalog
        self._aliases = aliases
        self._clock = clock
        self._fallbacks = fallbacks
        self._resolved: dict[str, Resolution] = {}
        self._resolved_on = -1

    def resolve(self, model: str) -> Resolution:
        """What a model's name means today, by the date in UTC."""
        day = self._clock.unix_ms() // _DAY_MS
        if day != self._resolved_on or len(self._resolved) >= _RESOLVED_MAX:
            self._resolved_on = day
            self._resolved.clear()
        found = self._resolved.get(model)
        if found is None:
            today = datetime.date.fromordinal(_EPOCH + day)
            found = self._catalog.resolve(model, today=today, aliases=self._aliases)
            if len(model) <= _NAME_MAX:
                self._resolved[model] = found
        return found

    def alone(self) -> "ModelNames":
        """The same names, where no model is asked instead of another."""
        return ModelNames(self._catalog, self._aliases, self._clock)

    def instead_of(self, model: str) -> Iterator[str]:
        """The models to ask, one after the other, while no credential can answer for `model`; each once."""
        asked = {model}
        for pattern, name in self._fallbacks:
            if fnmatchcase(model, pattern) and (found := self.resolve(name).model) not in asked:
                asked.add(found)
                yield found
