"""Answers from memory: whose they are, and where a client takes its own from."""

from typing import Final, NamedTuple

from aiohttp import web

from proxy.access import Keys, presented_key
from proxy.dispatch.cache import AnswerCache
from proxy.dispatch.cache_key import CacheKey, cache_key
from proxy.dispatch.shared_calls import Caller, KeptSeat, Seat, SharedCall
from proxy.exchange import Exchange
from proxy.secrets import Secret
from proxy.server.context import Services
from proxy.tasks import off_loop

_LARGE_BYTES: Final = 128 * 1024
_PURPOSE: Final = "owner of answers"


def owner_of_answers(request: web.Request, keys: Keys) -> str:
    """Whose answers a caller may get: those of the very key it presents, known or not; of none, where it has none."""
    presented = presented_key(request.headers)
    return Secret(presented).fingerprint(keys.secret_key, _PURPOSE) if presented is not None else ""


class Question(NamedTuple):
    """A request whose answer may come from memory, or may be kept there.

    Attributes:
        cache: where.
        key: what tells it from others.
        services: what handlers share.
    """

    cache: AnswerCache
    key: CacheKey
    services: Services

    def seat(self, caller: Caller) -> Seat:
        """From where the answer comes: from memory, from a call that is under way, or from one that begins here."""
        kept = self.cache.find(self.key)
        if kept is not None:
            return KeptSeat(kept, caller.exchange, caller.trace)
        running = self.cache.calls.get(self.key)
        if running is not None:
            return running.join(caller)
        services = self.services
        call = SharedCall(
            self.key, caller, cache=self.cache, dispatcher=services.dispatcher, clock=services.clock
        )
        return call.start(caller)


async def question_of(
    exchange: Exchange, request: web.Request, services: Services, cache: AnswerCache
) -> Question | None:
    """The question a request asks; None where it is to be asked upstream in any case, see `cache_key`.

    That is every request while MCP servers may join it: whether tools were used is known only when it is too late for
    those who ask the same meanwhile.
    """
    if services.claude_code is not None and services.claude_code.joins_servers:
        return None
    owner, body = owner_of_answers(request, services.keys), exchange.body
    if len(body) < _LARGE_BYTES:
        key = cache_key(exchange, body, owner)
    else:
        key = await off_loop(lambda: cache_key(exchange, body, owner))
    return None if key is None else Question(cache, key, services)
