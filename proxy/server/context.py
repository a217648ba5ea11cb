"""What handlers share, made once by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from proxy.access import Keys, Rules
from proxy.clock import Clock
from proxy.dispatch.bookkeeper import Bookkeeper
from proxy.dispatch.cache import AnswerCache
from proxy.dispatch.conversations import Conversations
from proxy.dispatch.dispatcher import Dispatcher
from proxy.dispatch.objects import ObjectCalls
from proxy.dispatch.ownership import Ownership
from proxy.dispatch.places import Places
from proxy.dispatch.projects import Projects
from proxy.dispatch.reloading import Reloader
from proxy.model.catalog import CLAUDE_CODE, Catalog, Resolution
from proxy.model.names import ModelNames
from proxy.pool import Pool
from proxy.server.admission import Admission
from proxy.server.inflight import Inflight
from proxy.settings import Settings
from proxy.telemetry.history import History
from proxy.telemetry.loop_lag import LoopLag
from proxy.telemetry.metrics import OTHER, RequestMetrics
from proxy.telemetry.requests import HasLine
from proxy.telemetry.traces import Traces
from proxy.upstreams.claude_code.upstream import ClaudeCode
from proxy.upstreams.claude_web.deletions import Deletions

if TYPE_CHECKING:
    from proxy.server.sharing import Sharing
    from proxy.telemetry.tracing import Tracing
    from proxy.telemetry.workers import Workers

_CLAUDE: Final = "claude-"


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything a handler may use.

    Attributes:
        settings: the configuration.
        keys: client and admin keys.
        pool: credentials and their state.
        dispatcher: finds answers.
        objects: asks about files and batches.
        ownership: whose those are.
        conversations: those that are remembered.
        projects: where clients work, and what belonged together used.
        catalog: model facts.
        names: what model names mean.
        clock: the time.
        inflight: requests being answered.
        started_s: monotonic seconds of the start.
        ready: whether the start is complete.
        common_headers: on every answer.
        record: takes the line of each request.
        reloader: takes credentials over again; None where they are not the operator's.
        admission: what decides whether a request may begin.
        places: how leases are waited for, and what an operator changed is carried out.
        bookkeeper: has what was used and what it cost, and writes it down.
        traces: the last requests.
        metrics: what was counted of all requests.
        last_hour: how the last hour went.
        loop_lag: how late the event loop is.
        deletions: of conversations at claude.ai; None before the start.
        cache: answers that are kept in memory; None where none are.
        claude_code: the Claude Code processes; None before the start.
        sharing: what is shared with other processes; None where this one is alone.
        tracing: makes traces of requests; None where none are made.
        workers: the other processes of this address; None where there are none.
    """

    settings: Settings
    keys: Keys
    pool: Pool
    dispatcher: Dispatcher
    objects: ObjectCalls
    ownership: Ownership
    conversations: Conversations
    projects: Projects
    catalog: Catalog
    names: ModelNames
    clock: Clock
    inflight: Inflight
    record: Callable[[HasLine], None]
    started_s: float
    reloader: Reloader | None = None
    places: Places
    bookkeeper: Bookkeeper
    admission: Admission
    traces: Traces = field(default_factory=Traces)
    metrics: RequestMetrics = field(init=False)
    last_hour: History = field(init=False)
    loop_lag: LoopLag = field(init=False)
    deletions: Deletions | None = None
    cache: AnswerCache | None = None
    claude_code: ClaudeCode | None = None
    sharing: "Sharing | None" = None
    tracing: "Tracing | None" = None
    workers: "Workers | None" = None
    ready: bool = False
    common_headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metrics = RequestMetrics(self._model_class)
        self.last_hour = History(self.clock)
        self.loop_lag = LoopLag(self.clock)
        self.traces.subscribe(self.metrics.count)
        self.traces.subscribe(self.last_hour.count)

    def _model_class(self, model: str) -> str:
        """The limit class of a model; one word for all that are none of Anthropic's."""
        return self.catalog.limit_class(model) if model.startswith(_CLAUDE) else OTHER

    def resolve(self, asked: str) -> Resolution:
        """What a client's model name means today; the default one where it is empty."""
        wanted = asked or self.settings.defaults.model or self.catalog.default_model
        found = self.names.resolve(wanted)
        if found.alias_of == CLAUDE_CODE and found.model == self.catalog.default_model:
            return self._own_choice(found)
        return found

    def _own_choice(self, found: Resolution) -> Resolution:
        """The same, but where Claude Code itself is there, the model of its own choice."""
        if not self.pool.servable((CLAUDE_CODE,)):
            return found
        return Resolution(model=CLAUDE_CODE, think=found.think, alias_of=None, known=True)


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


class Caller(msgspec.Struct):
    """One request as the middleware knows it.

    Attributes:
        services: what its handler may use.
        request_id: ours.
        client: name of the client key; empty on public and admin routes, and where `admin`.
        admin: whether the admin key, or a login with it, opened a route that others open too.
        rules: what the client may; None where nothing limits it.
    """

    services: Services
    request_id: str
    client: str = ""
    admin: bool = False
    rules: Rules | None = None


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
