"""Which organization of an account a session chats in, and what the account may do there."""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.dialects.claude_web.wire import WireBroken

_CHAT: Final = "chat"
_USUAL_TIER: Final = "default_claude_ai"
_PAYING: Final = ("pro", "max", "raven", "team", "enterprise")
_DEAD: Final = "banned"


class Flag(msgspec.Struct, frozen=True):
    """A notice on an account, such as ``consumer_banned``."""

    type: str = ""


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """One organization of an account, as ``GET /api/organizations`` lists it.

    Attributes:
        uuid: its id in every path.
        capabilities: what it may be used for; ``chat`` is needed.
        rate_limit_tier: its plan.
        active_flags: notices on it.
    """

    uuid: str
    capabilities: tuple[str, ...] = ()
    rate_limit_tier: str | None = None
    active_flags: tuple[Flag, ...] = ()

    @property
    def chooses_model(self) -> bool:
        """Whether it may name a model; those that pay nothing may not."""
        words = {word for capability in self.capabilities for word in capability.split("_")}
        return not words.isdisjoint(_PAYING)

    @property
    def banned(self) -> bool:
        """Whether the account was closed."""
        return any(_DEAD in flag.type for flag in self.active_flags)


_decoder = msgspec.json.Decoder(tuple[Organization, ...])


def decode_organizations(body: bytes) -> tuple[Organization, ...]:
    """The organizations of an account. Raises WireBroken."""
    try:
        return _decoder.decode(body)
    except (ValueError, RecursionError):
        raise WireBroken("the answer is no list of organizations") from None


def choose_organization(found: Sequence[Organization], wanted: str | None) -> Organization | None:
    """The organization to chat in; None where there is none.

    It is the `wanted` one if one is configured, else of those that may chat the one with most capabilities, else
    the one on the site's usual plan.
    """
    if wanted is not None:
        return next((one for one in found if one.uuid == wanted), None)
    able = [one for one in found if _CHAT in one.capabilities]
    if able:
        return max(able, key=lambda one: len(one.capabilities))
    return next((one for one in found if one.rate_limit_tier == _USUAL_TIER), None)
