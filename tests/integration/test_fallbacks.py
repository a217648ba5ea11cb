"""Last resorts: other APIs answer when no Claude credential can, and nobody hears of a failure that was rescued."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy import __version__
from proxy.simulator import Received, Simulator, Step
from tests.support.canaries.marks import GREETING, secret
from tests.support.gateway import gateway
from tests.support.house import Answer, House, Spoken, client, simulated

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLAUDE: Final = ("claude-key-1", "claude-key-2")
FIRST: Final = "fallback-key-1"
SECOND: Final = "fallback-key-2"
MODEL: Final = "gpt-4o"
FORMS: Final = (False, True)
FAST: Final = {
    "POOL_JITTER": "0",
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_BUDGET_MAX": "10000",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
}
# what a request does to the credentials must not outlive it here: each test resets the simulator alone
HARMLESS: Final = {
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "100000",
    "POOL_OVERLOAD_CALLS": "100000",
}
DOWN: Final = Step("status", status=500)


@asynccontextmanager
async def _running(folder: Path, **settings: str) -> AsyncIterator[House]:
    """Two Claude credentials of two organizations, and behind them two other APIs."""
    async with simulated() as simulator:
        chosen = {
            **FAST,
            **HARMLESS,
            "ANTHROPIC_BASE_URL": simulator.url,
            "ANTHROPIC_API_KEYS": ",".join(CLAUDE),
            "FALLBACK_API_URL_1": f"{simulator.url}/v1",
            "FALLBACK_API_KEY_1": FIRST,
            "FALLBACK_API_MODEL_1": MODEL,
            "FALLBACK_API_NAME_2": "second",
            "FALLBACK_API_URL_2": f"{simulator.url}/other/v1/",
            "FALLBACK_API_KEY_2": SECOND,
            "FALLBACK_API_MODEL_2": "example-model",
            **settings,
        }
        async with gateway(folder, chosen) as server, client() as session:
            yield House(server, simulator, session)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def fallback_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One process for all tests whose failures leave no mark on the credentials."""
    async with _running(tmp_path_factory.mktemp("fallbacks")) as running:
        yield running


@pytest.fixture
def running(fallback_house: House) -> House:
    """The same without a memory of what was asked."""
    fallback_house.simulator.reset()
    return fallback_house


def _fail(simulator: Simulator, step: Step, *keys: str) -> None:
    for key in keys:
        simulator.script(key, then=step)


def _asked(running: House) -> list[str]:
    return [one.key for one in running.simulator.record.requests]


def _last(running: House) -> Received:
    return running.simulator.record.requests[-1]


def _text(spoken: Spoken, answer: Answer, *, stream: bool) -> str:
    """The text of an answer, whose end has to be its dialect's own."""
    if not stream:
        return _whole_text(spoken, answer.body)
    frames = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    if spoken is Spoken.CHAT:
        assert frames.pop() == b"[DONE]"
    else:
        assert msgspec.json.decode(frames[-1]) == {"type": "message_stop"}
    return "".join(_delta(spoken, msgspec.json.decode(frame)) for frame in frames)


def _whole_text(spoken: Spoken, body: bytes) -> str:
    found = msgspec.json.decode(body)
    text = found["choices"][0]["message"]["content"] if spoken is Spoken.CHAT else found["content"][0]["text"]
    return str(text)


def _delta(spoken: Spoken, frame: dict[str, dict[str, str]]) -> str:
    if spoken is Spoken.MESSAGES:
        return frame.get("delta", {}).get("text", "")
    (choice,) = msgspec.convert(frame["choices"], list[dict[str, object]])
    return msgspec.convert(choice["delta"], dict[str, str | None]).get("content") or ""


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_healthy_pool_never_asks_another_api(running: House, spoken: Spoken, *, stream: bool) -> None:
    """Protects prompts from going to another provider while Claude answers."""
    for _ in range(4):
        assert (await running.ask(spoken, stream=stream)).headers["x-carousel-credential"].startswith("api-")
    assert set(_asked(running)) == set(CLAUDE)


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_another_api_answers_when_claude_is_down(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Protects clients of both dialects: the answer is whole, in their own dialect, and says who gave it."""
    _fail(running.simulator, DOWN, *CLAUDE)
    answer = await running.ask(spoken, stream=stream, text="Who is there?")
    assert answer.status == 200
    assert _text(spoken, answer, stream=stream).startswith('You said: "Who is there?"')
    assert answer.headers["x-carousel-credential"] == "fallback-1"
    assert answer.headers["x-carousel-model"] == MODEL
    assert answer.headers["x-carousel-attempts"] == "3"
    assert (_asked(running)[-1], len(_asked(running))) == (FIRST, 3)
    sent = msgspec.json.decode(_last(running).body)
    assert (sent["model"], _last(running).path) == (MODEL, "/v1/chat/completions")


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_the_second_answers_when_the_first_is_down_too(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the order of last resorts, one attempt each, whatever becomes of the first."""
    _fail(running.simulator, DOWN, *CLAUDE)
    running.simulator.script(FIRST, [DOWN])
    answer = await running.ask(spoken, stream=stream)
    assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "second")
    assert _asked(running)[-2:] == [FIRST, SECOND]
    assert _last(running).path == "/other/v1/chat/completions"
    assert msgspec.json.decode(_last(running).body)["model"] == "example-model"
    assert _text(spoken, answer, stream=stream)


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_when_everything_is_down_the_client_hears_what_claude_said(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the client's answer: one error, in its own envelope, after each last resort was asked once."""
    _fail(running.simulator, DOWN, *CLAUDE)
    _fail(running.simulator, Step("status", status=503), FIRST, SECOND)
    answer = await running.ask(spoken, stream=stream)
    assert (answer.status, answer.error.error.type) == (
        502,
        "server_error" if spoken is Spoken.CHAT else "api_error",
    )
    assert _asked(running)[-2:] == [FIRST, SECOND]
    assert running.calls(FIRST, SECOND) == 2
    assert not any(key.encode() in answer.body for key in (*CLAUDE, FIRST, SECOND))


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_all_limits_reached_are_rescued_and_told_only_where_nobody_rescues(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects clients of a pool at its limits: answered meanwhile, and told the pool's own time if that fails."""
    async with _running(tmp_path) as running:
        _fail(running.simulator, Step("status", status=429, headers={"retry-after": "30"}), *CLAUDE)
        rescued = await running.ask(spoken, stream=stream)
        assert (rescued.status, rescued.headers["x-carousel-credential"]) == (200, "fallback-1")
        assert rescued.headers["x-carousel-attempts"] == "3"
        again = await running.ask(spoken, stream=stream)
        assert (again.headers["x-carousel-credential"], again.headers["x-carousel-attempts"]) == (
            "fallback-1",
            "1",
        )
        assert running.calls(*CLAUDE) == 2
        _fail(running.simulator, DOWN, FIRST, SECOND)
        told = await running.ask(spoken, stream=stream)
        assert (told.status, told.error.error.type) == (429, "rate_limit_error")
        assert 1 <= int(told.headers["retry-after"]) <= 30
        assert (await running.idle())["fallback-1"].failed == 1


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_clients_mistake_goes_to_no_other_api(running: House, spoken: Spoken) -> None:
    """Protects prompts that Claude has refused, and their senders' money."""
    _fail(running.simulator, Step("status", status=400, message="no"), *CLAUDE)
    answer = await running.ask(spoken)
    assert (answer.status, answer.error.error.message) == (400, "no")
    assert running.calls(FIRST, SECOND) == 0


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_no_secret_or_header_of_one_upstream_reaches_another(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Protects keys, betas and whoever asked: another API gets its own key and the request, and nothing else."""
    _fail(running.simulator, DOWN, *CLAUDE, FIRST)
    body = {
        "model": "sonnet",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        "max_tokens": 9,
    }
    headers = {
        "anthropic-beta": "context-1m-2025-08-07",
        "anthropic-version": "2023-06-01",
        "cookie": "session=secret",
        "openai-organization": "org-secret",
        "x-forwarded-for": "198.51.100.7",
        "x-stainless-lang": "python",
        "idempotency-key": "once",
    }
    answer = await running.send(spoken, msgspec.json.encode(body), headers=headers)
    assert answer.status == 200
    assert not {name.lower() for name in answer.headers} & {"openai-organization", "set-cookie"}
    seen = {one.key: one for one in running.simulator.record.requests}
    ours = {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"}
    for key in (FIRST, SECOND):
        assert {name for name, _ in seen[key].headers} == {*ours, "authorization"}
        assert seen[key].header("authorization") == f"Bearer {secret(key)}"
        assert seen[key].header("user-agent") == f"carousel/{__version__}"
    secrets = {*CLAUDE, FIRST, SECOND}
    for key, one in seen.items():
        text = f"{one.headers} {one.body!r}"
        assert [other for other in secrets - {key} if other in text] == []


async def test_a_chat_stream_passes_as_it_came_and_its_usage_is_kept_from_who_did_not_ask(
    running: House,
) -> None:
    """Protects the frames of a client of the same dialect, and clients that trip over a chunk without a choice."""
    _fail(running.simulator, DOWN, *CLAUDE)
    plain = await running.ask(Spoken.CHAT, stream=True)
    assert msgspec.json.decode(_last(running).body)["stream_options"] == {"include_usage": True}
    body = msgspec.json.encode(
        {
            "model": "sonnet",
            "messages": [{"role": "user", "content": GREETING}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    asked = await running.send(Spoken.CHAT, body)
    assert b'"choices":[]' not in plain.body
    assert asked.body.count(b'"choices":[]') == 1
    kept = [frame for frame in asked.body.split(b"\n\n") if b'"choices":[]' not in frame]
    assert len(kept) == len(plain.body.split(b"\n\n"))


async def test_a_messages_client_is_told_what_could_not_go_along(running: House) -> None:
    """Protects clients from believing that marks, thinking and documents reached the model."""
    _fail(running.simulator, DOWN, *CLAUDE)
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4096,
        "top_k": 5,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
                    {"type": "text", "text": "Go on."},
                ],
            },
        ],
    }
    answer = await running.send(Spoken.MESSAGES, msgspec.json.encode(body))
    assert answer.status == 200
    assert answer.headers["x-carousel-dropped"] == "messages[2].content[0], system[0].cache_control, top_k"
    sent = msgspec.json.decode(_last(running).body)
    assert sent["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Go on."},
    ]


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize(
    "step",
    [
        Step("cut_at_byte", at_byte=700, how="close"),
        Step("cut_at_byte", at_byte=700, how="end"),
        Step("error_event_mid", type="server_error"),
    ],
    ids=["closed", "ended", "error"],
)
async def test_a_broken_stream_of_another_api_ends_in_an_error_frame(
    running: House, spoken: Spoken, step: Step
) -> None:
    """Protects clients from taking half an answer for a whole one: no finish of its own, no second attempt."""
    _fail(running.simulator, DOWN, *CLAUDE)
    running.simulator.script(FIRST, [step])
    answer = await running.ask(spoken, stream=True, text="one two three four five six")
    assert (answer.status, answer.broken_off) == (200, True)
    assert answer.headers["x-carousel-credential"] == "fallback-1"
    assert answer.body.rstrip().rpartition(b"data: ")[2].count(b'"error"') >= 1
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body
    assert running.calls(SECOND) == 0


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize(
    "step",
    [
        Step("empty_stream"),
        Step("error_event_first", type="server_error"),
        Step("error_event_first", type="rate_limit_error"),
        Step("close_before_event"),
        Step("wrong_content_type"),
        Step("raw", headers={"content-type": "text/event-stream"}, body=": ping\n\ndata: {broken\n\n"),
    ],
    ids=lambda step: f"{step.do} {step.type}".strip(),
)
async def test_a_stream_is_held_until_it_is_real(tmp_path: Path, spoken: Spoken, step: Step) -> None:
    """Protects the next last resort's chance: what fails before its first event was never seen by the client."""
    async with _running(tmp_path) as running:
        _fail(running.simulator, DOWN, *CLAUDE)
        running.simulator.script(FIRST, [step])
        answer = await running.ask(spoken, stream=True)
        assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "second")
        assert _text(spoken, answer, stream=True)


async def test_the_log_says_who_answered(tmp_path: Path) -> None:
    """Protects operators, who have to see that another API was asked, for which model, and never a key."""
    async with _running(tmp_path) as running:
        _fail(running.simulator, DOWN, *CLAUDE)
        answer = await running.ask(Spoken.MESSAGES)
        assert answer.status == 200
        await running.server.stop()  # type: ignore[attr-defined]  # it is a process of its own
        output = "".join(running.server.output)  # type: ignore[attr-defined]  # as above
        line = next(line for line in output.splitlines() if '"event":"request"' in line)
        told = msgspec.json.decode(line)
        assert (told["credential"], told["model"], told["attempts"]) == ("fallback-1", MODEL, 3)
        assert [entry.partition(":")[0] for entry in told["failed"]] == ["api-1", "api-2"]
        assert not any(key in output for key in (*CLAUDE, FIRST, SECOND))


async def test_options_only_claude_code_knows_go_to_no_fallback_unless_the_operator_says_so(
    tmp_path: Path,
) -> None:
    """Protects clients from an answer to another request than theirs."""
    body = {
        "model": "sonnet",
        "messages": [{"role": "user", "content": "Hi"}],
        "claude_options": {"tools": ["Read"]},
    }
    async with _running(tmp_path) as running:
        _fail(running.simulator, DOWN, *CLAUDE)
        answer = await running.send(Spoken.CHAT, msgspec.json.encode(body))
        assert (answer.status, answer.error.error.param) == (503, "claude_options.tools")
        harmless = await running.send(
            Spoken.CHAT, msgspec.json.encode(body | {"claude_options": {"tools": []}})
        )
        assert harmless.headers["x-carousel-dropped"] == "claude_options"
        assert (await running.idle())["fallback-1"].failed == 0
    (tmp_path / "second").mkdir()
    async with _running(tmp_path / "second", FALLBACK_DROPS_CLAUDE_OPTIONS="true") as running:
        _fail(running.simulator, DOWN, *CLAUDE)
        answer = await running.send(Spoken.CHAT, msgspec.json.encode(body))
        assert (answer.status, answer.headers["x-carousel-dropped"]) == (200, "claude_options")


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("spoken", Spoken)
async def test_another_model_answers_where_the_operator_has_named_one(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects clients of a model at its limits: answered by the next in the chain, and told so."""
    async with simulated() as simulator:
        settings = {
            **FAST,
            "ANTHROPIC_BASE_URL": simulator.url,
            "ANTHROPIC_API_KEYS": CLAUDE[0],
            "MODEL_FALLBACKS": "claude-opus-*=sonnet,claude-opus-*=haiku",
        }
        async with gateway(tmp_path, settings) as server, client() as session:
            running = House(server, simulator, session)
            limited = Step("status", status=429, headers={"retry-after": "30"})
            simulator.script(CLAUDE[0], [limited])
            for attempts in ("2", "1"):
                answer = await running.ask(spoken, stream=stream, model="opus")
                assert (answer.status, answer.headers["x-carousel-attempts"]) == (200, attempts)
                assert answer.headers["x-carousel-model"] == "claude-sonnet-5-5"
                assert _text(spoken, answer, stream=stream)
            simulator.script(CLAUDE[0], [limited])
            assert (await running.ask(spoken, stream=stream, model="opus")).headers[
                "x-carousel-model"
            ] == "claude-haiku-5-5"
            simulator.script(CLAUDE[0], [limited])
            told = await running.ask(spoken, stream=stream, model="opus")
            assert (told.status, told.error.error.type) == (429, "rate_limit_error")
