"""Sessions, a ledger in memory, and a simulated claude.ai for the tests of this upstream."""

from collections.abc import Callable

import msgspec

from proxy.clock import SystemClock
from proxy.credentials import Credential, Kind
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.claude_web import PromptOptions, encode_plan, plan_request
from proxy.dialects.common import Target
from proxy.exchange import Operation
from proxy.model.catalog import Catalog
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator
from proxy.simulator.web_calls import made_up_uuid
from proxy.store.base import HeldConversation, OwedDeletion, StoreError
from proxy.upstreams.base import UpstreamCall
from proxy.upstreams.claude_web.upstream import ClaudeWeb, WebMeans
from proxy.upstreams.http import WaysOut

COOKIE = "sk-ant-sid01-canary-one"
OTHER = "sk-ant-sid01-canary-two"
_CATALOG = Catalog.load(None)


class MemoryLedger:
    """Owed deletions and kept conversations in memory; `broken` makes every call fail as a full disk does."""

    def __init__(self, *rows: OwedDeletion) -> None:
        self.rows = {row.conversation: row for row in rows}
        self.held: dict[str, HeldConversation] = {}
        self.broken = False

    async def save_deletion(self, owed: OwedDeletion) -> None:
        """See `DeletionLedger`."""
        self._check()
        self.rows[owed.conversation] = owed

    async def load_deletions(self) -> tuple[OwedDeletion, ...]:
        """See `DeletionLedger`."""
        self._check()
        return tuple(self.rows.values())

    async def forget_deletion(self, conversation: str) -> None:
        """See `DeletionLedger`."""
        self._check()
        self.rows.pop(conversation, None)

    async def save_held(self, held: HeldConversation) -> None:
        """See `HeldLedger`."""
        self._check()
        self.held[held.conversation] = held

    async def load_held(self) -> tuple[HeldConversation, ...]:
        """See `HeldLedger`."""
        self._check()
        return tuple(self.held.values())

    async def forget_held(self, conversation: str) -> None:
        """See `HeldLedger`."""
        self._check()
        self.held.pop(conversation, None)

    def _check(self) -> None:
        if self.broken:
            raise StoreError("x.db: the disk is full.")


def session_of(simulator: Simulator, cookie: str = COOKIE, *, name: str = "web-1") -> Credential:
    """A credential for the simulator, by its host name."""
    return Credential(
        name=name, kind=Kind.CLAUDE_WEB, secret=Secret(cookie), base_url=simulator.site_url, max_concurrency=1
    )


def uuids() -> Callable[[], str]:
    """UUIDs that are the same in every run."""
    made = 0

    def new() -> str:
        nonlocal made
        made += 1
        return made_up_uuid(f"test {made}")

    return new


def upstream(ways_out: WaysOut, ledger: MemoryLedger, *known: Credential, delete: bool = True) -> ClaudeWeb:
    """The upstream with a ledger of its own."""
    means = WebMeans(
        ways_out=ways_out,
        policy=Policy(),
        clock=SystemClock(),
        ledger=ledger,
        fingerprint=lambda credential: credential.fingerprint(b"key"),
        new_uuid=uuids(),
    )
    return ClaudeWeb(means, delete=delete, credentials=known)


def question(
    text: str = "Hello", *, stream: bool = False, options: PromptOptions | None = None, **fields: object
) -> UpstreamCall:
    """A call as the dispatcher makes it for a request of the Messages API."""
    body = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1000,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    } | fields
    target = Target(facts=_CATALOG.facts("claude-sonnet-4-6"), model="claude-sonnet-4-6", stream=stream)
    request = AnthropicDialect().decode_request(msgspec.json.encode(body), target).request
    plan = plan_request(request, options or PromptOptions(), "client")
    return UpstreamCall(operation=Operation.MESSAGES, body=encode_plan(plan), stream=stream, version="")
