"""Ways out through real proxies of others' making: whom the upstream sees, and who is blamed when there is no way."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator
from tests.support.gateway import Gateway, gateway
from tests.support.house import House, Spoken, client, configuration, simulated
from tests.support.proxies import PASSWORD, PROGRAMS, RealProxy, Sort, front, real_proxy
from tests.support.web_sessions import nothing_left, place_of

pytestmark = pytest.mark.needs("openssl")

_KEYS: Final = {"anthropic": ("k1", "k2"), "claude_web": ("sk-ant-sid01-canary-1", "sk-ant-sid01-canary-2")}
_DIRECT: Final = "127.0.0.1"
_STRIKES: Final = {"POOL_ENDPOINT_STRIKES": "2", "POOL_ENDPOINT_OPEN_S": "3600"}
Entries = Callable[[str], list[Mapping[str, object]]]
_SORTS: Final = [pytest.param(sort, marks=pytest.mark.needs(program)) for sort, program in PROGRAMS.items()]


@pytest.fixture(params=_SORTS)
async def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RealProxy]:
    """A running proxy of each sort."""
    async with real_proxy(Sort(request.param), tmp_path) as running:
        yield running


@pytest.fixture(params=_KEYS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of credential that has a way out of its own."""
    return str(request.param)


def entry(kind: str, number: int, url: str, **fields: object) -> Mapping[str, object]:
    """A credential by its number, from 1."""
    secret = {"anthropic": "key", "claude_web": "session_key"}[kind]
    return {"name": f"c{number}", "kind": kind, secret: _KEYS[kind][number - 1], "base_url": url, **fields}


@asynccontextmanager
async def house(
    folder: Path, credentials: Entries | None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[House]:
    """A house whose simulated Claude is reached by TLS, like the real one; without entries, one of settings alone."""
    async with simulated() as claude, front(claude, folder) as outside:
        entries = None if credentials is None else credentials(outside.url)
        chosen = {
            **configuration(folder, claude, (), None if entries is None else lambda _: entries),
            "ANTHROPIC_BASE_URL": outside.url,
            "CLAUDE_WEB_BASE_URL": outside.url,
            "SSL_CERT_FILE": str(outside.trust),
            **(settings or {}),
        }
        async with gateway(folder, chosen) as server, client() as session:
            yield House(server, claude, session)


def came_from(simulator: Simulator) -> dict[str, set[str]]:
    """The addresses from which the simulator was called, by key."""
    found: dict[str, set[str]] = {}
    for one in simulator.record.requests:
        found.setdefault(one.key, set()).add(one.peer.rpartition(":")[0])
    return found


async def answered(found: House, *, times: int = 1) -> list[str]:
    """Ask in both dialects, whole and streamed; gives who answered. Every answer has to be good and whole."""
    names = []
    for _ in range(times):
        for spoken in Spoken:
            for stream in (False, True):
                answer = await found.ask(spoken, stream=stream)
                assert (answer.status, answer.broken_off) == (200, False)
                assert b"Hello!" in answer.body
                names.append(answer.headers["x-carousel-credential"])
    return names


async def unreached(found: House) -> None:
    """Ask in both dialects, whole and streamed; each has to hear that nothing could be reached, and no secret."""
    for spoken in Spoken:
        for stream in (False, True):
            answer = await found.ask(spoken, stream=stream)
            assert answer.status == 502
            assert answer.error.error.message == "The upstream could not be reached."
            assert b"canary" not in answer.body


async def unblamed(found: House) -> None:
    """Neither key nor session is out of use, nor has anything in flight."""
    credentials = await found.idle()
    assert {one.word() for one in credentials.values()} == {"ready"}
    assert b"canary" not in msgspec.json.encode(credentials)


async def test_the_upstream_sees_the_proxy_and_never_this_machine(
    tmp_path: Path, proxy: RealProxy, kind: str
) -> None:
    """Protects the operator's choice of a way out, for every call: questions, and deletions after them."""

    def entries(url: str) -> list[Mapping[str, object]]:
        return [entry(kind, 1, url, proxy=proxy.url), entry(kind, 2, url)]

    async with house(tmp_path, entries) as found:
        assert sorted(await answered(found)) == ["c1", "c1", "c2", "c2"]
        if kind == "claude_web":
            await nothing_left(found.simulator, made=4)
        one, two = _KEYS[kind]
        assert came_from(found.simulator) == {one: {proxy.source}, two: {_DIRECT}}
        # to what is reached by TLS a proxy is a tunnel, and reads nothing
        assert not any(one.header("via") for one in found.simulator.record.requests)
        await unblamed(found)


async def test_one_setting_is_the_way_out_of_all_who_have_none_of_their_own(
    tmp_path: Path, proxy: RealProxy
) -> None:
    """Protects users of the environment alone, who name one proxy for keys and sessions together."""
    keys = {"ANTHROPIC_API_KEYS": _KEYS["anthropic"][0], "SESSIONS": _KEYS["claude_web"][0]}
    async with house(tmp_path, None, {**keys, "PROXY": proxy.url}) as found:
        assert set(await answered(found)) == {"api-1", "web-1"}
        await nothing_left(found.simulator, made=2)
        assert set().union(*came_from(found.simulator).values()) == {proxy.source}


async def test_a_proxy_that_refuses_the_password_blames_no_credential(
    tmp_path: Path, proxy: RealProxy, kind: str
) -> None:
    """Protects keys and sessions from a mistake in the URL of the way out, which is no word of the upstream's."""

    def entries(url: str) -> list[Mapping[str, object]]:
        return [entry(kind, 1, url, proxy=proxy.url_for("canary-wrong-password"))]

    async with house(tmp_path, entries) as found:
        await unreached(found)
        await unblamed(found)
        assert found.simulator.record.connections_total == 0


async def test_a_proxy_that_is_down_blames_no_credential_and_is_never_gone_round(
    tmp_path: Path, proxy: RealProxy, kind: str
) -> None:
    """Protects the operator's choice while the proxy is gone, and the credential, which answers once it is back."""

    def entries(url: str) -> list[Mapping[str, object]]:
        return [entry(kind, 1, url, proxy=proxy.url)]

    async with house(tmp_path, entries) as found:
        await proxy.stop()
        await unreached(found)
        await unblamed(found)
        assert found.calls() == 0
        await proxy.start()
        assert set(await answered(found)) == {"c1"}
        assert came_from(found.simulator) == {_KEYS[kind][0]: {proxy.source}}


async def test_a_way_out_that_is_down_is_avoided(tmp_path: Path, proxy: RealProxy, kind: str) -> None:
    """Protects clients from trying a dead way first time after time, while another one is there."""

    def entries(url: str) -> list[Mapping[str, object]]:
        return [entry(kind, 1, url, proxy=proxy.url), entry(kind, 2, url)]

    async with house(tmp_path, entries, _STRIKES) as found:
        await proxy.stop()
        assert set(await answered(found, times=2)) == {"c2"}
        credentials = await found.idle()
        assert (credentials["c1"].word(), credentials["c1"].failed) == ("ready", 2)


async def test_no_password_of_a_proxy_is_written_down(tmp_path: Path, proxy: RealProxy) -> None:
    """Protects the proxy's password in everything the program prints, while all is well and when it is not."""

    def entries(url: str) -> list[Mapping[str, object]]:
        return [entry(kind, 1, url, proxy=proxy.url, name=kind) for kind in _KEYS]

    async with house(tmp_path, entries, {"LOG_LEVEL": "debug"}) as found:
        await answered(found)
        await proxy.stop()
        await unreached(found)
        assert isinstance(found.server, Gateway)
        written = "".join(found.server.output)
        assert "request" in written
        assert PASSWORD not in written


@pytest.mark.needs("tinyproxy")
async def test_a_forwarding_proxy_that_ends_its_connections_in_silence_blames_no_credential(
    tmp_path: Path, kind: str
) -> None:
    """Protects keys and sessions without TLS: such a proxy ends each connection, and says so to nobody."""
    async with real_proxy(Sort.HTTP, tmp_path) as proxy, simulated() as claude, client() as session:
        settings = configuration(
            tmp_path, claude, (), lambda _: [entry(kind, 1, place_of(claude.url), proxy=proxy.url)]
        )
        async with gateway(tmp_path, {**settings, "RETRY_COUNT": "0"}) as server:
            found = House(server, claude, session)
            assert len(await answered(found, times=5)) == 20
            assert [(one.word(), one.failed) for one in (await found.idle()).values()] == [("ready", 0)]
            assert came_from(claude) == {_KEYS[kind][0]: {proxy.source}}
