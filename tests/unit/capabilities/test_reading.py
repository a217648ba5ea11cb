"""What a request asks for is found in it, in every dialect, by the same probes that go through the house."""

import msgspec
import pytest

from proxy.capabilities import CELLS, ROWS, Feature, Front, Verdict, features_of, losses
from proxy.credentials import Kind
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.common import Dialect, Target
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.errors import InvalidRequest
from tests.support.capabilities.probes import PROBES
from tests.unit.dispatch.building import CATALOG

_DIALECTS: dict[Front, Dialect] = {
    Front.MESSAGES: AnthropicDialect(),
    Front.CHAT: OpenAIChatDialect(),
    Front.TEXT: OpenAITextDialect(),
}
_ELSEWHERE = {Feature.COUNT_TOKENS, Feature.FILES, Feature.BATCHES, Feature.THREADS}
_KINDS = (Kind.ANTHROPIC, Kind.CLAUDE_WEB, Kind.OPENAI)


def _read(feature: Feature, front: Front) -> frozenset[Feature]:
    probe = PROBES[feature]
    target = Target(facts=CATALOG.facts(probe.model), model=probe.model)
    translated = _DIALECTS[front].decode_request(probe.body(front), target)
    return features_of(translated, front, ("conversation_id",))


def _verdicts(feature: Feature, front: Front) -> dict[Kind, Verdict]:
    return {kind: CELLS[feature, front, kind].verdict for kind in _KINDS}


_UNEQUAL = [
    pytest.param(feature, front, id=f"{feature}-{front}")
    for feature in Feature
    if feature not in _ELSEWHERE
    for front in ROWS[feature].fields
    if {Verdict.DROPPED, Verdict.REFUSED} & set(_verdicts(feature, front).values())
]


@pytest.mark.parametrize(("feature", "front"), _UNEQUAL)
def test_kinds_that_lose_a_feature_lose_what_is_read(feature: Feature, front: Front) -> None:
    """Protects routing: whatever cell says that a feature is lost, its request is known to lose something there."""
    verdicts = _verdicts(feature, front)
    if verdicts[Kind.ANTHROPIC] is Verdict.REFUSED:
        with pytest.raises(InvalidRequest):
            _read(feature, front)
        return
    found = dict(losses(_read(feature, front), front, _KINDS))
    hard = {kind for kind in _KINDS if verdicts[kind] in {Verdict.DROPPED, Verdict.REFUSED}}
    if len(hard) == len(_KINDS):
        return
    assert {kind for kind, place in found.items() if place > 0} == hard


@pytest.mark.parametrize("front", Front)
def test_a_plain_request_has_nothing_to_lose(front: Front) -> None:
    """Protects the turns of every kind: what all carry decides nothing."""
    assert _read(Feature.USAGE, front) == frozenset()


@pytest.mark.parametrize(
    ("feature", "front", "expected"),
    [
        (Feature.THINKING_BUDGET, Front.MESSAGES, {Feature.THINKING, Feature.THINKING_BUDGET}),
        (Feature.WITHHELD_TOOLS, Front.CHAT, {Feature.WITHHELD_TOOLS}),
        (Feature.SERVER_TOOLS, Front.MESSAGES, {Feature.TOOLS, Feature.SERVER_TOOLS}),
        (Feature.TOOL_ERRORS, Front.MESSAGES, {Feature.TOOL_ERRORS}),
        (Feature.MCP_CONNECTOR, Front.MESSAGES, {Feature.MCP_CONNECTOR}),
        (Feature.OTHER_FIELDS, Front.CHAT, {Feature.OTHER_FIELDS}),
        (Feature.CITATIONS, Front.MESSAGES, {Feature.CITATIONS, Feature.TEXT_DOCUMENT}),
        (Feature.MESSAGE_NAMES, Front.CHAT, {Feature.MESSAGE_NAMES}),
    ],
)
def test_features_are_told_by_their_names(feature: Feature, front: Front, expected: set[Feature]) -> None:
    """Protects the reading itself, field by field."""
    assert _read(feature, front) == expected


def test_fields_of_ours_are_nobodys_loss() -> None:
    """Protects the turns of sessions from a field that no upstream ever sees."""
    target = Target(facts=CATALOG.facts("claude-sonnet-4-6"), model="claude-sonnet-4-6")
    body = b'{"max_tokens":5,"conversation_id":"c","messages":[{"role":"user","content":"Hi"}]}'
    translated = _DIALECTS[Front.MESSAGES].decode_request(body, target)
    assert features_of(translated, Front.MESSAGES, ("conversation_id",)) == frozenset()
    assert features_of(translated, Front.MESSAGES) == {Feature.OTHER_FIELDS}


_PICTURE = {"type": "image", "source": {"type": "url", "url": "https://images.example/a.png"}}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [_PICTURE]},
            {Feature.IMAGE_URL},
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [_PICTURE]}},
            {Feature.TEXT_DOCUMENT, Feature.IMAGE_URL},
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "a"}},
            {Feature.TEXT_DOCUMENT},
        ),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {Feature.CACHE_MARKS}),
        ({"type": "redacted_thinking", "data": "a"}, {Feature.THINKING_SIGNATURES}),
    ],
)
def test_what_stands_inside_a_block_is_read_too(block: object, expected: set[Feature]) -> None:
    """Protects requests whose images lie in what a tool answered, or in a document."""
    target = Target(facts=CATALOG.facts("claude-sonnet-4-6"), model="claude-sonnet-4-6")
    body = msgspec.json.encode({"max_tokens": 5, "messages": [{"role": "user", "content": [block]}]})
    translated = _DIALECTS[Front.MESSAGES].decode_request(body, target)
    assert features_of(translated, Front.MESSAGES) == expected
