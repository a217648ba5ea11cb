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
"""Kinds that need no more than connections; `proxy.server.app` makes the others."""
