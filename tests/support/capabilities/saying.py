"""Probes of what a conversation holds, and of the endpoints."""

import base64
from collections.abc import Mapping
from typing import Final

from proxy.capabilities import Feature, Front
from proxy.credentials import Kind
from proxy.dialects.json_text import JSON_WISH
from proxy.simulator import Step
from tests.support.capabilities.probe import (
    CLAUDE,
    FILE_ID,
    OPENAI,
    QUESTION,
    File,
    Probe,
    everywhere,
    in_both,
    saying,
    turns,
)
from tests.support.objects import MULTIPART, batch, multipart, params
from tests.support.pictures import PDF, png

_PNG: Final = base64.b64encode(png()).decode()
_PDF: Final = base64.b64encode(PDF).decode()
_TEXT: Final = "Erasmus wrote letters."
_TEXT_64: Final = base64.b64encode(_TEXT.encode()).decode()
_LETTERS: Final = {"type": "text", "media_type": "text/plain", "data": _TEXT}
_PICTURE: Final = "https://images.example/erasmus.png"
_PAPER: Final = "https://papers.example/erasmus.pdf"
_SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_OBJECT: Final = '{"city":"Basel"}'
_NAME: Final = b"Erasmus"


def _image(messages_source: object, chat_url: object) -> Mapping[Front, Mapping[str, object]]:
    return {
        Front.MESSAGES: saying({"type": "image", "source": messages_source}),
        Front.CHAT: saying({"type": "image_url", "image_url": chat_url}),
    }


def _document(source: object, file: object) -> Mapping[Front, Mapping[str, object]]:
    return {
        Front.MESSAGES: saying({"type": "document", "source": source}),
        Front.CHAT: saying({"type": "file", "file": file}),
    }


ENDPOINTS: Final[Mapping[Feature, Probe]] = {
    Feature.STREAMING: Probe(
        asks=everywhere({"stream": True}),
        told={
            Front.MESSAGES: b"event: message_stop\n",
            Front.CHAT: b"data: [DONE]\n",
            Front.TEXT: b"data: [DONE]\n",
        },
    ),
    Feature.USAGE: Probe(
        asks=everywhere({}),
        told={
            Front.MESSAGES: b'"usage":{"input_tokens":',
            Front.CHAT: b'"usage":{"prompt_tokens":',
            Front.TEXT: b'"usage":{"prompt_tokens":',
        },
    ),
    Feature.REFUSALS: Probe(
        asks=everywhere({}),
        told={
            Front.MESSAGES: b'"stop_reason":"refusal"',
            Front.CHAT: b'"finish_reason":"content_filter"',
            Front.TEXT: b'"finish_reason":"content_filter"',
        },
        step=Step(stop_reason="refusal"),
    ),
    Feature.COUNT_TOKENS: Probe(
        asks={Front.MESSAGES: {}},
        told={Front.MESSAGES: b'"input_tokens":'},
        path="/v1/messages/count_tokens",
    ),
    Feature.FILES: Probe(
        asks={Front.MESSAGES: {}},
        told={Front.MESSAGES: b'"filename":"erasmus.txt"'},
        path="/v1/files",
        sends=multipart(_TEXT.encode(), filename="erasmus.txt"),
        content_type=MULTIPART,
    ),
    Feature.BATCHES: Probe(
        asks={Front.MESSAGES: {}},
        token=_NAME,
        told={Front.MESSAGES: b'"type":"message_batch"'},
        path="/v1/messages/batches",
        sends=batch(params("I am Erasmus.")),
    ),
}

TEXTS: Final[Mapping[Feature, Probe]] = {
    Feature.SYSTEM: Probe(
        asks={
            Front.MESSAGES: {"system": "You are Erasmus."},
            Front.CHAT: turns(("system", "You are Erasmus."), ("user", QUESTION)),
        },
        token=_NAME,
    ),
    Feature.SYSTEM_MIDWAY: Probe(
        asks=in_both(
            turns(("user", "One"), ("assistant", "Two"), ("user", "Three"), ("system", "You are Erasmus."))
        ),
        token=b'"role":"system"',
        tokens={
            Kind.CLAUDE_WEB: b"System: You are Erasmus.",
            Kind.CLAUDE_CODE: b"<system-reminder>\\nYou are Erasmus.",
        },
        model="claude-sonnet-5-5",
    ),
    Feature.PREFILL: Probe(
        asks=in_both(turns(("user", QUESTION), ("assistant", "My name is Erasmus"))),
        token=_NAME,
        model="claude-sonnet-4-5-20250929",
    ),
    Feature.MESSAGE_NAMES: Probe(
        asks={Front.CHAT: {"messages": [{"role": "user", "name": "Erasmus", "content": QUESTION}]}},
        token=_NAME,
    ),
    Feature.VERBOSITY: Probe(
        asks={Front.CHAT: {"verbosity": "low"}},
        token=b"Keep your answers short.",
        tokens={Kind.OPENAI: b'"verbosity":"low"'},
    ),
    Feature.SUFFIX: Probe(asks={Front.TEXT: {"suffix": "said Erasmus."}}, token=_NAME),
    Feature.ECHO: Probe(asks={Front.TEXT: {"echo": True}}, told={Front.TEXT: f'"text":"{QUESTION}'.encode()}),
}

MEDIA: Final[Mapping[Feature, Probe]] = {
    Feature.IMAGE_DATA: Probe(
        asks=_image(
            {"type": "base64", "media_type": "image/png", "data": _PNG},
            {"url": f"data:image/png;base64,{_PNG}"},
        ),
        token=_PNG.encode(),
        tokens={Kind.CLAUDE_WEB: png()},
    ),
    Feature.IMAGE_URL: Probe(
        asks=_image({"type": "url", "url": _PICTURE}, {"url": _PICTURE}), token=_PICTURE.encode()
    ),
    Feature.IMAGE_FILE: Probe(
        asks=_image({"type": "file", "file_id": FILE_ID}, {"file_id": FILE_ID}),
        token=FILE_ID.encode(),
        foreign=OPENAI,
        file=File("erasmus.png", png(), "image/png"),
    ),
    Feature.IMAGE_DETAIL: Probe(
        asks={
            Front.CHAT: saying(
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{_PNG}", "detail": "high"},
                }
            )
        },
        token=b'"detail":"high"',
    ),
    Feature.PDF_DATA: Probe(
        asks=_document(
            {"type": "base64", "media_type": "application/pdf", "data": _PDF},
            {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"},
        ),
        token=_PDF.encode(),
        tokens={Kind.CLAUDE_WEB: PDF},
    ),
    Feature.TEXT_DOCUMENT: Probe(
        asks=_document(_LETTERS, {"filename": "a.txt", "file_data": f"data:text/plain;base64,{_TEXT_64}"}),
        token=_TEXT.encode(),
        tokens={Kind.OPENAI: _TEXT_64.encode()},
    ),
    Feature.DOCUMENT_URL: Probe(
        asks=_document({"type": "url", "url": _PAPER}, {"file_url": _PAPER}), token=_PAPER.encode()
    ),
    Feature.DOCUMENT_FILE: Probe(
        asks=_document({"type": "file", "file_id": FILE_ID}, {"file_id": FILE_ID}),
        token=FILE_ID.encode(),
        file=File("erasmus.pdf", PDF, "application/pdf"),
    ),
    Feature.DOCUMENT_CONTEXT: Probe(
        asks={Front.MESSAGES: saying({"type": "document", "source": _LETTERS, "context": "From Rotterdam"})},
        token=b"Rotterdam",
    ),
    Feature.CITATIONS: Probe(
        asks={
            Front.MESSAGES: saying({"type": "document", "source": _LETTERS, "citations": {"enabled": True}})
        },
        token=b'"citations"',
    ),
    Feature.SEARCH_RESULTS: Probe(
        asks={
            Front.MESSAGES: saying(
                {
                    "type": "search_result",
                    "source": "https://example.com/",
                    "title": "Erasmus",
                    "content": [{"type": "text", "text": "He wrote."}],
                }
            )
        },
        token=_NAME,
    ),
    Feature.AUDIO_INPUT: Probe(
        asks={
            Front.CHAT: saying({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})
        },
        token=b"UklGRg==",
    ),
    Feature.AUDIO_OUTPUT: Probe(
        asks={Front.CHAT: {"modalities": ["text", "audio"]}}, token=b'"modalities"', foreign=OPENAI
    ),
}

JSON: Final[Mapping[Feature, Probe]] = {
    Feature.JSON_MODE: Probe(
        asks={Front.CHAT: {"response_format": {"type": "json_object"}}},
        tokens={**dict.fromkeys(CLAUDE, JSON_WISH.encode()), Kind.OPENAI: b'"json_object"'},
        step=Step(text=_OBJECT),
    ),
    Feature.JSON_SCHEMA: Probe(
        asks={
            Front.MESSAGES: {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
            Front.CHAT: {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "place", "schema": _SCHEMA},
                }
            },
        },
        token=b'"json_schema"',
        step=Step(text=_OBJECT),
    ),
}
