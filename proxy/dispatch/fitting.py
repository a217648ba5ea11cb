"""Which kinds of credentials a request is asked of first: those that carry more of it.

Looked at only where a pool has a choice of kinds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.capabilities import Feature, Front, features_of, losses
from proxy.credentials import Kind
from proxy.dispatch.prepare import read_session
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange, Operation
from proxy.model.catalog import Catalog
from proxy.pool import Want
from proxy.settings import RequestDefaults
from proxy.tasks import off_loop
from proxy.upstreams.media import Media

_LARGE_BYTES: Final = 128 * 1024
_NATIVE: Final = "anthropic"
_RESPONSES: Final = "openai_responses"
_FRONTS: Final[Mapping[str, Front]] = MappingProxyType(
    {
        _NATIVE: Front.MESSAGES,
        "openai_chat": Front.CHAT,
        "openai_text": Front.TEXT,
        # translated for every kind, and from there on it fares as a Messages request does
        _RESPONSES: Front.MESSAGES,
    }
)


async def fitted(
    want: Want,
    kinds: frozenset[Kind],
    exchange: Exchange,
    catalog: Catalog,
    defaults: RequestDefaults,
    media: Media,
) -> Want:
    """The want with what each of `kinds` would lose of the request.

    Args:
        want: without that.
        kinds: those among which there is a choice.
        exchange: what is asked.
        catalog: what models take.
        defaults: what the operator fills in.
        media: whether URLs may be fetched here for kinds that do not do it themselves.
    """
    front = _FRONTS.get(exchange.dialect.name)
    if front is None:
        return want
    if len(exchange.body) < _LARGE_BYTES:
        features = _features(exchange, front, catalog, defaults)
    else:
        features = await off_loop(lambda: _features(exchange, front, catalog, defaults))
    found = losses(features, front, kinds, fetches=media.fetches)
    return msgspec.structs.replace(want, losses=found) if found else want


def _features(
    exchange: Exchange, front: Front, catalog: Catalog, defaults: RequestDefaults
) -> frozenset[Feature]:
    counted = frozenset({Feature.COUNT_TOKENS} if exchange.operation is Operation.COUNT_TOKENS else ())
    try:
        translated = read_session(exchange, catalog, defaults)
    except InvalidRequest:
        if exchange.dialect.name != _NATIVE:
            return counted
        # what cannot be read here passes to the API as it is, and only there
        return counted | {Feature.THREADS if exchange.envelope.thread is not None else Feature.OTHER_FIELDS}
    if exchange.dialect.name == _RESPONSES:
        # what is lost before is lost everywhere
        translated = msgspec.structs.replace(translated, dropped=())
    return counted | features_of(translated, front, exchange.envelope.own_fields)
