"""One exchange made ready for whichever credential its turn is, at most once for each way of asking."""

import msgspec

from proxy.credentials import Kind
from proxy.dispatch import answers
from proxy.dispatch.prepare import Prepared, prepare, prepare_chat, prepare_session, without_thinking
from proxy.dispatch.thinking import ThinkingMemory
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.pool import Lease
from proxy.settings import RequestDefaults
from proxy.tasks import off_loop

_OPTIONS = "claude_options"
_LARGE_BYTES = 128 * 1024


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
        unfit: why no claude.ai session can carry the request; None where one can, or none was to.
    """

    __slots__ = ("_catalog", "_defaults", "_exchange", "_made", "_memory", "_names", "latest", "unfit")

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
        self.latest: Prepared | None = None
        self.unfit: InvalidRequest | None = None

    async def first(self) -> Prepared:
        """For Anthropic's API, before anybody is chosen. Raises InvalidRequest where the request cannot be carried."""
        found = self.latest = self._made[Kind.ANTHROPIC, None] = await self._ready(Kind.ANTHROPIC, None)
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

    async def fits_session(self, lease: Lease) -> bool:
        """Whether the claude.ai session of a lease can carry the request; if not, `unfit` says why."""
        try:
            await self.chosen(lease)
        except InvalidRequest as error:
            self.unfit = error
            return False
        return True

    async def without_thinking(self, lease: Lease) -> Prepared | None:
        """The same for the credential that has just refused the thinking we put in; None where we put in none.

        Whoever is asked later in the same way is asked without it too.
        """
        credential, latest = lease.credential, self.latest
        if credential.kind is not Kind.ANTHROPIC or latest is None:
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
        if len(exchange.body) < _LARGE_BYTES:
            return False
        return kind is not Kind.ANTHROPIC or exchange.dialect.name != "anthropic"

    def _make(self, kind: Kind, model: str | None) -> Prepared:
        if kind is Kind.OPENAI:
            return prepare_chat(self._exchange, self._catalog, self._defaults, model=model)
        if kind is Kind.CLAUDE_WEB:
            return prepare_session(self._exchange, self._catalog, self._defaults, model=model)
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
