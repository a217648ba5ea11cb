"""What is known about the models: names, limits, prices, rules. The facts lie in ``catalog.json``.

Sources: Anthropic's models overview, pricing, deprecations, extended thinking and effort pages, as of the
file's ``as_of`` date. An operator may lay a file of the same shape over it.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib import resources

import msgspec

from proxy.model.aliases import AliasRules, Resolution, split_think

__all__ = [
    "CLAUDE_CODE",
    "AliasRules",
    "Catalog",
    "CatalogError",
    "FastPrice",
    "ForcedToolChoice",
    "ModelFacts",
    "Price",
    "Resolution",
    "Sampling",
    "ThinkingMode",
]

CLAUDE_CODE = "claude-code"
"""The word that stands for whatever model Claude Code would use; without one, for the default model."""

_FRESH_DAYS = 90
_WORDS = ("opus", "sonnet", "haiku", "fable")


class ThinkingMode(StrEnum):
    """The values of ``thinking.type``."""

    ADAPTIVE = "adaptive"
    ENABLED = "enabled"
    DISABLED = "disabled"
    BETWEEN_TOOLS = "between_tools"


class Sampling(StrEnum):
    """What a model takes of ``temperature``, ``top_p`` and ``top_k`` under API version 2023-06-01."""

    ACCEPTED = "accepted"
    """One of ``temperature`` and ``top_p``, while thinking is off."""
    DEFAULTS_ONLY = "defaults_only"
    REFUSED = "refused"


class ForcedToolChoice(StrEnum):
    """Whether ``tool_choice`` may be ``any`` or ``tool``."""

    ACCEPTED = "accepted"
    UNLESS_ENABLED = "unless_enabled"
    """Not together with ``thinking.type: enabled``."""
    REFUSED = "refused"


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars for a million tokens, for prompts of at most `up_to_prompt_tokens` (None: of any length)."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float
    up_to_prompt_tokens: int | None = None


class FastPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars for a million tokens in fast mode, the beta header it needs, and the day it ends."""

    input: float
    output: float
    beta: str | None = None
    ends_at: dt.date | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules and limits of one model.

    Attributes:
        id: the full id.
        aliases: other ids the provider itself answers to.
        family: ``opus``, ``sonnet``, ``haiku``, ``fable`` or ``mythos``.
        limit_class: models of one class share their rate limits.
        status: ``active``, ``legacy`` or ``deprecated``.
        restricted: whether only verified organizations may use it.
        retires_at: the announced day from which on it answers no more.
        retires_not_before: the day until which it stays for certain.
        context_tokens: prompt and answer together.
        max_output_tokens: the largest ``max_tokens``.
        prices: tiers by the length of the prompt, the shortest first; empty where no price is known.
        fast_price: the price of fast mode, where there is one.
        thinking_modes: the values of ``thinking.type`` it accepts.
        thinks_by_default: whether it thinks when ``thinking`` is left out.
        thinking_off: the mode to ask for when no thinking is wanted; None where there is no safe one.
        thinking_display: what of its thinking is shown when nothing is said: ``omitted`` or ``summarized``.
        account_bound_thinking: whether another organization's thinking blocks are unreadable to it.
        effort_levels: the values of ``output_config.effort`` it accepts, the least first.
        default_effort: the level when none is said.
        sampling: what it takes of the sampling fields.
        prefill: whether the last message may be the assistant's.
        forced_tool_choice: whether a tool call can be demanded.
        mid_conversation_system: whether messages of role ``system`` are accepted.
        min_cache_prefix_tokens: shorter prefixes are not cached.
    """

    id: str
    family: str
    limit_class: str
    context_tokens: int
    max_output_tokens: int
    aliases: tuple[str, ...] = ()
    status: str = "active"
    restricted: bool = False
    retires_at: dt.date | None = None
    retires_not_before: dt.date | None = None
    prices: tuple[Price, ...] = ()
    fast_price: FastPrice | None = None
    thinking_modes: tuple[ThinkingMode, ...] = (ThinkingMode.ADAPTIVE,)
    thinks_by_default: bool = True
    thinking_off: ThinkingMode | None = None
    thinking_display: str = "omitted"
    account_bound_thinking: bool = False
    effort_levels: tuple[str, ...] = ()
    default_effort: str | None = None
    sampling: Sampling = Sampling.REFUSED
    prefill: bool = False
    forced_tool_choice: ForcedToolChoice = ForcedToolChoice.REFUSED
    mid_conversation_system: bool = False
    min_cache_prefix_tokens: int = 4096

    def price(self, prompt_tokens: int) -> Price | None:
        """The tier for a prompt of this length, cached tokens included; None where no price is known."""
        for tier in self.prices:
            if tier.up_to_prompt_tokens is None or prompt_tokens <= tier.up_to_prompt_tokens:
                return tier
        return None

    def retired(self, today: dt.date) -> bool:
        """Whether the announced day has come."""
        return self.retires_at is not None and today >= self.retires_at


class _Retired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: str
    retired_at: dt.date
    ids: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    as_of: dt.date
    batch_factor: float
    web_search_usd: float
    us_inference_factor: float
    models: tuple[ModelFacts, ...]
    retired: tuple[_Retired, ...]


class CatalogError(ValueError):
    """A catalog file that cannot be read; the message says where."""


class Catalog:
    """The models, the newest of each family first.

    Attributes:
        as_of: the day the facts were true.
        batch_factor: what a batch costs, as a part of the price.
        web_search_usd: US dollars for one web search.
        us_inference_factor: what inference in the United States costs, as a multiple of the price.
        default_model: the newest Sonnet.
    """

    def __init__(self, file: _File) -> None:
        self.as_of = file.as_of
        self.batch_factor = file.batch_factor
        self.web_search_usd = file.web_search_usd
        self.us_inference_factor = file.us_inference_factor
        self._models = file.models
        self._by_name = {name: facts for facts in file.models for name in (facts.id, *facts.aliases)}
        self._retired = {name: entry for entry in file.retired for name in entry.ids}
        self._newest = {facts.family: facts for facts in reversed(file.models)}
        if "sonnet" not in self._newest:
            raise CatalogError("the catalog has no model of family sonnet")
        self.default_model = self._newest["sonnet"].id

    @classmethod
    def load(cls, overlay: bytes | None = None) -> "Catalog":
        """The built-in catalog, with an operator's JSON file laid over it.

        Top-level values replace ours. Models are merged by id, field by field; new ones count as newer
        than ours. The retired ids are added to ours. Raises CatalogError for a file that does not fit.
        """
        text = resources.files("proxy.model").joinpath("catalog.json").read_bytes()
        try:
            merged = text if overlay is None else _overlaid(text, overlay)
            return cls(msgspec.json.decode(merged, type=_File))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise CatalogError(str(error)) from error

    def __iter__(self) -> Iterator[ModelFacts]:
        return iter(self._models)

    def outdated(self, today: dt.date) -> bool:
        """Whether the facts are so old, more than 90 days, that prices and limits may have changed since."""
        return today - self.as_of > dt.timedelta(days=_FRESH_DAYS)

    def resolve(self, model: str, *, today: dt.date, aliases: AliasRules) -> Resolution:
        """The id to ask for, given what a client wrote.

        The operator's own pairs come first, and the ``-think`` suffix is split off. Ids the catalog has,
        the provider's own aliases included, stay as they are. What is left are family words and retired ids,
        both exactly as written, which become the family's present model unless the rules say otherwise.
        """
        wanted, think = aliases.applied(model)
        facts = self._by_name.get(wanted)
        known = facts is not None and not facts.retired(today)
        if not known and aliases.families and (family := self._family_meant(wanted, today)):
            wanted, known = self._present(family, today), True
        asked, _ = split_think(model)
        return Resolution(model=wanted, think=think, alias_of=None if wanted == asked else asked, known=known)

    def facts(self, model: str) -> ModelFacts:
        """What is known of a model; of an unknown one, the rules of its family's newest, and no price."""
        known = self._by_name.get(model)
        if known is not None:
            return known
        words = model.split("-")
        family = next((word for word in self._newest if word in words), "sonnet")
        return msgspec.structs.replace(
            self._newest[family],
            id=model,
            aliases=(),
            limit_class=f"{family}-other",
            status="active",
            restricted=False,
            retires_at=None,
            retires_not_before=None,
            prices=(),
            fast_price=None,
        )

    def dearest(self, family: str) -> Price | None:
        """The highest price of a family, or of all models for a family without one: what budgets assume."""
        mine = [tier for facts in self._models if facts.family == family for tier in facts.prices]
        every = mine or [tier for facts in self._models for tier in facts.prices]
        return max(every, key=lambda tier: tier.output, default=None)

    def known_ids(self, today: dt.date) -> tuple[str, ...]:
        """The ids of all models not retired on that day, the newest of each family first."""
        return tuple(facts.id for facts in self._models if not facts.retired(today))

    def limit_class(self, model: str) -> str:
        """The group of models that share their rate limits with this one."""
        return self.facts(model).limit_class

    def _family_meant(self, wanted: str, today: dt.date) -> str | None:
        if wanted == CLAUDE_CODE:
            return self._by_name[self.default_model].family
        if wanted in _WORDS:
            return wanted if wanted in self._newest else None
        facts = self._by_name.get(wanted)
        if facts is not None:
            return facts.family
        entry = self._retired.get(wanted)
        return entry.family if entry is not None and today >= entry.retired_at else None

    def _present(self, family: str, today: dt.date) -> str:
        """The newest model of a family that has not been retired; the newest at all, should there be none."""
        present = (facts.id for facts in self._models if facts.family == family and not facts.retired(today))
        return next(present, self._newest[family].id)


def _overlaid(text: bytes, overlay: bytes) -> bytes:
    base, over = (msgspec.json.decode(part, type=dict[str, msgspec.Raw]) for part in (text, overlay))
    merged = base | over
    if "models" in over:
        merged["models"] = msgspec.Raw(msgspec.json.encode(_merged_models(base["models"], over["models"])))
    if "retired" in over:
        both = (msgspec.json.decode(part["retired"], type=list[msgspec.Raw]) for part in (base, over))
        merged["retired"] = msgspec.Raw(msgspec.json.encode([entry for part in both for entry in part]))
    return msgspec.json.encode(merged)


def _merged_models(base: msgspec.Raw, over: msgspec.Raw) -> list[dict[str, msgspec.Raw]]:
    ours, theirs = _by_id(_models(base)), _by_id(_models(over))
    new = [fields for name, fields in theirs.items() if name not in ours]
    return new + [fields | theirs.get(name, {}) for name, fields in ours.items()]


def _models(part: msgspec.Raw) -> list[dict[str, msgspec.Raw]]:
    return msgspec.json.decode(part, type=list[dict[str, msgspec.Raw]])


def _by_id(models: Iterable[dict[str, msgspec.Raw]]) -> dict[str, dict[str, msgspec.Raw]]:
    found = {}
    for fields in models:
        if "id" not in fields:
            raise CatalogError("a model of the catalog has no id")
        found[msgspec.json.decode(fields["id"], type=str)] = fields
    return found
