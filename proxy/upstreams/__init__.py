"""The only outbound calls of the program. Kinds of upstream never import each other."""

from collections.abc import Callable, Mapping

from proxy.credentials import Kind
from proxy.settings import Policy
from proxy.upstreams.anthropic_api import AnthropicApi
from proxy.upstreams.base import Upstream
from proxy.upstreams.http import WaysOut
from proxy.upstreams.openai_api import OpenAIApi

UPSTREAMS: Mapping[Kind, Callable[[WaysOut, Policy], Upstream]] = {
    Kind.ANTHROPIC: AnthropicApi,
    Kind.OPENAI: OpenAIApi,
}

SERVED: frozenset[Kind] = frozenset({*UPSTREAMS, Kind.CLAUDE_WEB, Kind.CLAUDE_CODE})
"""The kinds this version can ask. Sessions and processes need more than connections: `proxy.server.app` makes
their upstreams."""
