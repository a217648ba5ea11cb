"""The official Node SDKs against the real server, as programs their users would write."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import pytest
import pytest_asyncio

from tests.support.node import node_programs, run_node
from tests.support.sdk import ECHO, MODEL, Judged, judged

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("node", "npm")]

SDKS: Final = ("openai", "anthropic")
_T = TypeVar("_T")


class Whole(msgspec.Struct):
    """A whole answer."""

    text: str
    finish: str
    usage: dict[str, object]
    requestID: str  # noqa: N815 - the SDKs' own spelling


class Streamed(msgspec.Struct):
    """A streamed answer, read event by event."""

    text: str
    finishes: list[str]
    usages: int = 0
    kinds: list[str] = []


class Helped(msgspec.Struct):
    """A streamed answer through the SDK's helper: what it makes of it, and the pieces it told on the way."""

    text: str
    joined: str
    deltas: int


class Party(msgspec.Struct):
    """An answer parsed into the client's own type."""

    name: str
    day: str
    guests: list[str]


class ToolsRun(msgspec.Struct):
    """What a runner of tools did: the cities it was asked about, and the last text."""

    calls: list[str]
    text: str


class Models(msgspec.Struct):
    """The models found, and what an alias stands for."""

    ids: list[str]
    alias: str


class Refused(msgspec.Struct):
    """An error as the SDK raises it."""

    cls: str = msgspec.field(name="class")
    status: int = 0
    code: str | None = None
    requestID: str | None = None  # noqa: N815 - the SDKs' own spelling


class Counted(msgspec.Struct):
    """Tokens counted in advance, and used."""

    counted: int
    used: int


@pytest.fixture(scope="module")
def programs() -> Path:
    """Where the Node programs and the SDKs are."""
    return node_programs("node")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("node")) as running:
        yield running


async def asked(programs: Path, judge: Judged, sdk: str, scenario: str, expected: type[_T]) -> _T:
    """Run one scenario with a pool of its own."""
    url = judge.server.url + ("/v1" if sdk == "openai" else "")
    key = judge.pool().client_key
    environment = {"BASE_URL": url, "API_KEY": key, "MODEL": MODEL}
    return await run_node(programs, f"{sdk}.mjs", scenario, expected, **environment)


@pytest.mark.parametrize("sdk", SDKS)
async def test_a_whole_answer_has_what_users_read(programs: Path, judge: Judged, sdk: str) -> None:
    """Protects text, end, usage, and the request id the SDK takes from the headers."""
    answer = await asked(programs, judge, sdk, "whole", Whole)
    assert answer.text == ECHO
    assert answer.finish == ("stop" if sdk == "openai" else "end_turn")
    assert answer.requestID.startswith("req_")
    assert answer.usage["prompt_tokens" if sdk == "openai" else "input_tokens"]


async def test_openais_stream_is_read_chunk_by_chunk(programs: Path, judge: Judged) -> None:
    """Protects the text, one finish reason, and one usage where it was asked for."""
    answer = await asked(programs, judge, "openai", "streamed", Streamed)
    assert (answer.text, answer.finishes, answer.usages) == (ECHO, ["stop"], 1)


async def test_anthropics_stream_is_read_event_by_event(programs: Path, judge: Judged) -> None:
    """Protects the text and the order of events."""
    answer = await asked(programs, judge, "anthropic", "streamed", Streamed)
    assert (answer.text, answer.finishes) == (ECHO, ["end_turn"])
    assert answer.kinds[0] == "message_start"
    assert answer.kinds[-2:] == ["message_delta", "message_stop"]


@pytest.mark.parametrize("sdk", SDKS)
async def test_the_stream_helper_tells_pieces_and_the_whole(programs: Path, judge: Judged, sdk: str) -> None:
    """Protects the SDK's own accumulator, which throws where a stream is out of order."""
    answer = await asked(programs, judge, sdk, "helper", Helped)
    assert answer.text == answer.joined == ECHO
    assert answer.deltas > 1


@pytest.mark.parametrize("sdk", SDKS)
async def test_an_answer_is_parsed_into_the_clients_own_type(programs: Path, judge: Judged, sdk: str) -> None:
    """Protects structured outputs: the schema the SDK makes reaches the model, and its JSON comes back whole."""
    party = await asked(programs, judge, sdk, "parsed", Party)
    assert party == Party("simulated", "simulated", ["simulated"])


@pytest.mark.parametrize("scenario", ["tools", "streamed_tools"])
@pytest.mark.parametrize("sdk", SDKS)
async def test_the_tool_runner_goes_from_call_to_answer(
    programs: Path, judge: Judged, sdk: str, scenario: str
) -> None:
    """Protects the SDK's own loop: it runs the tool, sends the result, and ends with the model's words."""
    ran = await asked(programs, judge, sdk, scenario, ToolsRun)
    assert ran.calls == ["simulated"]
    assert 'The tools returned: "sunny in simulated"' in ran.text


async def test_tokens_are_counted_as_they_are_used(programs: Path, judge: Judged) -> None:
    """Protects ``countTokens``."""
    found = await asked(programs, judge, "anthropic", "tokens", Counted)
    assert found.counted == found.used > 0


@pytest.mark.parametrize("sdk", SDKS)
async def test_models_are_listed_to_the_end_and_found(programs: Path, judge: Judged, sdk: str) -> None:
    """Protects model pickers: Anthropic's SDK follows every page; an alias is found under its target's name."""
    found = await asked(programs, judge, sdk, "models", Models)
    assert MODEL in found.ids
    assert len(found.ids) == len(set(found.ids)) > 5
    assert found.alias == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("sdk", "scenario", "cls", "status", "code"),
    [
        ("openai", "unknown_model", "NotFoundError", 404, "model_not_found"),
        ("openai", "wrong_key", "AuthenticationError", 401, "invalid_api_key"),
        ("openai", "wrong_field", "BadRequestError", 400, None),
        ("anthropic", "unknown_model", "NotFoundError", 404, "not_found_error"),
        ("anthropic", "wrong_key", "AuthenticationError", 401, "authentication_error"),
        ("anthropic", "wrong_field", "BadRequestError", 400, "invalid_request_error"),
    ],
)
async def test_a_refusal_is_the_sdks_own_error(
    programs: Path, judge: Judged, sdk: str, scenario: str, cls: str, status: int, code: str | None
) -> None:
    """Protects programs that tell errors apart by class, status and code, and support that asks for the id."""
    error = await asked(programs, judge, sdk, scenario, Refused)
    assert (error.cls, error.status, error.code) == (cls, status, code)
    assert (error.requestID or "").startswith("req_")
