"""Every cell of the table, seen on the wire: a request that uses the feature goes through the whole house.

What is carried stands in what the upstream was asked, or in the answer; what is dropped stands nowhere and is named;
what is refused is refused by name, and nobody is asked.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

import msgspec
import pytest
import pytest_asyncio

from proxy.capabilities import CELLS, ROWS, Cell, Feature, Front, Verdict
from proxy.credentials import Kind
from proxy.simulator import Step
from tests.support.capabilities.probe import FILE_ID, MODEL, File, Probe
from tests.support.capabilities.probes import PROBES
from tests.support.claude_code import claude_program
from tests.support.gateway import CLIENT_KEY
from tests.support.house import Answer, House, read_answer
from tests.support.inside import house_inside
from tests.support.objects import MULTIPART, fields_of, multipart
from tests.support.tool_calls import calling
from tests.support.web_sessions import COOKIES, session_entry

pytestmark = pytest.mark.asyncio(loop_scope="module")

_KEYS: Final = {
    Kind.ANTHROPIC: "k1",
    Kind.CLAUDE_WEB: COOKIES[0],
    Kind.OPENAI: "other-1",
    Kind.CLAUDE_CODE: "code-1",
}
_PLACES: Final = re.compile(r"\[\d+\]")
_TOLD_FIRST: Final = re.compile(r"^(?:The )?([\w./\[\]]+)")
_AURORA: Final = "aurora"
_ENDPOINTS: Final = frozenset({Feature.COUNT_TOKENS, Feature.FILES, Feature.BATCHES})
_JSON: Final = {"content-type": "application/json"}
_ANSWERS: Final = {
    Kind.ANTHROPIC: {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": [{"type": "text", "text": "I."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    Kind.OPENAI: {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "I."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    },
}


def _entries(kind: Kind, url: str) -> list[Mapping[str, object]]:
    return [_entry(kind, url)]


def _entry(kind: Kind, url: str) -> Mapping[str, object]:
    match kind:
        case Kind.CLAUDE_WEB:
            return session_entry(url, _KEYS[kind], "one")
        case Kind.OPENAI:
            base = f"{url}/v1"
            return {"name": "one", "kind": kind, "base_url": base, "key": _KEYS[kind], "model": "gpt-4o"}
        case Kind.CLAUDE_CODE:
            return {"name": "one", "kind": kind, "token": _KEYS[kind]}
        case Kind.ANTHROPIC:
            return {"name": "one", "kind": kind, "key": _KEYS[kind]}
        case _:
            assert_never(kind)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def houses(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mapping[Kind, House]]:
    """A gateway for each kind, with one credential of it."""
    async with AsyncExitStack() as stack:
        found = {}
        for kind in Kind:
            folder = tmp_path_factory.mktemp(kind.value)
            entered = house_inside(folder, {"AUTO_CACHE": "false"}, partial(_entries, kind))
            found[kind], _ = await stack.enter_async_context(entered)
        yield found


@dataclass(frozen=True, slots=True)
class Case:
    """One cell with its probe."""

    feature: Feature
    front: Front
    kind: Kind

    @property
    def cell(self) -> Cell:
        """What the table says."""
        return CELLS[self.feature, self.front, self.kind]

    @property
    def probe(self) -> Probe:
        """How it is asked for."""
        return PROBES[self.feature]


def _cases(*verdicts: Verdict) -> list[object]:
    return [
        pytest.param(Case(feature, front, kind), id=f"{feature}-{front}-{kind}")
        for (feature, front, kind), cell in CELLS.items()
        if cell.verdict in verdicts
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came back, and the id of the file that was uploaded for it."""

    answer: Answer
    file_id: str = FILE_ID

    def named(self, token: bytes) -> bytes:
        """What shows that the probe's feature went upstream."""
        return token.replace(FILE_ID.encode(), self.file_id.encode())


async def _uploaded(running: House, file: File) -> str:
    form = multipart(file.content, filename=file.name, media_type=file.media_type)
    headers = {"content-type": MULTIPART, "authorization": f"Bearer {CLIENT_KEY}"}
    url = f"{running.server.url}/v1/files"
    async with running.session.post(url, data=form, headers=headers) as response:
        return str(fields_of(await read_answer(response))["id"])


def _answer(kind: Kind) -> Step:
    """What an upstream says that was not told to look at the question; Claude Code always asks for a stream."""
    if kind is Kind.CLAUDE_CODE:
        return Step("slow_bytes", stream_body=calling(MODEL, "tell_time", {}), bytes_per_s=10**6)
    return Step("raw", headers=_JSON, body_bytes=msgspec.json.encode(_ANSWERS[kind]))


async def _asked(running: House, case: Case) -> _Asked:
    if case.kind is Kind.CLAUDE_CODE:
        claude_program()
    probe, simulator = case.probe, running.simulator
    simulator.reset()
    file_id = FILE_ID
    if probe.file is not None and case.kind is Kind.ANTHROPIC:
        file_id = await _uploaded(running, probe.file)
    if case.kind in probe.foreign:
        simulator.script(_KEYS[case.kind], then=_answer(case.kind))
    elif probe.step is not None:
        simulator.script(_KEYS[case.kind], then=probe.step)
    headers = {"content-type": probe.content_type, "authorization": f"Bearer {CLIENT_KEY}"}
    if probe.betas:
        headers["anthropic-beta"] = probe.betas
    url = running.server.url + probe.address(case.front)
    body = probe.body(case.front).replace(FILE_ID.encode(), file_id.encode())
    async with running.session.post(url, data=body, headers=headers) as response:
        return _Asked(await read_answer(response), file_id)


def _upstream(running: House) -> bytes:
    return b"\n".join(one.body for one in running.simulator.record.requests)


def _shows_elsewhere(case: Case) -> bool:
    """Whether the upstream does not hear of it: then a test of its own shows who is asked."""
    return case.feature is Feature.CACHE_KEY and case.cell.verdict is Verdict.EMULATED


def _named(case: Case) -> str:
    """The field under which it is told; for the field nobody knows, the one that was sent."""
    return _AURORA if case.feature is Feature.OTHER_FIELDS else case.cell.field


@pytest.mark.parametrize("case", _cases(Verdict.CARRIED, Verdict.EMULATED))
async def test_what_is_carried_or_emulated_arrives(houses: Mapping[Kind, House], case: Case) -> None:
    """Protects clients from a promise nobody keeps: it stands upstream or in the answer, and nothing is lost."""
    running, probe = houses[case.kind], case.probe
    asked = await _asked(running, case)
    answer = asked.answer
    assert answer.status == 200, answer.body
    assert answer.headers.get("x-carousel-dropped", "") == case.cell.field
    assert probe.evidence(case.kind) or case.front in probe.told or probe.untold or _shows_elsewhere(case)
    assert asked.named(probe.evidence(case.kind)) in _upstream(running)
    assert probe.told.get(case.front, b"") in answer.body
    if probe.untold and case.kind not in probe.foreign:
        assert probe.untold not in answer.body


@pytest.mark.parametrize("case", _cases(Verdict.DROPPED))
async def test_what_is_dropped_is_named_and_sent_nowhere(houses: Mapping[Kind, House], case: Case) -> None:
    """Protects clients from silent losses, and upstreams from fields they do not know."""
    running, probe = houses[case.kind], case.probe
    answer = (await _asked(running, case)).answer
    assert answer.status == 200, answer.body
    named = _PLACES.sub("[]", answer.headers["x-carousel-dropped"]).split(", ")
    assert _named(case) in named
    evidence = {probe.token, probe.evidence(case.kind)} - {b""}
    assert evidence
    assert not any(token in _upstream(running) for token in evidence)


@pytest.mark.parametrize("case", _cases(Verdict.REFUSED))
async def test_what_is_refused_is_refused_by_name(houses: Mapping[Kind, House], case: Case) -> None:
    """Protects clients from an answer to another question; the upstream is not asked at all."""
    running = houses[case.kind]
    answer = (await _asked(running, case)).answer
    expected = 404 if case.feature in _ENDPOINTS else 400
    assert answer.status == expected, answer.body
    error = answer.error.error
    assert answer.headers.get("x-should-retry") != "true"
    # the Messages envelope has no place for a field but the beginning of its message
    told = error.param or _TOLD_FIRST.findall(error.message)[0]
    assert _PLACES.sub("[]", told) == case.cell.field
    assert running.calls() == 0


@pytest.mark.parametrize("feature", Feature)
async def test_every_feature_is_asked_for_wherever_it_can_be(feature: Feature) -> None:
    """Protects the tests above from leaving out a cell."""
    assert set(PROBES[feature].asks) == set(ROWS[feature].fields)
