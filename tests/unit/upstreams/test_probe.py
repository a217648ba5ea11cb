"""The question each kind of credential is asked to see whether it works."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.credentials import Credential, Kind
from proxy.pool import Fault
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.program import Unusable
from proxy.upstreams.http import WaysOut
from proxy.upstreams.probe import Probe
from tests.support.fake_claude import VERSION, fake_claude
from tests.support.house import simulated


@pytest_asyncio.fixture
async def claude() -> AsyncIterator[Simulator]:
    """A simulated Claude."""
    async with simulated() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def probe() -> AsyncIterator[Probe]:
    """What asks."""
    ways_out = WaysOut(Policy())
    yield Probe(ways_out, 10.0)
    await ways_out.close()


def credential(kind: Kind, url: str, secret: str | None = "key-1") -> Credential:  # noqa: S107 - a stand-in
    """One of a kind."""
    return Credential(name="one", kind=kind, secret=Secret(secret) if secret else None, base_url=url)


async def test_an_api_key_is_asked_for_its_models_and_nothing_else(claude: Simulator, probe: Probe) -> None:
    """Protects the operator's money: a list of models costs nothing."""
    found = await probe.ask(credential(Kind.ANTHROPIC, claude.url))
    assert "claude-sonnet-5-5" in (found.models or ())
    assert found.organization is not None
    (asked,) = claude.record.requests
    assert (asked.method, asked.path, asked.key) == ("GET", "/v1/models?limit=1000", "key-1")


async def test_another_providers_api_is_asked_for_its_models(claude: Simulator, probe: Probe) -> None:
    """The same with a bearer key, below the address that has the version in it."""
    found = await probe.ask(credential(Kind.OPENAI, f"{claude.url}/v1"))
    assert found.models
    (asked,) = claude.record.requests
    assert (asked.path, asked.header("authorization")) == ("/v1/models", "Bearer key-1")


async def test_a_session_is_asked_for_its_organization_and_makes_no_conversation(
    claude: Simulator, probe: Probe
) -> None:
    """Protects the owner's account: nothing is begun there that would have to be deleted."""
    found = await probe.ask(credential(Kind.CLAUDE_WEB, claude.site_url, "sk-ant-sid01-one"))
    assert found.organization
    assert found.models is None
    assert [(asked.method, asked.path) for asked in claude.record.requests] == [("GET", "/api/organizations")]


async def test_claude_code_is_asked_for_its_version(tmp_path: Path, probe: Probe) -> None:
    """Protects a login: its program is started for nothing but to say what it is."""
    program = fake_claude(tmp_path)
    one = replace(credential(Kind.CLAUDE_CODE, "", None), cli_path=str(program))
    assert (await probe.ask(one)).program == VERSION


async def test_a_program_that_is_missing_is_told(tmp_path: Path, probe: Probe) -> None:
    """Protects people from a path with a typing error."""
    one = replace(credential(Kind.CLAUDE_CODE, "", None), cli_path=str(tmp_path / "none"))
    with pytest.raises(Unusable):
        await probe.ask(one)


@pytest.mark.parametrize("kind", [Kind.ANTHROPIC, Kind.OPENAI, Kind.CLAUDE_WEB])
async def test_a_refusal_comes_as_one(claude: Simulator, probe: Probe, kind: Kind) -> None:
    """Protects against a key that was refused and is shown as good."""
    claude.script("key-1", then=Step("status", status=401))
    url = {Kind.ANTHROPIC: claude.url, Kind.OPENAI: f"{claude.url}/v1", Kind.CLAUDE_WEB: claude.site_url}
    with pytest.raises(UpstreamRefused) as refused:
        await probe.ask(credential(kind, url[kind]))
    assert refused.value.error.status == 401
    assert refused.value.error.kind is kind


@pytest.mark.parametrize("body", ["{broken", "[]", '{"data": [5]}', "[" * 100_000])
async def test_an_answer_that_is_no_list_is_no_proper_answer(
    claude: Simulator, probe: Probe, body: str
) -> None:
    """Protects against an address at which something else lives."""
    claude.script(
        "key-1", then=Step("raw", status=200, headers={"content-type": "application/json"}, body=body)
    )
    with pytest.raises(UpstreamFault) as fault:
        await probe.ask(credential(Kind.ANTHROPIC, claude.url))
    assert fault.value.fault is Fault.GARBAGE
