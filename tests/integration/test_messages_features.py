"""Everything the Messages API can do passes the gateway as it is, in both lanes, whole and streamed.

The verbatim lane sends the client's bytes. Where an alias has to be replaced, the envelope is written anew: the value
of ``model`` changes and nothing else.
"""

from collections.abc import AsyncIterator
from enum import Enum

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Step
from tests.support.features.feature import MODEL, Feature
from tests.support.features.table import FEATURES
from tests.support.gateway import CLIENT_KEY
from tests.support.house import Answer, House, Spoken, house, read_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIAS = "an-operators-own-name"
_JSON = {"content-type": "application/json"}
_COUNT_PATH = "/v1/messages/count_tokens"


class Lane(Enum):
    """How a request goes upstream, by the name its model is asked for under."""

    VERBATIM = MODEL
    SPLICED = ALIAS


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def one_key(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one key, with an alias of the operator's."""
    settings = {"MODEL_ALIASES": f"{ALIAS}={MODEL}"}
    async with house(tmp_path_factory.mktemp("features"), settings, keys=("k1",)) as found:
        yield found


@pytest.fixture
def running(one_key: House) -> House:
    """The same without a memory of what was asked."""
    one_key.simulator.reset()
    return one_key


def _headers(feature: Feature) -> dict[str, str]:
    betas = {"anthropic-beta": ",".join(feature.betas)} if feature.betas else {}
    return {"anthropic-version": "2026-10-21", **betas}


def _check_upstream(running: House, feature: Feature, expected: bytes) -> None:
    (received,) = running.simulator.record.requests
    assert received.body == expected
    assert received.header("anthropic-version") == "2026-10-21"
    assert (received.header("anthropic-beta") or "") == ",".join(feature.betas)


@pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name.lower())
@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES.keys())
async def test_a_feature_passes_whole(running: House, feature: Feature, lane: Lane) -> None:
    """Protects every field of a request and of its answer, byte by byte."""
    running.simulator.script("k1", [Step("raw", headers=_JSON, body_bytes=feature.whole())])
    asked = feature.request(lane.value, stream=False)
    answer = await running.send(Spoken.MESSAGES, asked, headers=_headers(feature))
    assert (answer.status, answer.body) == (200, feature.whole())
    assert "x-carousel-dropped" not in answer.headers
    _check_upstream(running, feature, feature.request(MODEL, stream=False))


@pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name.lower())
@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES.keys())
async def test_a_feature_passes_streamed(running: House, feature: Feature, lane: Lane) -> None:
    """Protects every event of a stream, in pieces of a size that fits none of them."""
    running.simulator.script("k1", [Step("slice", stream_body=feature.streamed(), sizes=(61, 7, 300))])
    asked = feature.request(lane.value, stream=True)
    answer = await running.send(Spoken.MESSAGES, asked, headers=_headers(feature))
    assert (answer.status, answer.body, answer.broken_off) == (200, feature.streamed(), False)
    _check_upstream(running, feature, feature.request(MODEL, stream=True))


async def _counted(running: House, body: bytes, headers: dict[str, str]) -> Answer:
    sent = {**_JSON, **headers, "authorization": f"Bearer {CLIENT_KEY}"}
    url = f"{running.server.url}{_COUNT_PATH}?beta=true"
    async with running.session.post(url, data=body, headers=sent) as response:
        return await read_answer(response)


@pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name.lower())
@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES.keys())
async def test_a_feature_is_counted(running: House, feature: Feature, lane: Lane) -> None:
    """Protects ``count_tokens`` from reading anything into what it passes on."""
    told = b'{ "input_tokens":2095, "context_management":{"original_input_tokens":70000}, "x":1.0 }'
    running.simulator.script("k1", [Step("raw", headers=_JSON, body_bytes=told)])
    answer = await _counted(
        running, feature.request(lane.value, stream=False, counting=True), _headers(feature)
    )
    assert (answer.status, answer.body) == (200, told)
    (received,) = running.simulator.record.requests
    assert received.path == _COUNT_PATH
    assert received.body == feature.request(MODEL, stream=False, counting=True)
    _check_upstream(running, feature, received.body)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"anthropic-version": "1999-01-01"}, 'anthropic-version: "1999-01-01" is not a valid version'),
        ({"anthropic-beta": "nothing"}, "Unexpected value(s) `nothing` for the `anthropic-beta` header."),
    ],
    ids=["version", "beta"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_unknown_versions_and_betas_are_for_the_api_to_refuse(
    running: House, headers: dict[str, str], message: str, *, stream: bool
) -> None:
    """Protects clients that match the API's own words, and versions and betas that are newer than this gateway."""
    running.simulator.script("k1", then=Step("status", status=400, message=message))
    feature = FEATURES["a stop sequence"]
    answer = await running.send(Spoken.MESSAGES, feature.request(MODEL, stream=stream), headers=headers)
    assert answer.status == 400
    assert (answer.error.error.type, answer.error.error.message) == ("invalid_request_error", message)
    (received,) = running.simulator.record.requests
    assert {name: received.header(name) for name in headers} == headers


class _Detailed(msgspec.Struct):
    type: str
    message: str
    details: dict[str, object]


class _DetailedError(msgspec.Struct):
    error: _Detailed


_UNSUPPORTED = {"error_code": "thread_unsupported_request", "unsupported": ["mcp_servers", "aurora"]}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("status", "kind", "details"),
    [
        (400, "invalid_request_error", _UNSUPPORTED),
        (404, "not_found_error", {"error_code": "thread_not_found"}),
        (413, "request_too_large", {"error_code": "request_body_too_large_after_decoding", "limit": 1.5}),
        (422, "invalid_request_error", {"error_code": "unheard_of", "deep": {"a": [None]}}),
    ],
)
async def test_the_details_of_a_refusal_are_kept(
    running: House, status: int, kind: str, details: dict[str, object], *, stream: bool
) -> None:
    """Protects the SDKs, which choose the class of an error by its code and act on what else stands there."""
    envelope = {"type": "error", "error": {"type": kind, "message": "No.", "details": details}}
    body = msgspec.json.format(msgspec.json.encode(envelope), indent=2)
    running.simulator.script("k1", then=Step("status", status=status, body_bytes=body))
    feature = FEATURES["a stop sequence"]
    answer = await running.send(Spoken.MESSAGES, feature.request(MODEL, stream=stream))
    assert answer.status == status
    error = msgspec.json.decode(answer.body, type=_DetailedError).error
    assert error == _Detailed(kind, "No.", details)
