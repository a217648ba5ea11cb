"""What answers look like that handlers put together by hand. Only described with, never made."""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from proxy.dialects.anthropic.request import GivenMessage
from proxy.dialects.openai_responses.output import Changing, Repeated
from proxy.pool import MemberView
from proxy.server.clients import ShownKey
from proxy.server.conversations import ShownConversation
from proxy.server.projects import ShownProject, ShownSession
from proxy.store.access import AuditRow
from proxy.telemetry.history import Point
from proxy.telemetry.traces import TraceView

Anything: TypeAlias = msgspec.Raw
_Fields: TypeAlias = Annotated[dict[str, msgspec.Raw], msgspec.Meta()]


Response: Final = msgspec.defstruct(
    "Response",
    [
        ("id", str),
        ("object", Literal["response"]),
        ("created_at", int),
        ("model", str),
        *(
            (field.name, field.type)
            for kind in (Changing, Repeated)
            for field in msgspec.structs.fields(kind)
        ),
    ],
    module=__name__,
    namespace={"__doc__": "A response."},
)
"""Written in parts, each of them when it is known; described as the one object it is."""


class DeletedResponse(msgspec.Struct):
    """What is left of a response."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItems(msgspec.Struct):
    """A page of the items that were new with a response."""

    object: Literal["list"]
    data: list[_Fields]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponseTokens(msgspec.Struct):
    """How many tokens a request for a response has."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class CountTokensRequest(msgspec.Struct):
    """What of a message counts: all but what an answer is made with."""

    messages: list[GivenMessage]
    model: str | None = None
    system: Anything | msgspec.UnsetType = msgspec.UNSET
    tools: list[_Fields] | None = None
    tool_choice: Anything | msgspec.UnsetType = msgspec.UNSET
    thinking: Anything | msgspec.UnsetType = msgspec.UNSET


class MessageTokens(msgspec.Struct):
    """How many tokens a message has."""

    input_tokens: int


class ListedModel(msgspec.Struct):
    """A model as OpenAI's clients read it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(msgspec.Struct):
    """The models, as OpenAI's clients read them."""

    object: Literal["list"]
    data: list[ListedModel]


class ClaudeModel(msgspec.Struct):
    """A model as Anthropic's clients read it."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    lifecycle: str
    line: str | None
    max_input_tokens: int | None
    max_tokens: int | None
    deprecated_at: str | None
    retires_at: str | None
    capabilities: None


class ClaudeModelPage(msgspec.Struct):
    """A page of models, as Anthropic's clients read it."""

    data: list[ClaudeModel]
    first_id: str | None
    last_id: str | None
    has_more: bool


class StoredObject(msgspec.Struct):
    """A file or a batch, as the API that holds it tells of it."""

    id: str


class DeletedObject(msgspec.Struct):
    """What is left of a file or a batch."""

    id: str
    type: str


class ObjectPage(msgspec.Struct):
    """A page of files or batches; `next_page` is there for files alone."""

    data: list[StoredObject]
    has_more: bool
    first_id: str | None
    last_id: str | None
    next_page: str | msgspec.UnsetType | None = msgspec.UNSET


class Upload(msgspec.Struct):
    """A file, as a form's field."""

    file: Annotated[str, msgspec.Meta(extra_json_schema={"contentMediaType": "application/octet-stream"})]


class BatchRequest(msgspec.Struct):
    """A batch: its requests, each with an id of the client's own and the body of a message."""

    requests: list[_Fields]


class UsedConversation(msgspec.Struct):
    """Which conversation, and when it was used last, in Unix seconds."""

    id: str
    updated_at: int


class ConversationPage(msgspec.Struct):
    """A page of conversations; what `conversations` has stands in `data` too."""

    object: Literal["list"]
    data: list[ShownConversation]
    conversations: list[UsedConversation]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConversation(msgspec.Struct):
    """What is left of a conversation."""

    id: str
    object: Literal["conversation.deleted"]
    deleted: Literal[True]


class Pagination(msgspec.Struct):
    """Where a page stands among the others."""

    page: int
    per_page: int
    total_items: int
    total_pages: int
    has_next: bool
    has_prev: bool


class SessionPage(msgspec.Struct):
    """A page of sessions."""

    data: list[ShownSession]
    pagination: Pagination


class SessionStats(msgspec.Struct):
    """What all sessions of a client used together; the cost in US dollars, and how many are about each model."""

    total_sessions: int
    active_sessions: int
    total_messages: int
    total_tokens: int
    total_cost: float
    models_in_use: dict[str, int]


class DeletedSession(msgspec.Struct):
    """What is left of a session."""

    id: str
    object: Literal["session.deleted"]
    deleted: Literal[True]


class ProjectPage(msgspec.Struct):
    """A page of projects."""

    data: list[ShownProject]
    pagination: Pagination


class DeletedProject(msgspec.Struct):
    """What is left of a project."""

    id: str
    object: Literal["project.deleted"]
    deleted: Literal[True]


class Health(msgspec.Struct):
    """That the process serves."""

    status: Literal["healthy", "late"]
    version: str
    uptime_seconds: int
    claude_version: str | None
    active_sessions: int


class Readiness(msgspec.Struct):
    """Whether new requests are welcome."""

    status: Literal["ready", "starting", "draining", "no_credential"]


class CacheStats(msgspec.Struct):
    """How the cache of answers did."""

    entries: int
    hits: int
    misses: int


class Stats(msgspec.Struct):
    """What was used since the start: by the client whose key asks, or by all."""

    version: str
    uptime_seconds: int
    requests: int
    errors: int
    tokens: int
    cost_usd: float | None
    unpriced: int
    active_sessions: int
    conversations: int
    cache: CacheStats
    workers: int


class UsageSums(msgspec.Struct):
    """Sums of usage; each row has a field called as what it was summed up by."""

    by: str
    from_: str = msgspec.field(name="from")
    to: str
    prices_as_of: str
    rows: list[_Fields]
    total: dict[str, float | None]


class PoolState(msgspec.Struct):
    """All credentials, and how many conversations are still to be deleted at claude.ai."""

    credentials: list[MemberView]
    owed_deletions: int


class Explanation(msgspec.Struct):
    """Who would be asked, and why not the others."""

    asked: str | None
    model: str
    limit_class: str
    client: str | None
    next: str | None
    waits: bool
    exhausted: str | None
    retry_after_s: float | None
    credentials: list[_Fields]


class LastRequests(msgspec.Struct):
    """The last requests, newest first."""

    requests: list[TraceView]


class Orders(msgspec.Struct):
    """What was ordered, newest first."""

    orders: list[AuditRow]


class ReloadedPool(msgspec.Struct):
    """What another configuration changed, by alias."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class ClientKeys(msgspec.Struct):
    """Every client key there is or was."""

    keys: list[ShownKey]


class IssuedKey(msgspec.Struct):
    """A new client key, which is shown here alone."""

    name: str
    key: str


class RevokedKey(msgspec.Struct):
    """A client key that opens nothing any more."""

    name: str
    state: Literal["revoked"]


class NextPage(msgspec.Struct):
    """Where to go on, as seen from this address."""

    next: str


class PageFeatures(msgspec.Struct):
    """Which parts of the dashboard there are."""

    reload: bool
    keys: bool
    usage: bool
    audit: bool


class PageConfiguration(msgspec.Struct):
    """What the dashboard's page can show.

    Attributes:
        token: of the page's orders; null where a key is shown instead of a login.
        until_unix_ms: when the login is over; null where there is none.
        part_ms: how long the parts of the last hour are.
        parts: how many of them there are.
    """

    version: str
    demo: bool
    token: str | None
    until_unix_ms: int | None
    part_ms: int
    parts: int
    features: PageFeatures


class LastHour(msgspec.Struct):
    """How the last hour went, oldest first."""

    points: list[Point]


class Described(msgspec.Struct):
    """A description of this sort."""

    openapi: str
    info: _Fields
    paths: _Fields
    components: _Fields
