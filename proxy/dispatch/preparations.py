"""One exchange made ready for whichever credential its turn is, at most once for each way of asking."""

import re
from typing import Final

import msgspec

from proxy.credentials import Kind
from proxy.dialects.anthropic import read_messages
from proxy.dialects.splicing import splice
from proxy.dispatch import answers
from proxy.dispatch.claude_code import for_claude_code
from proxy.dispatch.prepare import (
    Prepared,
    plan_session,
    prepare,
    prepare_chat,
    read_session,
    without_thinking,
)
from proxy.dispatch.thinking import ThinkingMemory
from proxy.dispatch.wishes import with_images, with_wish
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.pool import Lease
from proxy.settings import RequestDefaults
from proxy.tasks import off_loop
from proxy.upstreams.media import Media, resolve_media

NEEDS_BYTES: Final = frozenset({Kind.CLAUDE_WEB, Kind.CLAUDE_CODE})
"""Kinds whose upstream fetches no URL for us: they get images and documents as bytes."""

# every look-up of a member in its class is a call
_ANTHROPIC: Final = Kind.ANTHROPIC
_CLAUDE_CODE: Final = Kind.CLAUDE_CODE
_CLAUDE_WEB: Final = Kind.CLAUDE_WEB
_OPENAI: Final = Kind.OPENAI
_ASKED_FIRST: Final = (_ANTHROPIC, None)
_OPTIONS = "claude_options"
_LARGE_BYTES = 128 * 1024
_URL_SOURCE: Final = re.compile(rb'"(?:url|file_url)"\s*:|"(?:image_url|file_data)"\s*:\s*"[Hh]')


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
        unfit: why no credential of some kind can carry the request; None where one can, or none was to.
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
        self.latest: Prepared | None = None
        self.unfit: InvalidRequest | None = None

    def first(self) -> Prepared | None:
        """For Anthropic's API, before anybody is chosen; None where there is too much of it to hold up the loop.

        Raises InvalidRequest where the request cannot be carried.
        """
        if self._translates_much(_ANTHROPIC):
            return None
        found = self.latest = self._made[_ASKED_FIRST] = self._make(_ANTHROPIC, None)
        return found

    async def first_off_loop(self) -> Prepared:
        """The same, where `first` has none."""
        found = self.latest = self._made[_ASKED_FIRST] = await self._ready(_ANTHROPIC, None)
        return found

    def at_hand(self, lease: Lease) -> Prepared | None:
        """What `chosen` would give, where that is ready already."""
        if lease.member.fallback:
            return None
        credential = lease.credential
        found = self._made.get((credential.kind, credential.model))
        if found is not None:
            self.latest = found
        return found

    async def chosen(self, lease: Lease) -> Prepared:
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
            found = self._made[way] = await self._ready(*way)
        self.latest = found
        return found

    async def fits(self, lease: Lease, media: Media) -> bool:
        """Whether a credential whose kind is one of `NEEDS_BYTES` can carry the request; if not, `unfit` says why.

        What the request names by URL is fetched for it, once for each way of asking.
        """
        way = (lease.credential.kind, lease.credential.model)
        if way not in self._settled:
            try:
                made = await self._with_bytes(*way, media)
                self._made[way] = await with_images(made, self._exchange, media)
            except InvalidRequest as problem:
                self._settled[way] = problem
            else:
                self._settled[way] = None
        self.unfit = self._settled[way] or self.unfit
        return self._settled[way] is None

    async def _with_bytes(self, kind: Kind, model: str | None, media: Media) -> Prepared:
        exchange = self._exchange
        if not _URL_SOURCE.search(exchange.body):
            return await self._ready(kind, model)
        if kind is _CLAUDE_WEB:
            asked = read_session(exchange, self._catalog, self._defaults, model=model)
            found = await resolve_media(asked.request.messages, media, body=exchange.body)
            request = msgspec.structs.replace(asked.request, messages=found)
            return plan_session(exchange, self._defaults, msgspec.structs.replace(asked, request=request))
        made = await self._ready(kind, model)
        messages = read_messages(made.call.body)
        resolved = await resolve_media(messages, media, body=exchange.body)
        if resolved is messages:
            return made
        changes = {"messages": msgspec.json.encode(resolved)}
        call = msgspec.structs.replace(made.call, body=splice(made.call.body, set=changes, remove=()))
        return msgspec.structs.replace(made, call=call)

    async def without_thinking(self, lease: Lease) -> Prepared | None:
        """The same for the credential that has just refused the thinking we put in; None where we put in none.

        Whoever is asked later in the same way is asked without it too.
        """
        credential, latest = lease.credential, self.latest
        if credential.kind is not _ANTHROPIC or latest is None:
            return None
        arguments = (latest, self._exchange, self._catalog, self._defaults, self._memory)
        if self._translates_much(credential.kind):
            plain = await off_loop(lambda: without_thinking(*arguments))
        else:
            plain = without_thinking(*arguments)
        if plain is not None:
            self.latest = self._made[credential.kind, credential.model] = plain
        return plain

    async def _ready(self, kind: Kind, model: str | None) -> Prepared:
        if self._translates_much(kind):
            return await off_loop(lambda: self._make(kind, model))
        return self._make(kind, model)

    def _translates_much(self, kind: Kind) -> bool:
        """Whether so much has to be decoded and written anew that the loop would stand still for it."""
        exchange = self._exchange
        return len(exchange.body) >= _LARGE_BYTES and (
            kind is not _ANTHROPIC or exchange.dialect.name != "anthropic"
        )

    def _make(self, kind: Kind, model: str | None) -> Prepared:
        if kind is _OPENAI:
            return prepare_chat(self._exchange, self._catalog, self._defaults, model=model)
        if kind is _CLAUDE_WEB:
            asked = read_session(self._exchange, self._catalog, self._defaults, model=model)
            return plan_session(self._exchange, self._defaults, asked)
        named = None if model is None else self._names.resolve(model).model
        made = prepare(self._exchange, self._catalog, self._defaults, self._memory, model=named)
        if kind is _CLAUDE_CODE:
            return with_wish(for_claude_code(made, self._exchange), self._exchange)
        return made

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
