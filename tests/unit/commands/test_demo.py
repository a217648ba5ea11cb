"""The demo turns round over credentials that open nothing but the simulator."""

import aiohttp

from proxy.commands.demo import demo_credentials, demo_simulator
from proxy.credentials import Kind
from tests.unit.dispatch.building import MODEL


def test_there_are_three_credentials_with_names_of_their_own() -> None:
    """Protects the demo's purpose: to show a pool that turns round."""
    credentials = demo_credentials()
    assert [item.name for item in credentials] == ["demo-1", "demo-2", "demo-3"]
    assert len({item.identity for item in credentials}) == 3
    assert {item.kind for item in credentials} == {Kind.ANTHROPIC}
    assert all(item.base_url == "http://127.0.0.1" for item in credentials)


async def test_the_simulated_claude_listens_on_this_machine_alone_and_says_what_it_is() -> None:
    """Protects people from an open port, and from taking its answers for real ones."""
    simulator = await demo_simulator()
    try:
        assert simulator.url.startswith("http://127.0.0.1:")
        body = {"model": MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{simulator.url}/v1/messages", json=body, headers=headers) as answer,
        ):
            found = await answer.json()
        assert found["content"][0]["text"].startswith("[demo] ")
    finally:
        await simulator.stop()
