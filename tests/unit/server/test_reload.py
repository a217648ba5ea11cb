"""``POST /admin/pool/reload``: what the administrator is told."""

from typing import cast

import pytest

from proxy.dispatch.reloading import Reloader
from proxy.pool import Difference
from proxy.server.app import ROUTES
from proxy.settings import ConfigurationError, Problem
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, client, services


class _Reloader:
    """A reloader with a given outcome."""

    def __init__(self, outcome: Difference | ConfigurationError) -> None:
        self._outcome = outcome
        self.asked_by: list[str] = []

    async def reload(self, asked_by: str) -> Difference:
        """See `Reloader.reload`."""
        self.asked_by.append(asked_by)
        if isinstance(self._outcome, ConfigurationError):
            raise self._outcome
        return self._outcome


async def _asked(
    outcome: Difference | ConfigurationError | None, headers: dict[str, str] = ADMINISTRATOR
) -> tuple[int, dict[str, object]]:
    shared = services()
    shared.reloader = None if outcome is None else cast(Reloader, _Reloader(outcome))
    async with client(shared, ROUTES) as found:
        answer = await found.post("/admin/pool/reload", headers=headers)
        return answer.status, await answer.json()


async def test_a_change_is_told_by_alias() -> None:
    """Protects scripts that wait for a key to be in use."""
    status, body = await _asked(Difference(("c",), ("a", "b"), ("d",), ("a",)))
    assert (status, body) == (200, {"added": ["c"], "changed": ["a", "b"], "removed": ["d"]})


async def test_what_cannot_be_used_is_a_400_with_every_mistake() -> None:
    """Protects the operator from guessing, in the envelope OpenAI's clients read."""
    problems = [Problem("sessions.json", "is not valid JSON"), Problem("CLAUDE_API_KEYS", "expected a list")]
    status, body = await _asked(ConfigurationError(problems))
    assert status == 400
    assert body["error"] == {
        "message": "The old credentials stay. sessions.json: is not valid JSON\nCLAUDE_API_KEYS: expected a list",
        "type": "invalid_request_error",
        "param": "SESSIONS_FILE",
        "code": None,
    }


async def test_a_demo_has_nothing_to_read_again() -> None:
    """Protects the simulated credentials from being mixed with real ones."""
    status, body = await _asked(None)
    assert status == 409
    assert "demo mode" in str(body)


@pytest.mark.parametrize("headers", [{}, AUTHORIZED], ids=["no key", "a client key"])
async def test_only_the_administrator_may_ask(headers: dict[str, str]) -> None:
    """Protects the configuration from clients."""
    assert (await _asked(Difference(), headers))[0] == 401
