"""What of a request is Claude Code's alone, for calls of that kind of credential."""

from pathlib import Path
from typing import Final

import msgspec

from proxy.dialects.claude_options import FIELD, read_options
from proxy.dispatch.answers import model_not_allowed
from proxy.dispatch.prepare import Prepared
from proxy.errors import GatewayError, InvalidRequest
from proxy.exchange import Exchange, Operation
from proxy.upstreams.base import CodeWish
from proxy.upstreams.media import Media, Named, fetched_sources

_REMOTE: Final = ("http://", "https://")


def with_wish(prepared: Prepared, exchange: Exchange) -> Prepared:
    """The same with the ``claude_options`` of the request, and the folder of its project.

    Raises GatewayError 400 for options that cannot be read: not an InvalidRequest, which would only mean that another
    kind of credential has to be asked; and 403 for a model the client may not ask for.
    """
    belongs = exchange.belongs
    if (
        belongs is None
        or FIELD not in exchange.envelope.own_fields
        or exchange.operation is not Operation.MESSAGES
    ):
        return prepared
    try:
        options = read_options(exchange.body)
    except InvalidRequest as wrong:
        raise _for_all(wrong) from None
    if options is None:
        return prepared
    if options.model is not None and exchange.permits is not None and not exchange.permits(options.model):
        raise model_not_allowed(options.model, ())
    wish = CodeWish(
        options=options,
        owner=belongs.owner,
        folder=Path(belongs.folder) if belongs.folder else None,
        tell=belongs.in_session,
    )
    return msgspec.structs.replace(
        prepared,
        call=msgspec.structs.replace(prepared.call, wish=wish),
        dropped=tuple(lost for lost in prepared.dropped if lost.field != FIELD),
    )


async def with_images(prepared: Prepared, exchange: Exchange, media: Media) -> Prepared:
    """The same with the bytes of the images that the options name by URL, as data URLs in their place.

    Raises GatewayError 400 naming the one that must not or cannot be fetched.
    """
    wish = prepared.call.wish
    images = wish.options.images if wish is not None else None
    named = dict.fromkeys(url for url in images or () if url[:8].lower().startswith(_REMOTE))
    if wish is None or images is None or not named:
        return prepared
    try:
        found = await fetched_sources(
            [Named(url, document=False) for url in named], media, body=exchange.body
        )
    except InvalidRequest as wrong:
        raise _for_all(wrong) from None
    told = {name.url: f"data:{source.media_type};base64,{source.data}" for name, source in found.items()}
    options = msgspec.structs.replace(wish.options, images=[told.get(url, url) for url in images])
    call = msgspec.structs.replace(prepared.call, wish=msgspec.structs.replace(wish, options=options))
    return msgspec.structs.replace(prepared, call=call)


def _for_all(wrong: InvalidRequest) -> GatewayError:
    """The same for every kind of credential: nobody else has to be asked."""
    return GatewayError(
        wrong.status, wrong.kind, wrong.message, param=wrong.param, code=wrong.code, details=wrong.details
    )
