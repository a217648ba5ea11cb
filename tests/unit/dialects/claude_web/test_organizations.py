"""Choosing the organization a session chats in."""

import pytest

from proxy.dialects.claude_web import Organization, WireBroken, choose_organization, decode_organizations

_API = Organization(uuid="api", capabilities=("api", "x", "y"))
_FREE = Organization(uuid="free", capabilities=("chat",))
_PAID = Organization(uuid="paid", capabilities=("chat", "claude_pro"))
_OLD = Organization(uuid="old", rate_limit_tier="default_claude_ai")


@pytest.mark.parametrize(
    ("found", "wanted", "chosen"),
    [
        ((_API, _FREE, _PAID), None, _PAID),
        ((_API, _FREE, _PAID), "free", _FREE),
        ((_API, _PAID), "gone", None),
        ((_API, _OLD), None, _OLD),
        ((_API,), None, None),
        ((), None, None),
    ],
)
def test_the_configured_one_counts_else_the_ablest_that_chats(
    found: tuple[Organization, ...], wanted: str | None, chosen: Organization | None
) -> None:
    """Protects accounts of several organizations, and old answers that name no capabilities."""
    assert choose_organization(found, wanted) == chosen


@pytest.mark.parametrize(
    ("capability", "able"),
    [("chat", False), ("claude_pro", True), ("claude_max", True), ("raven", True), ("api_individual", False)],
)
def test_only_accounts_that_pay_choose_a_model(capability: str, able: bool) -> None:
    """Protects accounts that would be refused for naming one."""
    assert Organization(uuid="o", capabilities=("chat", capability)).chooses_model is able


def test_a_list_is_read_with_whatever_else_it_holds() -> None:
    """Protects against fields to come; a ban is seen, a restriction is none."""
    body = (
        b'[{"uuid":"a","capabilities":["chat"],"active_flags":[{"type":"consumer_banned","expires_at":null}]},'
        b'{"uuid":"b","active_flags":[{"type":"consumer_restricted_mode"}],"rate_limit_tier":null,"new":{}}]'
    )
    first, second = decode_organizations(body)
    assert (first.banned, second.banned, second.capabilities) == (True, False, ())


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'[{"name":"x"}]', b"[" * 100_000])
def test_anything_else_is_no_list(body: bytes) -> None:
    """Protects the session from a page in the answer's place."""
    with pytest.raises(WireBroken):
        decode_organizations(body)
