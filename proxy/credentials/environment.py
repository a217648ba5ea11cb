"""Credentials that are given by settings alone."""

from typing import Final
from urllib.parse import urlsplit

from proxy.credentials.credential import Kind
from proxy.credentials.draft import Draft
from proxy.settings import CredentialSources, Fallback, Problem

_ANTHROPIC_HOST: Final = "api.anthropic.com"
# behind whatever the file of credentials holds, whose tiers end at 99
_FIRST_TIER: Final = 100


def drafts_from_settings(sources: CredentialSources) -> tuple[list[Draft], list[Problem]]:
    """API keys, web sessions, this machine's login, and fallbacks, in this order."""
    drafts = [
        Draft(where=f"ANTHROPIC_API_KEYS item {number}", kind=Kind.ANTHROPIC, secret=key, number=number)
        for number, key in enumerate(sources.anthropic_api_keys, 1)
    ]
    drafts += [
        Draft(
            where=f"SESSIONS item {number}",
            kind=Kind.CLAUDE_WEB,
            secret=session.session_key,
            organization=session.organization,
            number=number,
        )
        for number, session in enumerate(sources.web_sessions, 1)
    ]
    if sources.claude_code:
        drafts.append(Draft(where="CLAUDE_CODE", kind=Kind.CLAUDE_CODE, number=1))
    fallbacks = [_fallback(each, tier) for tier, each in enumerate(sources.fallbacks, _FIRST_TIER)]
    problems = [
        Problem(f"FALLBACK_API_KEY_{each.number}", "is missing; the Anthropic API needs one")
        for each, draft in zip(sources.fallbacks, fallbacks, strict=True)
        if draft.kind is Kind.ANTHROPIC and draft.secret is None
    ]
    return drafts + fallbacks, problems


def _fallback(fallback: Fallback, tier: int) -> Draft:
    anthropic = urlsplit(fallback.url).hostname == _ANTHROPIC_HOST
    return Draft(
        where=f"FALLBACK_API_URL_{fallback.number}",
        kind=Kind.ANTHROPIC if anthropic else Kind.OPENAI,
        name=fallback.name,
        prefix="fallback",
        number=fallback.number,
        secret=fallback.key,
        base_url=fallback.url,
        tier=tier,
        model=fallback.model,
        fallback=True,
    )
