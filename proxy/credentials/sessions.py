"""What an operator who configures claude.ai sessions is told: whose they are, and who else may use them."""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.credentials.credential import Credential, Kind
from proxy.settings import AccessSettings

_ARE_PERSONAL: Final = (
    "claude.ai sessions are in use: each is a person's account, under consumer terms that reserve it for ordinary "
    "use by its owner; use only your own."
)


def session_warnings(credentials: Sequence[Credential], access: AccessSettings) -> Iterator[str]:
    """Sentences about sessions that are enabled; they name aliases alone."""
    sessions = [each for each in credentials if each.kind is Kind.CLAUDE_WEB and each.enabled]
    if not sessions:
        return
    yield _ARE_PERSONAL
    unbound = [each.name for each in sessions if not each.clients]
    if unbound and (len(access.client_keys) > 1 or not access.require_auth):
        yield (
            f"claude.ai sessions open to every client: {', '.join(unbound)}. "
            "Bind each to its owner's client keys with the field clients."
        )
