"""What goes wrong upstream, as the code of our users sees it: each SDK's own exceptions, and never half an answer.

Sources: the error pages of OpenAI's and Anthropic's API documentation, and the classes of their Python SDKs.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import anthropic
import openai
import pytest
import pytest_asyncio
from anthropic.types import RawContentBlockDeltaEvent, RawMessageStopEvent, TextDelta
from openai.types.chat import ChatCompletionChunk

from proxy.simulator import Step
from tests.support.sdk import ECHO, MODEL, AnthropicUser, Judged, OpenAIUser, SmallPool, judged

pytestmark = pytest.mark.asyncio(loop_scope="module")

Sdk = Literal["openai", "anthropic"]
SDKS: Final[tuple[Sdk, ...]] = ("openai", "anthropic")


@dataclass(frozen=True, slots=True)
class Raised:
    """What a fault becomes: the SDK's class, the status, ``error.type``, and the two headers about retries."""

    cls: type[Exception]
    status: int
    type: str
    retry_after: str | None = None
    should_retry: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A way a call can fail before its client has seen anything; without a step the upstream refuses connections."""

    step: Step | None
    openai: Raised
    anthropic: Raised


def status(number: int, *, message: str = "", retry_after: str = "") -> Step:
    """An answer with an error status."""
    headers = {"retry-after": retry_after} if retry_after else {}
    return Step("status", status=number, message=message, headers=headers)


O_FAILED: Final = Raised(openai.InternalServerError, 502, "server_error", should_retry="false")
A_FAILED: Final = Raised(anthropic.InternalServerError, 502, "api_error", should_retry="false")
O_BUSY: Final = Raised(openai.InternalServerError, 503, "service_unavailable_error", retry_after="5")
A_BUSY: Final = Raised(anthropic.OverloadedError, 529, "overloaded_error", retry_after="5")
A_RESTING: Final = Raised(
    anthropic.ServiceUnavailableError, 503, "overloaded_error", retry_after="60", should_retry="false"
)
O_LIMITED: Final = Raised(openai.RateLimitError, 429, "rate_limit_error")
A_LIMITED: Final = Raised(anthropic.RateLimitError, 429, "rate_limit_error")
O_LATE: Final = Raised(openai.InternalServerError, 504, "server_error", should_retry="false")
A_LATE: Final = Raised(anthropic.GatewayTimeoutError, 504, "timeout_error", should_retry="false")
O_INVALID: Final = Raised(openai.BadRequestError, 400, "invalid_request_error")
A_INVALID: Final = Raised(anthropic.BadRequestError, 400, "invalid_request_error")

FAULTS: Final = {
    "bad request": Fault(status(400, message="top_k: must not be seen"), O_INVALID, A_INVALID),
    "key refused": Fault(status(401), replace(O_BUSY, retry_after="60", should_retry="false"), A_RESTING),
    "not permitted": Fault(
        status(403),
        Raised(openai.PermissionDeniedError, 403, "permission_error"),
        Raised(anthropic.PermissionDeniedError, 403, "permission_error"),
    ),
    "no such model": Fault(
        status(404, message=f"model: {MODEL}"),
        Raised(openai.NotFoundError, 404, "invalid_request_error"),
        Raised(anthropic.NotFoundError, 404, "not_found_error"),
    ),
    "too large": Fault(
        status(413),
        Raised(openai.APIStatusError, 413, "invalid_request_error"),
        Raised(anthropic.ContentTooLargeError, 413, "request_too_large"),
    ),
    "limited for a minute": Fault(
        status(429, retry_after="60"),
        replace(O_LIMITED, retry_after="60"),
        replace(A_LIMITED, retry_after="60"),
    ),
    "limited for five minutes": Fault(
        status(429, retry_after="300"),
        replace(O_LIMITED, retry_after="300", should_retry="false"),
        replace(A_LIMITED, retry_after="300", should_retry="false"),
    ),
    "limited for an unknown time": Fault(
        status(429), replace(O_LIMITED, retry_after="5"), replace(A_LIMITED, retry_after="5")
    ),
    "broken": Fault(status(500), O_FAILED, A_FAILED),
    "unavailable": Fault(
        status(503),
        replace(O_FAILED, status=503, type="service_unavailable_error"),
        replace(A_FAILED, cls=anthropic.ServiceUnavailableError, status=503),
    ),
    "overloaded": Fault(status(529), O_BUSY, A_BUSY),
    "connection refused": Fault(None, O_FAILED, A_FAILED),
    "reset before headers": Fault(Step("reset_before_headers"), O_FAILED, A_FAILED),
    "reset before the first event": Fault(Step("reset_before_event"), O_FAILED, A_FAILED),
    "error event first": Fault(Step("error_event_first"), O_BUSY, A_BUSY),
}
SILENT: Final = Fault(Step("stall_before_event"), O_LATE, A_LATE)


@dataclass(frozen=True, slots=True)
class Cut:
    """A way a stream can end before its end, and what its error says: OpenAI's code, Anthropic's type."""

    step: Step
    code: str
    type: str


CUTS: Final = {
    "reset": Cut(Step("reset_mid_stream", after=5), "upstream_error", "api_error"),
    "ended without message_stop": Cut(Step("end_without_stop"), "upstream_error", "api_error"),
    "overloaded": Cut(Step("error_event_mid", after=5), "server_is_overloaded", "overloaded_error"),
    "error event": Cut(Step("error_event_mid", after=5, type="api_error"), "upstream_error", "api_error"),
}
STALLED: Final = Cut(Step("stall_mid", after=5), "timeout", "timeout_error")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("faults")) as running:
        yield running


def user_of(
    judge: Judged, pool: SmallPool, sdk: Sdk, *, sync: bool, max_retries: int = 0
) -> OpenAIUser | AnthropicUser:
    """Somebody who asks a pool with one of the SDKs."""
    if sdk == "openai":
        return judge.openai(pool, sync=sync, max_retries=max_retries)
    return judge.anthropic(pool, sync=sync, max_retries=max_retries)


async def failed(judge: Judged, fault: Fault, sdk: Sdk, *, sync: bool, streamed: bool) -> Raised:
    """The error a user gets whose whole pool has a fault; nothing of an answer may have come before it."""
    pool = judge.pool(then=fault.step) if fault.step is not None else judge.unreachable
    user = user_of(judge, pool, sdk, sync=sync)
    items: list[object] = []
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        await (user.streams(items) if streamed else user.asks())
    error = caught.value
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    assert items == []
    assert (error.request_id or "").startswith("req_")
    if fault.step is not None and fault.step.status == 400:
        assert fault.step.message in error.message
    headers = error.response.headers
    return Raised(
        type(error),
        error.status_code,
        error.type or "",
        headers.get("retry-after"),
        headers.get("x-should-retry"),
    )


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_raises_the_class_the_sdk_documents(
    judge: Judged, name: str, sdk: Sdk, sync: bool, streamed: bool
) -> None:
    """Protects the ``except`` clauses of our users, and how long their clients wait before they ask again."""
    fault = FAULTS[name]
    expected = fault.openai if sdk == "openai" else fault.anthropic
    assert await failed(judge, fault, sdk, sync=sync, streamed=streamed) == expected


async def test_silence_becomes_a_time_out_that_is_not_asked_for_again(judge: Judged) -> None:
    """Protects callers from waiting for ever, and from waiting three times over."""
    ways = [(sdk, sync, streamed) for sdk in SDKS for sync in (True, False) for streamed in (True, False)]
    got = await asyncio.gather(
        *(failed(judge, SILENT, sdk, sync=sync, streamed=streamed) for sdk, sync, streamed in ways)
    )
    assert got == [SILENT.openai if sdk == "openai" else SILENT.anthropic for sdk, _, _ in ways]


def chunk_of(item: object) -> object:
    """What came over the wire, out of the event a helper of the OpenAI SDK makes of it."""
    return getattr(item, "chunk", item)


def text_so_far(items: list[object]) -> str:
    """The text in the chunks or events of either SDK; what helpers add to them is passed over."""
    texts: list[str] = []
    for item in map(chunk_of, items):
        match item:
            case ChatCompletionChunk(choices=[choice]):
                texts.append(choice.delta.content or "")
            case RawContentBlockDeltaEvent(delta=TextDelta(text=text)):
                texts.append(text)
            case _:
                pass
    return "".join(texts)


def looks_finished(items: list[object]) -> bool:
    """Whether a client could take what came for a whole answer."""
    for item in map(chunk_of, items):
        match item:
            case ChatCompletionChunk(choices=[choice]) if choice.finish_reason is not None:
                return True
            case RawMessageStopEvent():
                return True
            case _:
                pass
    return False


async def interrupted(judge: Judged, cut: Cut, sdk: Sdk, *, sync: bool, through_helper: bool) -> None:
    """Read a stream that is cut, and check that its reader cannot miss it."""
    pool = judge.pool(then=cut.step)
    user = user_of(judge, pool, sdk, sync=sync)
    items: list[object] = []
    with pytest.raises((openai.APIError, anthropic.APIStatusError)) as caught:
        await (user.is_helped(items) if through_helper else user.streams(items))
    error = caught.value
    if isinstance(error, openai.APIError):
        assert type(error) is openai.APIError
        assert error.code == cut.code
    else:
        assert isinstance(error, anthropic.APIStatusError)
        assert error.type == cut.type
    assert judge.calls(pool) == 1
    assert text_so_far(items)
    assert ECHO.startswith(text_so_far(items))
    assert not looks_finished(items)


@pytest.mark.parametrize("through_helper", [False, True], ids=["plain", "helper"])
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("name", CUTS)
async def test_a_cut_stream_raises_keeps_what_came_and_never_looks_finished(
    judge: Judged, name: str, sdk: Sdk, sync: bool, through_helper: bool
) -> None:
    """Protects against half an answer that passes for a whole one, and against a second attempt behind it."""
    await interrupted(judge, CUTS[name], sdk, sync=sync, through_helper=through_helper)


async def test_a_stalled_stream_is_cut_after_its_limit(judge: Judged) -> None:
    """Protects readers from an upstream that stops in the middle and keeps its connection open."""
    await asyncio.gather(
        *(
            interrupted(judge, STALLED, sdk, sync=sync, through_helper=through_helper)
            for sdk in SDKS
            for sync in (True, False)
            for through_helper in (True, False)
        )
    )


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("sdk", SDKS)
async def test_the_retries_of_an_sdk_do_not_multiply_ours(judge: Judged, sdk: Sdk, sync: bool) -> None:
    """Protects a failing upstream from nine calls for one: once we have tried again, the SDK is told not to."""
    pool = judge.pool(then=FAULTS["broken"].step)
    user = user_of(judge, pool, sdk, sync=sync, max_retries=2)
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
        await user.asks()
    assert 1 < judge.calls(pool) <= 3
