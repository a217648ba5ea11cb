"""How claude.ai sessions are asked, made from the settings."""

from collections.abc import Sequence
from uuid import uuid4

from proxy.access import Keys
from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.dialects.claude_web import PromptOptions
from proxy.model.catalog import Catalog
from proxy.settings import Settings
from proxy.store.base import Store
from proxy.upstreams.claude_web.upstream import ClaudeWeb, WebMeans, WebOptions
from proxy.upstreams.http import WaysOut


def make_sessions(
    settings: Settings,
    credentials: Sequence[Credential],
    catalog: Catalog,
    clock: Clock,
    store: Store,
    ways_out: WaysOut,
    keys: Keys,
) -> ClaudeWeb:
    """The upstream of all claude.ai sessions, those included that are configured later."""
    secret_key = keys.secret_key
    means = WebMeans(
        ways_out=ways_out,
        policy=settings.policy,
        catalog=catalog,
        clock=clock,
        ledger=store,
        fingerprint=lambda credential: credential.fingerprint(secret_key),
        new_uuid=lambda: str(uuid4()),
    )
    prompts = PromptOptions(
        max_history_characters=settings.web.max_history_characters,
        role_prefixes=settings.web.role_prefixes,
        disable_artifacts=settings.web.disable_artifacts,
    )
    options = WebOptions(prompts=prompts, delete=settings.web.delete)
    return ClaudeWeb(means, options, tuple(each for each in credentials if each.kind is Kind.CLAUDE_WEB))
