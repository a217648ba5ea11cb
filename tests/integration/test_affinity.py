"""A conversation goes back to the credential whose provider remembers its beginning."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from proxy.simulator import Step
from tests.support.house import MODEL, House, Spoken, house

KEYS = ("k1", "k2", "k3", "k4", "k5")
CONVERSATIONS = 50
TURNS = 10
_WORDS = "the quick brown fox jumps over the lazy dog and runs away again. " * 100
_MARK = {"type": "ephemeral"}


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: _Usage


@dataclass(slots=True)
class _Talk:
    """One client's conversation, as it goes on.

    Attributes:
        number: tells it from the others.
        turns: the history.
        seen: the alias of each answer.
        read_tokens: found in the cache.
        all_tokens: of all prompts.
    """

    number: int
    turns: list[dict[str, object]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    read_tokens: int = 0
    all_tokens: int = 0

    def body(self) -> bytes:
        """The next turn's request, with marks where a thrifty client puts them."""
        text = f"Conversation {self.number}, turn {len(self.turns)}. {_WORDS[:2000]}"
        self.turns.append({"role": "user", "content": text})
        last = {"role": "user", "content": [{"type": "text", "text": text, "cache_control": _MARK}]}
        system = [{"type": "text", "text": f"You are helper {self.number}. {_WORDS}", "cache_control": _MARK}]
        fields = {"model": MODEL, "max_tokens": 100, "system": system, "messages": [*self.turns[:-1], last]}
        return msgspec.json.encode(fields)

    async def next_turn(self, running: House) -> None:
        """Ask, and take the answer into the history."""
        answer = await running.send(Spoken.MESSAGES, self.body())
        assert answer.status == 200, answer.body
        usage = msgspec.json.decode(answer.body, type=_Answer).usage
        self.read_tokens += usage.cache_read_input_tokens
        self.all_tokens += (
            usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
        )
        self.seen.append(answer.headers["x-carousel-credential"])
        self.turns.append({"role": "assistant", "content": f"Answer {len(self.turns)}."})


async def _held(running: House, turns: int, talks: list[_Talk]) -> None:
    """So many turns of each, in another order each time: by rotation alone none would come back to its key."""
    order = random.Random(1)
    for _ in range(turns):
        await asyncio.gather(*[talk.next_turn(running) for talk in order.sample(talks, len(talks))])


def _own_organizations(running: House) -> None:
    for key in KEYS:
        running.simulator.assign(key, f"org-{key}")


async def _cached_share(folder: Path, keys: tuple[str, ...]) -> tuple[float, list[_Talk]]:
    talks = [_Talk(number) for number in range(CONVERSATIONS)]
    async with house(folder, keys=keys) as running:
        _own_organizations(running)
        await _held(running, TURNS, talks)
    return sum(talk.read_tokens for talk in talks) / sum(talk.all_tokens for talk in talks), talks


async def test_five_keys_waste_no_cache_and_share_the_conversations(tmp_path: Path) -> None:
    """Protects the nine tenths of the price that a cached prefix saves, and the even use of all keys."""
    for folder in ("one", "five"):
        (tmp_path / folder).mkdir()
    alone, _ = await _cached_share(tmp_path / "one", KEYS[:1])
    together, talks = await _cached_share(tmp_path / "five", KEYS)
    assert alone > 0.8
    assert together >= 0.95 * alone
    assert all(len(set(talk.seen)) == 1 for talk in talks)
    spread = Counter(talk.seen[0] for talk in talks)
    assert len(spread) == len(KEYS)
    assert all(9 <= count <= 11 for count in spread.values()), spread


async def test_when_a_key_dies_only_its_conversations_move(tmp_path: Path) -> None:
    """Protects the caches of all others from one credential's end."""
    talks = [_Talk(number) for number in range(20)]
    async with house(tmp_path, keys=KEYS) as running:
        _own_organizations(running)
        await _held(running, 2, talks)
        homes = [talk.seen[-1] for talk in talks]
        running.simulator.script("k2", then=Step("status", status=401))
        await _held(running, 4, talks)
    for talk, home in zip(talks, homes, strict=True):
        if home == "api-2":
            assert "api-2" not in talk.seen[2:]
            assert len(set(talk.seen[4:])) == 1
        else:
            assert set(talk.seen) == {home}


@pytest.mark.parametrize("spoken", list(Spoken))
async def test_a_conversation_stays_where_it_began(tmp_path: Path, spoken: Spoken) -> None:
    """Protects both dialects' clients; new conversations go on in turn meanwhile."""
    async with house(tmp_path) as running:
        seen = []
        history: list[dict[str, object]] = [{"role": "user", "content": "My own question"}]
        for turn in range(6):
            data = msgspec.json.encode({"model": MODEL, "max_tokens": 100, "messages": history})
            seen.append((await running.send(spoken, data)).headers["x-carousel-credential"])
            history += [{"role": "assistant", "content": "So."}, {"role": "user", "content": f"And {turn}?"}]
            other = await running.ask(spoken, stream=False, text=f"Another question {turn}")
            assert other.status == 200
        assert len(set(seen)) == 1
        assert len(running.simulator.record.requests_per_key) == 3
