"""The prefix of a conversation: what it weighs, what of it is cached, and what thinking is bound to."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from proxy.simulator.media import attachment_of
from proxy.simulator.models import Model
from proxy.simulator.wire import Block, CacheControl, Message, TokenRequest, Tool, blocks_of

_BYTES_PER_TOKEN = 4
_LOOKBACK = 20
_MAX_ENTRIES = 100_000
_LIFETIMES_S = {"5m": 300.0, "1h": 3600.0}
_encoder = msgspec.json.Encoder()


class Caching(msgspec.Struct, frozen=True):
    """How a prompt's tokens were served.

    Attributes:
        read: tokens found in the cache.
        written_5m: tokens written for five minutes.
        written_1h: tokens written for an hour.
    """

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0


NO_CACHING = Caching()


def estimate_tokens(request: TokenRequest, model: Model) -> int:
    """Tokens of a whole prompt: a quarter of its bytes, plus what its images cost; at least 1."""
    weight = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            weight += len(content.encode())
        else:
            weight += sum(_weight(block, model) for block in content)
    if isinstance(request.system, str):
        weight += len(request.system.encode())
    elif request.system is not None:
        weight += sum(_weight(block, model) for block in request.system)
    if request.tools:
        weight += sum(_tool_weight(tool) for tool in request.tools)
    return max(1, weight // _BYTES_PER_TOKEN)


def _weight(block: Block, model: Model) -> int:
    if block.text is not None:
        return len(block.text.encode())
    if (attachment := attachment_of(block)) is not None:
        return _BYTES_PER_TOKEN * attachment.tokens(model.patches)
    content = block.content
    weight = len(block.name) + len(bytes(block.input)) + len(block.thinking or "") + len(block.data or "")
    if isinstance(content, str):
        weight += len(content.encode())
    elif isinstance(content, list):
        weight += sum(_weight(part, model) for part in content)
    elif content is not None:
        weight += len(_encoder.encode(content))
    return weight


def _tool_weight(tool: Tool) -> int:
    return len(_encoder.encode(_unmarked_tool(tool)))


def _unmarked(block: Block) -> Block:
    content = block.content
    if isinstance(content, list):
        return msgspec.structs.replace(
            block, cache_control=None, content=[_unmarked(part) for part in content]
        )
    return msgspec.structs.replace(block, cache_control=None) if block.cache_control is not None else block


def _unmarked_tool(tool: Tool) -> Tool:
    return msgspec.structs.replace(tool, cache_control=None) if tool.cache_control is not None else tool


def _units(request: TokenRequest, model: Model) -> Iterator[tuple[bytes, int, CacheControl | None]]:
    for tool in request.tools or ():
        yield b"t" + _encoder.encode(_unmarked_tool(tool)), _tool_weight(tool), tool.cache_control
    for block in blocks_of(request.system or []):
        yield b"s" + _encoder.encode(_unmarked(block)), _weight(block, model), block.cache_control
    for message in request.messages:
        role = message.role.encode()
        for block in blocks_of(message.content):
            yield role + _encoder.encode(_unmarked(block)), _weight(block, model), block.cache_control


def marks_of(request: TokenRequest) -> int:
    """How many places are marked for caching, the automatic one included."""
    marked = sum(1 for tool in request.tools or () if tool.cache_control is not None)
    if isinstance(request.system, list):
        marked += _marked(request.system)
    marked += sum(
        _marked(message.content) for message in request.messages if isinstance(message.content, list)
    )
    return marked + (request.cache_control is not None)


def lifetimes_of(request: TokenRequest) -> list[str]:
    """How long each marked place is to be cached, in the order of the prefix, the automatic one last."""
    blocks = [*blocks_of(request.system or [])]
    blocks += [block for message in request.messages for block in blocks_of(message.content)]
    marks = [tool.cache_control for tool in request.tools or ()]
    marks += [block.cache_control for block in blocks]
    return [mark.ttl for mark in (*marks, request.cache_control) if mark is not None]


def _marked(blocks: list[Block]) -> int:
    return sum(1 for block in blocks if block.cache_control is not None)


class PromptCache:
    """The prefixes each organization has cached, per model.

    As in the real cache, a marked prefix is written, and found again up to twenty blocks before a later mark.
    Unlike it, there is no least length, so that tests can use short prompts.
    """

    def __init__(self) -> None:
        self._expires_s: OrderedDict[tuple[str, str, bytes], float] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        self._expires_s.clear()

    def serve(self, request: TokenRequest, model: Model, organization: str, now_s: float) -> Caching:
        """Look a marked prompt up, and keep its marked prefixes."""
        digests, weights, marks = self._positions(request, model)
        hit = -1
        for mark, _ in marks:
            for position in range(mark, max(-1, mark - _LOOKBACK), -1):
                if self._expires_s.get((organization, model.id, digests[position]), -1.0) > now_s:
                    hit = max(hit, position)
                    break
        tokens = [weight // _BYTES_PER_TOKEN for weight in weights]
        read = tokens[hit] if hit >= 0 else 0
        covered, written = read, {"5m": 0, "1h": 0}
        for mark, ttl in marks:
            written[ttl] += max(0, tokens[mark] - covered)
            covered = max(covered, tokens[mark])
            self._keep((organization, model.id, digests[mark]), now_s + _LIFETIMES_S[ttl])
        return Caching(read, written["5m"], written["1h"])

    @staticmethod
    def _positions(
        request: TokenRequest, model: Model
    ) -> tuple[list[bytes], list[int], list[tuple[int, str]]]:
        running, weight = hashlib.blake2b(digest_size=16), 0
        digests, weights, marks = [], [], []
        for position, (data, unit_weight, mark) in enumerate(_units(request, model)):
            running.update(len(data).to_bytes(8, "big") + data)
            weight += unit_weight
            digests.append(running.digest())
            weights.append(weight)
            if mark is not None:
                marks.append((position, mark.ttl if mark.ttl in _LIFETIMES_S else "5m"))
        automatic = request.cache_control
        if automatic is not None and digests and (not marks or marks[-1][0] != len(digests) - 1):
            marks.append((len(digests) - 1, automatic.ttl if automatic.ttl in _LIFETIMES_S else "5m"))
        return digests, weights, marks

    def _keep(self, entry: tuple[str, str, bytes], expires_s: float) -> None:
        self._expires_s[entry] = expires_s
        self._expires_s.move_to_end(entry)
        if len(self._expires_s) > _MAX_ENTRIES:
            self._expires_s.popitem(last=False)


def conversation_digest(request: TokenRequest, messages: list[Message]) -> bytes:
    """What a thinking block after `messages` is bound to: the set of tools, the system text, the messages.

    Cache marks and the order of the tools do not count.
    """
    running = hashlib.blake2b(digest_size=16)
    parts = sorted(_encoder.encode(_unmarked_tool(tool)) for tool in request.tools or ())
    parts.extend(_encoder.encode(_unmarked(block)) for block in blocks_of(request.system or []))
    for message in messages:
        parts.append(message.role.encode())
        parts.extend(_encoder.encode(_unmarked(block)) for block in blocks_of(message.content))
    for part in parts:
        running.update(len(part).to_bytes(8, "big") + part)
    return running.digest()
