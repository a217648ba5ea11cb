"""Rows: what a conversation holds, and the endpoints.

Sources: "Create a Message" in Anthropic's API reference; "Create chat completion" and "Create completion" in OpenAI's.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.capabilities.cells import EMULATED, carried, dropped, emulated, refused, row
from proxy.capabilities.feature import Feature, Front, Row

_BLOCK: Final = "messages[].content[]"
_OWN_COPY: Final = "fetched here and carried, where `IMAGE_FETCH` allows it"
_ESTIMATE: Final = emulated("an estimate; asked only while no API key can be")
_OWN_FILES: Final = carried("by its own ids, while no file has been uploaded here")


def _kept_by_keys(title: str, path: str) -> Row:
    none = refused(path, "404: only an API key keeps any")
    return row(title, messages=path, web=none, openai=none, code=none)


ENDPOINTS: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.STREAMING: row("Streaming", messages="stream", chat="stream", text="stream"),
        Feature.USAGE: row(
            "Token usage in answers",
            messages="usage",
            chat="usage",
            text="usage",
            web=emulated("an estimate, a token for four bytes"),
        ),
        Feature.REFUSALS: row(
            "The model's refusal as the reason an answer ends",
            messages="stop_reason",
            chat="choices[].finish_reason",
            text="choices[].finish_reason",
        ),
        Feature.COUNT_TOKENS: row(
            "Counting tokens",
            messages="/v1/messages/count_tokens",
            web=_ESTIMATE,
            code=_ESTIMATE,
            openai=refused("model", "404: such an API counts none"),
        ),
        Feature.FILES: _kept_by_keys("Files", "/v1/files"),
        Feature.BATCHES: _kept_by_keys("Batches", "/v1/messages/batches"),
    }
)

TEXTS: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.SYSTEM: row(
            "System prompt",
            messages="system",
            chat="messages[].role",
            web=emulated("words before the prompt"),
            code=carried("behind a sentence of the program's own"),
        ),
        Feature.SYSTEM_MIDWAY: row(
            "Instructions in mid-conversation",
            messages="messages[].role",
            chat="messages[].role",
            web=emulated("words in the prompt"),
            code=emulated("words of the user's, marked as a reminder"),
        ),
        Feature.PREFILL: row(
            "An answer begun by the client",
            messages="messages[-1].role",
            chat="messages[-1].role",
            web=emulated("the last words of the prompt"),
            code=refused("messages"),
        ),
        Feature.MESSAGE_NAMES: row("Names of who speaks", chat="messages[].name"),
        Feature.VERBOSITY: row("Length of answers in words", chat="verbosity"),
        Feature.SUFFIX: row("Text behind the one that is asked for", text="suffix"),
        Feature.ECHO: row("The prompt before the answer", text="echo"),
    }
)

MEDIA: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.IMAGE_DATA: row("Images as data", messages=_BLOCK, chat="messages[].content[].image_url"),
        Feature.IMAGE_URL: row(
            "Images by URL",
            messages=_BLOCK,
            chat="messages[].content[].image_url.url",
            web=refused(f"{_BLOCK}.source.url", _OWN_COPY),
            code=refused(f"{_BLOCK}.source.url", _OWN_COPY),
            in_place=True,
        ),
        Feature.IMAGE_FILE: row(
            "Images by file id",
            messages=_BLOCK,
            chat="messages[].content[].image_url.file_id",
            web=refused(f"{_BLOCK}.source.type"),
            code=refused(f"{_BLOCK}.source.type"),
            openai=dropped(_BLOCK),
            passing=_OWN_FILES,
        ),
        Feature.IMAGE_DETAIL: row(
            "How closely an image is looked at", chat="messages[].content[].image_url.detail"
        ),
        Feature.PDF_DATA: row(
            "PDFs as data",
            messages=_BLOCK,
            chat="messages[].content[].file",
            openai=dropped(_BLOCK),
        ),
        Feature.TEXT_DOCUMENT: row(
            "Text documents",
            messages=_BLOCK,
            chat="messages[].content[].file",
            openai=dropped(_BLOCK),
        ),
        Feature.DOCUMENT_URL: row(
            "Documents by URL",
            messages=_BLOCK,
            chat="messages[].content[].file.file_url",
            web=refused(f"{_BLOCK}.source.url", _OWN_COPY),
            code=refused(f"{_BLOCK}.source.url", _OWN_COPY),
            in_place=True,
            openai=dropped(_BLOCK),
        ),
        Feature.DOCUMENT_FILE: row(
            "Documents by file id",
            messages=_BLOCK,
            chat="messages[].content[].file.file_id",
            web=refused(f"{_BLOCK}.source.type"),
            code=refused(f"{_BLOCK}.source.type"),
            openai=dropped(_BLOCK),
            passing=_OWN_FILES,
        ),
        Feature.DOCUMENT_CONTEXT: row(
            "What a document is about",
            messages=f"{_BLOCK}.context",
            web=dropped(f"{_BLOCK}.context"),
            openai=dropped(_BLOCK, "with the document"),
        ),
        Feature.CITATIONS: row(
            "Citations of documents",
            messages=f"{_BLOCK}.citations",
            web=dropped(f"{_BLOCK}.citations"),
            openai=dropped(_BLOCK, "with the document"),
        ),
        Feature.SEARCH_RESULTS: row(
            "Search results, and other blocks of the API's own",
            messages=_BLOCK,
            web=dropped(_BLOCK),
            openai=dropped(_BLOCK),
        ),
        Feature.AUDIO_INPUT: row("Sound in questions", chat="messages[].content[].input_audio"),
        Feature.AUDIO_OUTPUT: row("Sound in answers", chat="modalities"),
    }
)

JSON: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.JSON_MODE: row(
            "JSON of any form",
            chat="response_format",
            asked={Front.CHAT: emulated("a system sentence; asked once more where it is none")},
            web=EMULATED,
        ),
        Feature.JSON_SCHEMA: row(
            "JSON by a schema",
            messages="output_config.format",
            chat="response_format",
            web=refused("output_config.format"),
        ),
    }
)
