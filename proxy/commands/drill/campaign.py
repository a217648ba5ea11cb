"""The drill itself: every fault of the table, met by one credential and by all of them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from proxy.commands.drill.houses import NO_TROUBLE, Trouble, Yard
from proxy.commands.drill.seen import WAYS, Seen, Way
from proxy.simulator.faults.after import CUTS
from proxy.simulator.faults.before import ANSWERS, CONNECTIONS, SILENCE, STATUSES

_STREAMED: Final = (True,)


@dataclass(frozen=True, slots=True)
class Case:
    """One fault.

    Attributes:
        chapter: of the table.
        name: in the table.
        trouble: what happens.
        forms: streamed or not, or both.
    """

    chapter: str
    name: str
    trouble: Trouble
    forms: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What clients saw of one fault, by the way they asked.

    Attributes:
        case: the fault.
        one: where the credential that was asked first has it; empty where there is only one.
        every: where every credential has it.
    """

    case: Case
    one: Mapping[Way, Seen]
    every: Mapping[Way, Seen]

    @property
    def faults(self) -> int:
        """How many clients saw what they should not."""
        return sum(bool(seen.fault) for seen in (*self.one.values(), *self.every.values()))


class CannotDrill(Exception):
    """The configuration has nothing to drill with; the text says why."""


def cases(containing: str = "") -> tuple[Case, ...]:
    """All faults of the table whose chapter or name holds a text, whatever its case."""
    found = [
        Case(chapter, name, Trouble(fault.step, fault.address), fault.forms)
        for chapter, faults in (
            ("The way to the upstream", CONNECTIONS),
            ("Waiting in vain", SILENCE),
            ("Errors as answers", STATUSES),
            ("Answers that cannot be used", ANSWERS),
        )
        for name, fault in faults.items()
    ]
    found += [
        Case("After the first event of a stream", name, Trouble(cut.step), _STREAMED)
        for name, cut in CUTS.items()
    ]
    wanted = containing.lower()
    return tuple(case for case in found if wanted in f"{case.chapter}: {case.name}".lower())


class Drill:
    """Goes through faults, each request at a gateway of its own, so that none sees what another one broke."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._numbers = count(1)
        self._everybody = frozenset(each.name for each in yard.stand_ins.credentials)

    async def run(self, wanted: Sequence[Case], done: Callable[[str], None]) -> list[Result]:
        """Go through the faults; `done` is told each name. Raises CannotDrill."""
        model = await self._model()
        first = await self._first(model)
        results: list[Result] = []
        for case in wanted:
            ways = [way for way in WAYS if way.stream in case.forms]
            alone = ways if len(self._everybody) > 1 else []
            asked = [(way, frozenset({first[way]})) for way in alone] + [
                (way, self._everybody) for way in ways
            ]
            seen = await self._ask(case.trouble, asked, model)
            one, every = seen[: len(alone)], seen[len(alone) :]
            results.append(
                Result(case, dict(zip(alone, one, strict=True)), dict(zip(ways, every, strict=True)))
            )
            done(case.name)
        return results

    async def _model(self) -> str:
        """A model the configuration can serve: its own default, else the newest there is one for."""
        default = self._yard.settings.defaults.model or self._yard.catalog.default_model
        models = (default, *(each.id for each in self._yard.catalog))
        async with self._yard.house(next(self._numbers), NO_TROUBLE, frozenset()) as house:
            if served := house.serves(models):
                return served[0]
        raise CannotDrill("No credential is configured that serves any known model.")

    async def _first(self, model: str) -> dict[Way, str]:
        """Who is asked first in each way, when nothing is wrong. Raises CannotDrill where nobody answers even then."""
        seen = await self._ask(NO_TROUBLE, [(way, frozenset()) for way in WAYS], model)
        for one in seen:
            if not one.whole:
                raise CannotDrill(f"A client got no answer although nothing was wrong: {one.words()}.")
        return {way: one.credential for way, one in zip(WAYS, seen, strict=True)}

    async def _ask(
        self, trouble: Trouble, asked: Iterable[tuple[Way, frozenset[str]]], model: str
    ) -> list[Seen]:
        """Ask in several ways at once; nobody closes before all have seen their answers."""
        self._yard.clock.begin()
        asked = tuple(asked)
        everybody = asyncio.Barrier(len(asked))

        async def one(way: Way, failing: frozenset[str]) -> Seen:
            async with self._yard.house(next(self._numbers), trouble, failing) as house:
                seen = await house.ask(way, model)
                # an application that ends gives all tasks of its loop their last seconds
                await everybody.wait()
            return seen

        try:
            async with asyncio.TaskGroup() as group:
                # one that fails ends all the others, and the group waits for their ends
                tasks = [group.create_task(one(way, failing)) for way, failing in asked]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]
