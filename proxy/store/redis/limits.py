"""Limits over all processes: all of a request in one script, its settlement in that of the next or one of its own."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import msgspec

from proxy.clock import Clock
from proxy.store.redis.counting import RENEW, SETTLE, TAKE
from proxy.store.redis.line import Word
from proxy.store.redis.link import PREFIX, RedisLink
from proxy.store.shared import BucketCount, Counted, Refusal, Taken, WindowCount

_RENEW_EVERY_S: Final = 20.0
_NOT_LIMITED: Final = -1
_AT_ONCE: Final = 500
_PATIENCE_S: Final = 0.002
_ROOM: Final = 10
_SECOND_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _SECOND_US
_REFUSALS: Final = tuple(Refusal)

_Place: TypeAlias = tuple[str, tuple[tuple[str, int], ...], int]
"""What settlements have to have in common to be made together: client, limits of tokens, minute."""


class _Ended(NamedTuple):
    """A request that has ended: what it held, if anything, and how many more tokens it took than were reserved."""

    held: Counted | None
    more_tokens: int


class _Form(NamedTuple):
    """What all requests of a client with the same limits say alike: where its counts are, and what they may come to."""

    requests: tuple[tuple[str, int], ...]
    tokens: tuple[tuple[str, int], ...]
    period: str
    keys: tuple[str, ...]
    limits: tuple[int, ...]


class RedisCounters:
    """See `SharedCounters`.

    Attributes:
        share: how many processes lived when that was last known.
    """

    def __init__(self, link: RedisLink, clock: Clock, *, origin: str) -> None:
        """`origin` names the database of this process, which others may use too."""
        self.share = 1
        self._link = link
        self._clock = clock
        self._origin = origin
        self._forms: dict[str, _Form] = {}
        self._held: dict[str, Counted] = {}
        self._ended: dict[_Place, list[_Ended]] = {}
        self._spent: dict[str, tuple[str, int]] = {}
        self._untold: dict[str, tuple[str, int]] = {}
        self._roomy: set[str] = set()
        self._telling: asyncio.Handle | None = None
        self._renew_at_s = clock.monotonic_s()

    def take(self, counted: Counted) -> "asyncio.Future[Taken]":
        """See `SharedCounters.take`."""
        ended = self._joining(counted) if self._telling is not None else []
        form = self._forms.get(counted.client)
        if (
            form is None
            or form.requests is not counted.requests
            or form.tokens is not counted.tokens
            or form.period != counted.period
        ):
            form = self._forms[counted.client] = _form(counted)
        return self._link.running(
            TAKE,
            form.keys,
            counted.asked_tokens,
            _NOT_LIMITED if counted.concurrency is None else counted.concurrency,
            _NOT_LIMITED if counted.budget_micro_usd is None else counted.budget_micro_usd,
            counted.reserved_micro_usd,
            _member(counted),
            counted.period,
            *form.limits,
            *ended,
            read=partial(self._heard, counted),
        )

    def _heard(self, counted: Counted, answer: object, wanted: bool) -> Taken:
        held, *numbers = msgspec.convert(answer, list[int])
        taken = _taken(counted, numbers)
        if counted.held and taken.refusal is Refusal.NONE:
            self._held[counted.nonce] = counted
        if _has_room(counted, taken, held):
            self._roomy.add(counted.client)
        else:
            self._roomy.discard(counted.client)
        if not wanted and taken.refusal is Refusal.NONE:
            # the client has left meanwhile
            self.settle(counted, taken.bucket, -counted.asked_tokens)
        return taken

    def settle(self, counted: Counted, bucket: int, more_tokens: int) -> None:
        """See `SharedCounters.settle`."""
        held = self._held.pop(counted.nonce, None)
        more = more_tokens if counted.tokens else 0
        if held is not None or more:
            self._tell_soon(counted.client)
            place = counted.client, counted.tokens, bucket
            self._ended.setdefault(place, []).append(_Ended(held, more))

    def spent(self, client: str, period: str, micro_usd: int) -> None:
        """See `SharedCounters.spent`."""
        told = period, micro_usd
        if self._spent.get(client) != told:
            self._tell_soon(client)
            self._spent[client] = self._untold[client] = told

    async def renew(self) -> None:
        """Keep what requests under way hold. Raises NotShared."""
        now_s = self._clock.monotonic_s()
        if self._held and now_s >= self._renew_at_s:
            members: dict[str, list[Word]] = {}
            for each in self._held.values():
                members.setdefault(each.client, []).append(_member(each))
            keys = [key for client in members for key in (_held_key(client), _counts_key(client))]
            words = [word for held in members.values() for word in (len(held), *held)]
            await self._link.run(RENEW, keys, *words)
            self._renew_at_s = now_s + _RENEW_EVERY_S

    async def sync(self) -> None:
        """Put back what was spent. Raises NotShared."""
        for client, told in tuple(self._spent.items()):
            keys, words = self._settlement((client, (), 0), (), told)
            await self._link.run(SETTLE, keys, *words)

    def tell(self) -> None:
        """Tell what has ended and what was spent since it was last told, of each client and minute in one call."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        ended, self._ended = self._ended, {}
        untold, self._untold = self._untold, {}
        for place, found in ended.items():
            for begin in range(0, len(found), _AT_ONCE):
                told = untold.pop(place[0], None)
                keys, words = self._settlement(place, found[begin : begin + _AT_ONCE], told)
                self._link.tell_script(SETTLE, keys, *words)
        for client, told in untold.items():
            keys, words = self._settlement((client, (), 0), (), told)
            self._link.tell_script(SETTLE, keys, *words)

    def _tell_soon(self, client: str) -> None:
        """Have it told when this turn of the loop is over; where nobody can miss it so soon, with what comes next."""
        if client not in self._roomy:
            if self._telling is not None:
                self._telling.cancel()
            self._telling = asyncio.get_running_loop().call_soon(self.tell)
        elif self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_PATIENCE_S, self.tell)

    def _joining(self, counted: Counted) -> list[Word]:
        """What of the same client has ended, to be settled with the next request it makes; tells all the rest."""
        ended: list[Word] = []
        for place, found in self._ended.items():
            client, tokens, bucket = place
            told = self._untold.get(client)
            if (
                (client, tokens) == (counted.client, counted.tokens)
                and counted.held
                and len(found) <= _AT_ONCE
            ):
                if told is None or told[0] == counted.period:
                    ended = self._words(bucket, found, self._untold.pop(client, None))
                    del self._ended[place]
                break
        self.tell()
        return ended

    def _settlement(
        self, place: _Place, ended: Sequence[_Ended], told: tuple[str, int] | None
    ) -> tuple[list[str], list[Word]]:
        """Keys and words of the script that settles what has ended of one client and was counted in one minute."""
        client, tokens, bucket = place
        period = "" if told is None else told[0]
        keys = [_held_key(client), _spent_key(client, period)]
        names = [name for name, _ in tokens] if any(each.more_tokens for each in ended) else []
        first = len(keys) + 1
        own = told is not None or any(each.held for each in ended)
        if own and client not in names[:1]:
            names.insert(0, client)
            first += 1
        return keys + [_counts_key(name) for name in names], [first, *self._words(bucket, ended, told)]

    def _words(self, bucket: int, ended: Sequence[_Ended], told: tuple[str, int] | None) -> list[Word]:
        """What both scripts are told of what has ended."""
        held = [each.held for each in ended if each.held is not None]
        more = [each.more_tokens for each in ended]
        period, micro_usd = told or ("", _NOT_LIMITED)
        return [
            bucket,
            sum(more),
            sum(each for each in more if each > 0),
            sum(each.reserved_micro_usd for each in held),
            micro_usd,
            self._origin,
            period,
            *map(_member, held),
        ]


def _form(counted: Counted) -> _Form:
    keys = [_held_key(counted.client), _spent_key(counted.client, counted.period)]
    limits: list[int] = []
    asked, tokens = dict(counted.requests), dict(counted.tokens)
    for name in {counted.client: 0, **asked, **tokens}:
        keys += _counts_key(name), f"{PREFIX}window:{name}"
        limits += asked.get(name, _NOT_LIMITED), tokens.get(name, _NOT_LIMITED)
    return _Form(counted.requests, counted.tokens, counted.period, tuple(keys), tuple(limits))


def _taken(counted: Counted, numbers: list[int]) -> Taken:
    """What the script has answered."""
    refusal, position, bucket, passed_us, left_micro_usd, *pairs = numbers
    requests = 2 * len(counted.requests)
    return Taken(
        _REFUSALS[refusal],
        position,
        tuple([WindowCount(pairs[at], pairs[at + 1] / _SECOND_US) for at in range(0, requests, 2)]),
        tuple([BucketCount(pairs[at], pairs[at + 1]) for at in range(requests, len(pairs), 2)]),
        bucket,
        passed_us / _MINUTE_US,
        left_micro_usd,
    )


def _has_room(counted: Counted, taken: Taken, held: int) -> bool:
    """Whether so little of each limit is taken that what ends may be counted for milliseconds longer."""
    concurrency, budget = counted.concurrency, counted.budget_micro_usd
    return (
        taken.refusal is Refusal.NONE
        and (concurrency is None or (2 * held <= concurrency and concurrency - held >= _ROOM))
        and (budget is None or 2 * taken.left_micro_usd >= budget)
        and all(
            2 * (bucket.current + bucket.previous) <= limit
            for (_, limit), bucket in zip(counted.tokens, taken.tokens, strict=True)
        )
    )


def _counts_key(name: str) -> str:
    return f"{PREFIX}counts:{name}"


def _held_key(client: str) -> str:
    return f"{PREFIX}running:{client}"


def _spent_key(client: str, period: str) -> str:
    return f"{PREFIX}spent:{client}:{period}"


def _member(counted: Counted) -> str:
    return f"{counted.nonce}:{counted.reserved_micro_usd}"
