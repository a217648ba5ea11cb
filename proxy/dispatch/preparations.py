"""One exchange made ready for whichever credential its turn is, at most once for each way of asking."""

import re
from typing import Final

import msgspec

from proxy.credentials import Kind
from proxy.dialects.anthropic import read_messages
from proxy.dialects.splicing import splice
from proxy.dispatch import answers
from proxy.dispatch.prepare import Prepared, prepare, prepare_chat, without_thinking
from proxy.dispatch.thinking import ThinkingMemory
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.pool import Lease
from proxy.settings import RequestDefaults
from proxy.upstreams.base import UpstreamCall
from proxy.upstreams.media import Media, resolve_media

NEEDS_BYTES: Final = frozenset({Kind.CLAUDE_WEB, Kind.CLAUDE_CODE})
"""Kinds whose upstream fetches no URL for us: they get images and documents as bytes, in the Messages format."""

_OPTIONS = "claude_options"
_URL_SOURCE: Final = re.compile(rb'"url"\s*:')


class _Options(msgspec.Struct):
    tools: object = None
    files: object = None
    images: object = None
    session_id: object = None
    goes_on: object = msgspec.field(default=None, name="continue")


class _WithOptions(msgspec.Struct):
    claude_options: _Options | None = None


class Preparations:
    """What goes upstream for an exchange, by who is asked.

    Attributes:
        latest: what was chosen last; None before the first.
        unfit: why a credential could not be asked for want of bytes; None where there was none such.
    """

    __slots__ = (
        "_catalog",
        "_defaults",
        "_exchange",
        "_made",
        "_memory",
        "_names",
        "_settled",
        "latest",
        "unfit",
    )

    def __init__(
        self,
        exchange: Exchange,
        catalog: Catalog,
        names: ModelNames,
        defaults: RequestDefaults,
        memory: ThinkingMemory,
    ) -> None:
        self._exchange = exchange
        self._catalog = catalog
        self._names = names
        self._defaults = defaults
        self._memory = memory
        self._made: dict[tuple[Kind, str | None], Prepared] = {}
        self._settled: dict[tuple[Kind, str | None], InvalidRequest | None] = {}
        self.unfit: InvalidRequest | None = None
        self.latest: Prepared | None = None

    def first(self) -> Prepared:
        """For Anthropic's API, before anybody is chosen. Raises InvalidRequest where the request cannot be carried."""
        found = self.latest = self._made[Kind.ANTHROPIC, None] = prepare(
            self._exchange, self._catalog, self._defaults, self._memory
        )
        return found

    def chosen(self, lease: Lease) -> Prepared:
        """For the credential of a lease, under the model it is kept to, if it is.

        Raises InvalidRequest where the request cannot be carried, and GatewayError for a fallback that could only
        answer another request than the client's.
        """
        credential = lease.credential
        if lease.member.fallback:
            self._check_options()
        way = (credential.kind, credential.model)
        found = self._made.get(way)
        if found is None:
            found = self._made[way] = self._make(*way)
        self.latest = found
        return found

    async def get_bytes(self, lease: Lease, media: Media) -> None:
        """Have `chosen` hold the bytes of what it names by URL; they are fetched once for each way of asking.

        Raises InvalidRequest naming a field whose URL must not be fetched, or leads to nothing that can be shown.
        """
        way = (lease.credential.kind, lease.credential.model)
        if way not in self._settled:
            try:
                call = await self._whole(self.chosen(lease).call, media)
            except InvalidRequest as problem:
                self._settled[way] = problem
            else:
                self._settled[way] = None
                self._made[way] = msgspec.structs.replace(self._made[way], call=call)
        if (unfit := self._settled[way]) is not None:
            self.unfit = unfit
            raise unfit

    async def _whole(self, call: UpstreamCall, media: Media) -> UpstreamCall:
        """The call, which is one in the Messages format, with bytes in place of URLs."""
        if not _URL_SOURCE.search(call.body):
            return call
        messages = read_messages(call.body)
        resolved = await resolve_media(messages, media, body=self._exchange.body)
        if resolved is messages:
            return call
        changes = {"messages": msgspec.json.encode(resolved)}
        return msgspec.structs.replace(call, body=splice(call.body, set=changes, remove=()))

    def without_thinking(self, lease: Lease) -> Prepared | None:
        """The same for the credential that has just refused the thinking we put in; None where we put in none.

        Whoever is asked later in the same way is asked without it too.
        """
        credential, latest = lease.credential, self.latest
        if credential.kind is not Kind.ANTHROPIC or latest is None:
            return None
        plain = without_thinking(latest, self._exchange, self._catalog, self._defaults, self._memory)
        if plain is not None:
            self.latest = self._made[credential.kind, credential.model] = plain
        return plain

    def _make(self, kind: Kind, model: str | None) -> Prepared:
        if kind is Kind.OPENAI:
            return prepare_chat(self._exchange, self._catalog, self._defaults, model=model)
        named = None if model is None else self._names.resolve(model).model
        return prepare(self._exchange, self._catalog, self._defaults, self._memory, model=named)

    def _check_options(self) -> None:
        if _OPTIONS not in self._exchange.envelope.own_fields or self._defaults.fallback_drops_claude_options:
            return
        try:
            options = msgspec.json.decode(self._exchange.body, type=_WithOptions).claude_options
        except (ValueError, RecursionError):
            return
        for attribute, name in zip(
            _Options.__struct_fields__, _Options.__struct_encode_fields__, strict=True
        ):
            if getattr(options, attribute, None):
                raise answers.beyond_a_fallback(f"{_OPTIONS}.{name}")
