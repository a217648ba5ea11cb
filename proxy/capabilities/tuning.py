"""Rows: how an answer is made, how long it is, and for whom.

Sources: "Create a Message" in Anthropic's API reference; "Create chat completion" and "Create completion" in OpenAI's.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.capabilities.cells import carried, dropped, emulated, row
from proxy.capabilities.feature import Feature, Front, Row

_BY_MODEL: Final = carried("by models that take it")

THINKING: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.THINKING: row("Thinking", messages="thinking", chat="thinking", openai=dropped("thinking")),
        Feature.THINKING_BUDGET: row(
            "A budget for thinking",
            messages="thinking.budget_tokens",
            chat="thinking.budget_tokens",
            asked={Front.MESSAGES: _BY_MODEL, Front.CHAT: _BY_MODEL},
            web=dropped("thinking.budget_tokens"),
            openai=dropped("thinking"),
        ),
        Feature.THINKING_SIGNATURES: row(
            "Signed thinking of earlier turns",
            messages="messages[].content[].signature",
            chat="messages[].reasoning_details",
            web=dropped("messages.thinking"),
            openai=dropped("messages[].content[]"),
            passing=dropped("messages[].reasoning_details"),
        ),
        Feature.EFFORT: row(
            "Effort up to high",
            messages="output_config.effort",
            chat="reasoning_effort",
            openai=dropped("output_config.effort"),
        ),
        Feature.GREATER_EFFORT: row(
            "Effort above high",
            messages="output_config.effort",
            chat="reasoning_effort",
            web=dropped("output_config.effort", "high instead"),
            openai=dropped("output_config.effort"),
        ),
    }
)

LENGTH: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.MAX_TOKENS: row(
            "Longest answer",
            messages="max_tokens",
            chat="max_completion_tokens",
            text="max_tokens",
            web=emulated("cut here, a token for four bytes"),
        ),
        Feature.STOP_SEQUENCES: row(
            "Stop sequences, up to four",
            messages="stop_sequences",
            chat="stop",
            text="stop",
            web=emulated("cut here"),
        ),
        Feature.MORE_STOP_SEQUENCES: row(
            "More than four stop sequences",
            messages="stop_sequences",
            chat="stop",
            text="stop",
            web=emulated("cut here"),
            openai=dropped("stop_sequences[]", "from the fifth on"),
            passing=carried("for the API to judge"),
        ),
    }
)

_NO_SAMPLING: Final = {
    name: dropped(name, "a session has no sampling settings") for name in ("temperature", "top_p", "top_k")
}

SAMPLING: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.TEMPERATURE: row(
            "Temperature",
            messages="temperature",
            chat="temperature",
            text="temperature",
            asked=dict.fromkeys(Front, _BY_MODEL),
            web=_NO_SAMPLING["temperature"],
            code=dropped("temperature"),
        ),
        Feature.TOP_P: row(
            "Nucleus sampling",
            messages="top_p",
            chat="top_p",
            text="top_p",
            asked=dict.fromkeys(Front, _BY_MODEL),
            web=_NO_SAMPLING["top_p"],
            code=dropped("top_p"),
        ),
        Feature.TOP_K: row(
            "Only the likeliest tokens",
            messages="top_k",
            chat="top_k",
            asked={Front.MESSAGES: _BY_MODEL, Front.CHAT: _BY_MODEL},
            web=_NO_SAMPLING["top_k"],
            code=dropped("top_k"),
            openai=dropped("top_k"),
        ),
        Feature.FREQUENCY_PENALTY: row(
            "Penalty for frequent words", chat="frequency_penalty", text="frequency_penalty"
        ),
        Feature.PRESENCE_PENALTY: row(
            "Penalty for words that were there", chat="presence_penalty", text="presence_penalty"
        ),
        Feature.LOGIT_BIAS: row("Bias for tokens", chat="logit_bias", text="logit_bias"),
        Feature.LOGPROBS: row("Probabilities of tokens", chat="logprobs", text="logprobs"),
        Feature.SEED: row("Seed", chat="seed", text="seed"),
        Feature.PREDICTION: row("Predicted text", chat="prediction"),
        Feature.SEVERAL_ANSWERS: row(
            "Several answers", chat="n", text="n", passing=carried("where no Claude credential is configured")
        ),
        Feature.BEST_OF: row("The best of several answers", text="best_of"),
    }
)

ACCOUNT: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.CACHE_MARKS: row(
            "Marks for the prompt cache",
            messages="cache_control",
            chat="cache_control",
            web=dropped("cache_control"),
            openai=dropped("cache_control"),
            code=emulated("the program sets marks of its own"),
        ),
        Feature.CACHE_KEY: row("A name for the prompt cache", chat="prompt_cache_key"),
        Feature.END_USER: row(
            "Who the end user is",
            messages="metadata",
            chat="user",
            text="user",
            web=dropped("metadata"),
            openai=dropped("metadata"),
            code=dropped("metadata"),
        ),
        Feature.METADATA: row("Data kept with an answer", chat="metadata"),
        Feature.STORE: row("Answers kept by the provider", chat="store"),
        Feature.SERVICE_TIER: row(
            "Service tier",
            messages="service_tier",
            chat="service_tier",
            web=dropped("service_tier"),
            openai=dropped("service_tier"),
            code=dropped("service_tier"),
        ),
        Feature.SPEED: row(
            "Fast mode",
            messages="speed",
            chat="service_tier",
            asked={Front.MESSAGES: _BY_MODEL, Front.CHAT: _BY_MODEL},
            web=dropped("speed"),
            openai=dropped("speed"),
            code=dropped("speed"),
        ),
        Feature.OTHER_FIELDS: row(
            "Fields nobody here has heard of",
            messages="any other",
            chat="any other",
            text="any other",
            asked={Front.CHAT: dropped("any other"), Front.TEXT: dropped("any other")},
            web=dropped("any other"),
            openai=dropped("any other"),
            code=dropped("any other"),
        ),
    }
)
