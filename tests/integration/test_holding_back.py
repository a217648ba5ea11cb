"""What a client gets, and when, while nothing real has come from upstream yet, and while nothing comes any more."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from proxy.simulator import Step
from proxy.simulator.faults.told import TIMED_OUT, Told
from tests.support.house import MODEL, Answer, House, Spoken, body_of, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOLD_BACK_S = 0.2
LONG_AFTER_S = 4 * HOLD_BACK_S
KEEP_ALIVES = {Spoken.MESSAGES: b'event: ping\ndata: {"type": "ping"}\n\n', Spoken.CHAT: b": ping\n\n"}
ENDS = {
    Spoken.MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    Spoken.CHAT: b"data: [DONE]\n\n",
}
PINGS_ALONE = Step(
    "raw",
    headers={"content-type": "text/event-stream"},
    body=': hello\n\nevent: ping\ndata: {"type": "ping"}\n\n',
)
COMMON = {
    "RELAY_HOLD_BACK_S": str(HOLD_BACK_S),
    "RELAY_KEEP_ALIVE_S": "1",
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "100000",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def patient_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Two keys, a short hold-back, and all the patience with the upstream there is by default."""
    async with house(tmp_path_factory.mktemp("patient"), COMMON, keys=("k1", "k2")) as running:
        yield running


@pytest.fixture
def patient(patient_house: House) -> House:
    """The same without a memory of what was asked."""
    patient_house.simulator.reset()
    return patient_house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hasty_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The same, with a second of patience."""
    settings = {**COMMON, "RELAY_FIRST_EVENT_TIMEOUT_S": "1", "RELAY_UNARY_TIMEOUT_S": "1"}
    async with house(tmp_path_factory.mktemp("hasty"), settings, keys=("k1", "k2")) as running:
        yield running


@pytest.fixture
def hasty(hasty_house: House) -> House:
    """The same without a memory of what was asked."""
    hasty_house.simulator.reset()
    return hasty_house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def reserved_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The same as the hasty one, with a hold-back that is never over."""
    settings = {**COMMON, "RELAY_FIRST_EVENT_TIMEOUT_S": "1", "RELAY_HOLD_BACK_S": "300"}
    async with house(tmp_path_factory.mktemp("reserved"), settings, keys=("k1", "k2")) as running:
        yield running


@pytest.fixture
def reserved(reserved_house: House) -> House:
    """The same without a memory of what was asked."""
    reserved_house.simulator.reset()
    return reserved_house


def _all_keys(running: House, step: Step) -> None:
    running.simulator.script("*", then=step)


async def _both(running: House, *, stream: bool, model: str = MODEL) -> dict[Spoken, Answer]:
    """The same question in both dialects at once."""
    asked = [running.ask(spoken, stream=stream, model=model) for spoken in Spoken]
    return dict(zip(Spoken, await asyncio.gather(*asked), strict=True))


def _split_keep_alives(answer: Answer, spoken: Spoken) -> tuple[int, bytes]:
    """How many keep-alives stand before the answer, and the answer."""
    keep_alive, body, count = KEEP_ALIVES[spoken], answer.body, 0
    while body.startswith(keep_alive):
        body = body.removeprefix(keep_alive)
        count += 1
    return count, body


@pytest.mark.parametrize(
    "step", [Step("stall_before_headers"), Step("stall_before_event")], ids=lambda step: step.do
)
async def test_headers_and_keep_alives_come_before_the_first_event(patient: House, step: Step) -> None:
    """A client is not left without a sign of life: the upstream says nothing at all here, for ever."""
    _all_keys(patient, step)

    async def listen(spoken: Spoken) -> bytes:
        async with patient.opened(spoken, body_of(spoken, stream=True)) as response:
            assert response.status == 200
            assert response.headers["x-carousel-attempts"] == "1"
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            heard = await response.content.readexactly(2 * len(KEEP_ALIVES[spoken]))
            response.close()
            return heard

    heard = await asyncio.gather(*[listen(spoken) for spoken in Spoken])
    assert heard == [2 * KEEP_ALIVES[spoken] for spoken in Spoken]
    assert patient.calls() == 2
    await patient.idle()


async def test_a_late_answer_follows_its_keep_alives_whole(patient: House) -> None:
    """The early headers take nothing away from the answer, and name the credential that gives it."""
    _all_keys(patient, Step("delay", seconds=LONG_AFTER_S))
    for spoken in Spoken:
        patient.simulator.record.clear()
        answer = await patient.ask(spoken, stream=True)
        kept_alive, rest = _split_keep_alives(answer, spoken)
        assert kept_alive >= 1
        assert rest.startswith((b"event: message_start\n", b'data: {"id":'))
        assert rest.endswith(ENDS[spoken])
        key = {"api-1": "k1", "api-2": "k2"}[answer.headers["x-carousel-credential"]]
        assert patient.simulator.record.requests_per_key == {key: 1}


@pytest.mark.parametrize(
    ("fault", "model"),
    [
        (Step("reset_before_headers"), MODEL),
        (Step("status", status=429), "claude-haiku-5-5"),
        (Step("empty_stream"), MODEL),
        (Step("status", status=529), MODEL),
    ],
    ids=["reset", "limit", "empty", "overloaded"],
)
async def test_a_fault_after_the_early_headers_is_an_error_frame_and_the_end(
    patient: House, fault: Step, model: str
) -> None:
    """The headers have named the credential, so no other one is asked, whatever the fault."""
    _all_keys(patient, Step("delay", seconds=LONG_AFTER_S, next=fault))
    for spoken, answer in (await _both(patient, stream=True, model=model)).items():
        assert (answer.status, answer.headers["x-carousel-attempts"]) == (200, "1")
        kept_alive, rest = _split_keep_alives(answer, spoken)
        assert kept_alive >= 1
        assert rest.count(b"\n\n") == 1
        assert answer.broken_off
        assert answer.last_frame_error.error.message
        assert rest.startswith(b"event: error\n" if spoken is Spoken.MESSAGES else b'data: {"error":')
    assert patient.calls() == 2


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize("fault", [Step("reset_before_event"), PINGS_ALONE], ids=["reset", "pings alone"])
async def test_a_fault_within_the_hold_back_is_made_good(
    reserved: House, spoken: Spoken, fault: Step
) -> None:
    """Comments and pings of the upstream commit to nothing: until then another credential answers."""
    await reserved.ask(spoken)
    for key in ("k1", "k2"):
        reserved.simulator.script(key, [fault] if reserved.calls(key) == 0 else [])
    reserved.simulator.record.clear()
    answer = await reserved.ask(spoken, stream=True)
    assert (answer.status, answer.headers["x-carousel-attempts"]) == (200, "2")
    assert reserved.simulator.record.requests_per_key == {"k1": 1, "k2": 1}
    assert answer.body.endswith(ENDS[spoken])


async def test_silence_in_mid_answer_is_bridged_between_events(patient: House) -> None:
    """Keep-alives stand between whole events, and taken out they leave the answer as it was."""
    _all_keys(patient, Step("success", text="one two three"))
    plain = await _both(patient, stream=True)
    _all_keys(patient, Step("stall_mid", text="one two three", seconds=3))
    for spoken, answer in (await _both(patient, stream=True)).items():
        keep_alive = KEEP_ALIVES[spoken]
        assert answer.body.count(keep_alive) >= 2
        assert not answer.body.startswith(keep_alive)
        bridged = [frame for frame in answer.body.split(b"\n\n") if frame + b"\n\n" != keep_alive]
        assert len(bridged) == len(plain[spoken].body.split(b"\n\n"))
        assert answer.body.endswith(ENDS[spoken])
    assert patient.calls() == 4


async def test_a_unary_answer_that_fails_late_can_still_be_tried_again(patient: House) -> None:
    """However late it is, nothing was sent yet, so that another credential answers and a status can be given."""
    late = Step("delay", seconds=LONG_AFTER_S, next=Step("reset_before_event"))
    for key in ("k1", "k2"):
        patient.simulator.script(key, then=late)
    for answer in (await _both(patient, stream=False)).values():
        assert (answer.status, answer.headers["x-carousel-attempts"]) == (502, "2")
        assert answer.error.error.message
    assert patient.calls() == 4


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_unary_client_gets_nothing_before_the_whole_answer(patient: House, spoken: Spoken) -> None:
    """There is no early header: what is silent for streams' hold-back and longer stays silent."""
    _all_keys(patient, Step("stall_before_event"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(LONG_AFTER_S), patient.opened(spoken, body_of(spoken, stream=False)):
            pytest.fail("headers came before the answer")
    await patient.idle()


@pytest.mark.parametrize(
    "step",
    [Step("stall_before_headers"), Step("stall_before_event"), Step("pings_only", ping_every_s=0.1)],
    ids=lambda step: step.do,
)
async def test_no_first_event_in_time_is_a_time_out_in_the_clients_words(hasty: House, step: Step) -> None:
    """After the early headers it is an error frame; pings of the upstream are no event."""
    _all_keys(hasty, step)
    for spoken, answer in (await _both(hasty, stream=True)).items():
        error = answer.last_frame_error.error
        expected = TIMED_OUT[spoken]
        assert (answer.status, error.type, error.code) == (200, expected.type, expected.code)
        assert ENDS[spoken] not in answer.body
    assert hasty.calls() == 2
    await hasty.idle()


async def test_a_unary_answer_that_takes_too_long_is_a_504(hasty: House) -> None:
    """A time-out is told as one, and the places are free again."""
    _all_keys(hasty, Step("stall_before_headers"))
    for spoken, answer in (await _both(hasty, stream=False)).items():
        expected = TIMED_OUT[spoken]
        assert (answer.status, answer.error.error.type) == (expected.status, expected.type)
    await hasty.idle()


async def test_a_time_out_before_any_header_is_a_504(reserved: House) -> None:
    """With a hold-back longer than our patience the client gets a status, not a stream."""
    _all_keys(reserved, Step("stall_before_event"))
    for spoken, answer in (await _both(reserved, stream=True)).items():
        error = answer.error.error
        assert Told(answer.status, error.type, error.code) == TIMED_OUT[spoken]
        assert answer.headers["x-carousel-attempts"] == "2"
    assert reserved.calls() == 4
