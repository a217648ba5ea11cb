"""However the network cuts an upstream's bytes, the client's bytes are the same."""

import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import pairwise

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Observed, Rendering, StreamBroken
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dispatch.lanes import StreamLane, TranslatedLane, VerbatimLane
from proxy.simulator import Step
from tests.support.house import House, Spoken, house
from tests.support.recordings import RECORDINGS

CAP_BYTES = 8 * 1024 * 1024
SEEDS = range(10)
BLANK_LINES = (b"\n\n", b"\r\n\r", b"\r\n\r\n")
CREATED = re.compile(rb'"created":\d+')


def verbatim() -> StreamLane:
    """The lane of a client that speaks the upstream's dialect."""
    return VerbatimLane(CAP_BYTES)


def translated() -> StreamLane:
    """The lane of a client that speaks the other one."""
    rendering = Rendering(request_id="req_1", created_s=1, model="m", include_usage=True)
    return TranslatedLane(OpenAIChatDialect().stream_encoder(rendering), CAP_BYTES)


LANES = {"verbatim": verbatim, "translated": translated}
Lane = Callable[[], StreamLane]


def sizes(recording: bytes, size: int) -> list[bytes]:
    """Slices of one size."""
    return [recording[start : start + size] for start in range(0, len(recording), size)]


def cut_at(recording: bytes, positions: Sequence[int]) -> list[bytes]:
    """Slices between positions."""
    edges = [0, *positions, len(recording)]
    return [recording[start:end] for start, end in pairwise(edges) if start < end]


def within_characters(recording: bytes) -> list[int]:
    """Every position inside a character of several bytes."""
    return [place for place, byte in enumerate(recording) if byte & 0xC0 == 0x80]


def between_cr_and_lf(recording: bytes) -> list[int]:
    """Every position between the two halves of a line end."""
    return [found.start() + 1 for found in re.finditer(rb"\r\n", recording)]


def random_places(recording: bytes, seed: int) -> list[int]:
    """Some positions, the same for the same seed."""
    chance = random.Random(seed)
    return sorted(chance.sample(range(1, len(recording)), chance.randint(1, 60)))


def slicings(recording: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Every way a recording is sliced, by name."""
    for size in (1, 2, 3, 7, 64, 64 * 1024):
        yield f"{size} bytes", sizes(recording, size)
    yield "inside every character", cut_at(recording, within_characters(recording))
    for place in within_characters(recording):
        yield f"inside the character at {place}", cut_at(recording, [place])
    yield "between CR and LF", cut_at(recording, between_cr_and_lf(recording))
    for place in between_cr_and_lf(recording):
        yield f"between CR and LF at {place}", cut_at(recording, [place])
    for seed in SEEDS:
        yield f"random {seed}", cut_at(recording, random_places(recording, seed))


def run(make: Lane, slices: Sequence[bytes]) -> tuple[bytes, Observed, bool]:
    """A client's bytes, what was seen, and whether the stream was found to be broken."""
    lane = make()
    out = b""
    for chunk in slices:
        try:
            out += lane.feed(chunk)
        except StreamBroken:
            return out, lane.observed, True
        if lane.fault is not None:
            return out, lane.observed, True
    return out, lane.observed, False


@pytest.mark.parametrize("make", LANES.values(), ids=LANES)
@pytest.mark.parametrize("name", RECORDINGS)
def test_slicing_changes_no_byte_and_no_finding(make: Lane, name: str) -> None:
    """Output, usage, stop reason and verdict are those of the whole stream in one piece."""
    recording = RECORDINGS[name]
    whole = run(make, [recording])
    assert whole[0]
    assert whole[1].complete is (name != "error_mid_stream")
    for how, slices in slicings(recording):
        assert b"".join(slices) == recording
        assert (how, run(make, slices)) == (how, whole)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_verbatim_lane_gives_out_what_it_was_given(name: str) -> None:
    """Unsliced, the client's bytes are the upstream's; that makes them so for every slicing."""
    assert run(verbatim, [RECORDINGS[name]])[0] == RECORDINGS[name]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
@pytest.mark.parametrize("name", RECORDINGS)
def test_line_ends_of_any_sort_make_the_same_answer(name: str, line_end: bytes) -> None:
    """A stream with other line ends says the same, however it is sliced, and passes untouched where it may."""
    plain = RECORDINGS[name].replace(b"\r\n", b"\n")
    recording = plain.replace(b"\n", line_end)
    expected = run(translated, [plain])
    for how, slices in slicings(recording):
        assert (how, run(translated, slices)) == (how, expected)
        assert (how, run(verbatim, slices)[0]) == (how, recording)


@pytest.mark.parametrize("name", ["text", "crlf", "unicode", "sim_thinking_and_tools"])
def test_an_incomplete_last_event_is_never_given_out(name: str) -> None:
    """What the connection's end leaves unfinished is no event: the client has only those that were complete."""
    recording = RECORDINGS[name]
    for end in range(len(recording)):
        slices = cut_at(recording[:end], [end // 2])
        out = run(verbatim, slices)[0]
        assert recording.startswith(out)
        assert not out or out.endswith(BLANK_LINES)
        unfinished = recording[len(out) : end].removeprefix(b"\n")
        assert not any(blank in unfinished for blank in BLANK_LINES)
        assert run(translated, slices)[0] == run(translated, [out])[0]


@given(
    name=st.sampled_from(sorted(RECORDINGS)),
    places=st.lists(st.floats(0, 1, exclude_max=True), max_size=40),
    make=st.sampled_from(list(LANES.values())),
)
def test_any_slicing_at_all_changes_nothing(name: str, places: list[float], make: Lane) -> None:
    """The same for slicings nobody thought of."""
    recording = RECORDINGS[name]
    positions = sorted({int(place * len(recording)) for place in places})
    assert run(make, cut_at(recording, positions)) == run(make, [recording])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sliced_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One process with one key."""
    async with house(tmp_path_factory.mktemp("sliced"), keys=("k1",)) as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize(
    "name", ["text", "crlf", "parallel_tools", "unicode", "sim_long_unicode", "pings_and_comments"]
)
async def test_slices_on_real_sockets_change_no_byte(sliced_house: House, spoken: Spoken, name: str) -> None:
    """The same from end to end, with the slices as packets of their own."""
    simulator = sliced_house.simulator
    simulator.reset()
    recording = RECORDINGS[name]
    simulator.script("k1", [Step(stream_body=recording)])
    whole = await sliced_house.ask(spoken, stream=True)
    assert whole.status == 200
    for cut in ((1,), (2,), (7,), (64 * 1024,), ()):
        simulator.script("k1", [Step("slice", stream_body=recording, sizes=cut)])
        answer = await sliced_house.ask(spoken, stream=True)
        assert CREATED.sub(b"", answer.body) == CREATED.sub(b"", whole.body)
    if spoken is Spoken.MESSAGES:
        assert whole.body == recording
