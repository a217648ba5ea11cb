"""A stream that breaks off at any byte whatever makes an official SDK raise: never a clean end, never a parse error."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anthropic
import httpx2
import openai
import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.common import Dialect, Rendering
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dispatch.lanes import TranslatedLane, VerbatimLane
from proxy.dispatch.streams import RunningStream, StreamCut
from proxy.pool import Fault
from proxy.settings import Policy
from proxy.simulator import Step
from proxy.simulator.script import Cut
from proxy.upstreams.base import Source, UpstreamFault
from proxy.watch import Watch
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, House, Spoken, house
from tests.support.recordings import LONG_UNICODE, RECORDINGS, THINKING_AND_TOOLS

STREAMS = {"text": RECORDINGS["text"], "thinking and tools": THINKING_AND_TOOLS, "unicode": LONG_UNICODE}
HOWS: tuple[Cut, ...] = ("reset", "close", "end")
EVERY = 23
FAULTS = {"reset": Fault.RESET, "close": Fault.TRUNCATED}


@dataclass(slots=True)
class CutReply:
    """An upstream's answer that breaks off after some bytes."""

    rest: bytes
    how: Cut
    source: Source = field(default_factory=Source)
    content_type: str = "text/event-stream"

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`."""
        return not self.rest and self.how not in FAULTS

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        chunk, self.rest = self.rest, b""
        if not chunk and self.how in FAULTS:
            raise UpstreamFault(FAULTS[self.how])
        return chunk

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """See `ByteReply.read_all`."""
        raise AssertionError(f"a stream is not read whole: {watch}, {limit_s}")

    def close(self) -> None:
        """See `ByteReply.close`."""


@dataclass(frozen=True, slots=True)
class Front:
    """One dialect as its clients see it, with the SDK that judges it."""

    dialect: Dialect
    spoken: Spoken

    def stream(self, reply: CutReply, watch: Watch) -> RunningStream:
        """The running answer of this dialect."""
        policy = Policy()
        cap_bytes = policy.event_max_bytes
        verbatim = self.spoken is Spoken.MESSAGES
        lane: VerbatimLane | TranslatedLane = VerbatimLane(cap_bytes)
        if not verbatim:
            rendering = Rendering(request_id="req_1", created_s=1, model=MODEL, include_usage=True)
            lane = TranslatedLane(self.dialect.stream_encoder(rendering), cap_bytes)
        return RunningStream(reply, lane, policy, SystemClock(), watch, verbatim=verbatim)

    async def sent(self, recording: bytes, how: Cut, watch: Watch) -> bytes | None:
        """What the client is sent of a cut recording, the error frame included; None for nothing."""
        stream = self.stream(CutReply(recording, how), watch)
        try:
            await stream.prime(60)
        except UpstreamFault:
            return None
        out = b""
        try:
            while (frames := await stream.frames(60)) is not None:
                out += frames
        except StreamCut as cut:
            if cut.shown is None:
                raise
            return out + self.dialect.error_frame(cut.shown, "req_1")
        return out


FRONTS = [Front(AnthropicDialect(), Spoken.MESSAGES), Front(OpenAIChatDialect(), Spoken.CHAT)]


@asynccontextmanager
async def judge(
    spoken: Spoken, url: str, transport: httpx2.AsyncBaseTransport | None
) -> AsyncIterator["Judge"]:
    """An SDK that speaks a dialect, against a server or against canned answers."""
    async with httpx2.AsyncClient(transport=transport) as http:
        yield Judge(
            spoken,
            anthropic.AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, http_client=http),
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0, http_client=http),
        )


@dataclass(frozen=True, slots=True)
class Judge:
    """An SDK that reads streams to their end."""

    spoken: Spoken
    messages: anthropic.AsyncAnthropic
    chat: openai.AsyncOpenAI

    async def read(self) -> int:
        """Ask for a stream and read it all; gives the number of events, or raises what the SDK raises."""
        count = 0
        if self.spoken is Spoken.MESSAGES:
            async for _ in await self.messages.messages.create(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello!"}], stream=True
            ):
                count += 1
        else:
            async for _ in await self.chat.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hello!"}], stream=True
            ):
                count += 1
        return count


def canned(bodies: Iterator[bytes]) -> httpx2.MockTransport:
    """A transport that answers with one stream after the other."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=next(bodies))

    return httpx2.MockTransport(answer)


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.spoken.name.lower())
@pytest.mark.parametrize("name", STREAMS)
async def test_a_cut_at_any_byte_makes_the_sdk_raise(front: Front, name: str) -> None:
    """Every byte position and every sort of break, and the whole stream as the one that does not raise."""
    recording = STREAMS[name]
    watch = Watch()
    outputs: dict[bytes, int] = {}
    nothing_until = 0
    for end in range(len(recording)):
        found = {await front.sent(recording[:end], how, watch) for how in HOWS}
        assert len(found) == 1
        out = found.pop()
        if out is None:
            nothing_until = end
        else:
            outputs.setdefault(out, end)
    assert nothing_until == recording.index(b"\n\n") + 1
    # a new output with each event, so that the SDK has seen what a cut at any byte sends
    assert len(outputs) >= 4
    async with judge(front.spoken, "http://canned", canned(iter(outputs))) as sdk:
        for end in outputs.values():
            with pytest.raises((anthropic.APIStatusError, openai.APIError)) as raised:
                await sdk.read()
            assert "broke off" in str(raised.value), end
    whole = {await front.sent(recording, how, watch) for how in HOWS}
    assert len(whole) == 1
    async with judge(front.spoken, "http://canned", canned(iter([out for out in whole if out]))) as sdk:
        assert await sdk.read() >= 4
    watch.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cut_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One process with one key, which no number of faults puts out of use."""
    settings = {
        "POOL_STRIKES": "1000",
        "POOL_STRIKE_WINDOW_CALLS": "100000",
        "POOL_BACKOFF_BASE_S": "0",
        "POOL_BUDGET_MAX": "10000",
        "POOL_BUDGET_PER_SECOND": "1000",
    }
    async with house(tmp_path_factory.mktemp("cut"), settings, keys=("k1",)) as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize("name", STREAMS)
async def test_a_cut_on_a_real_socket_makes_the_sdk_raise(
    cut_house: House, spoken: Spoken, name: str
) -> None:
    """The same through the running server: after the first byte one upstream call, and an exception of the SDK."""
    recording = STREAMS[name]
    simulator = cut_house.simulator
    first_event_end = recording.index(b"\n\n") + 2
    async with judge(spoken, cut_house.server.url, None) as sdk:
        for number, end in enumerate(range(0, len(recording), EVERY)):
            simulator.reset()
            cut = Step(
                "cut_at_byte",
                stream_body=recording,
                at_byte=end,
                how=HOWS[number % 3],
                close_delimited=number % 2 == 0,
            )
            simulator.script("k1", then=cut)
            with pytest.raises((anthropic.APIStatusError, openai.APIError)) as raised:
                await sdk.read()
            assert simulator.record.requests_total <= 2
            if end >= first_event_end and cut.how != "reset":
                # a reset may overtake the bytes before it
                assert "broke off" in str(raised.value), end
                assert simulator.record.requests_total == 1
        simulator.script("k1", then=Step(stream_body=recording))
        assert await sdk.read() >= 4
    found = await cut_house.idle()
    assert found["api-1"].word() == "ready"
