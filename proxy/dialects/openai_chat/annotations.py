"""The sources an answer cites, as its message tells them.

Sources: "The chat completion object" in OpenAI's API reference, which knows one kind of annotation, a page of the web;
"Citations" and "Web search tool" in Anthropic's documentation.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.model.content import Block, TextBlock

UNTOLD: Final = Dropped("content[].citations", "an answer in this dialect names pages of the web alone")
"""Citations that have no form here."""

_WEB_PAGE: Final = "web_search_result_location"


class UrlCitation(msgspec.Struct, frozen=True):
    """A page, and the part of the message's content it stands behind: characters, the end not included."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(msgspec.Struct, frozen=True):
    """What OpenAI's clients know a citation as."""

    url_citation: UrlCitation
    type: str = "url_citation"


class _Citation(msgspec.Struct):
    type: str
    url: str | None = None
    title: str | None = None


_decoder = msgspec.json.Decoder(_Citation)


class Annotator:
    """Puts the citations of an answer together.

    Attributes:
        found: those of pages, in their order, each page once for each text.
        lost: whether there were others.
    """

    __slots__ = ("found", "lost")

    def __init__(self) -> None:
        self.found: list[Annotation] = []
        self.lost = False

    def cite(self, citations: Iterable[msgspec.Raw], start_index: int, end_index: int) -> None:
        """Take the citations of one text, which stands between these characters of the message's content."""
        for raw in citations:
            cited = _decoded(raw)
            if cited is None or cited.type != _WEB_PAGE or not cited.url:
                self.lost = True
                continue
            page = UrlCitation(start_index, end_index, cited.title or "", cited.url)
            if (annotation := Annotation(page)) not in self.found:
                self.found.append(annotation)


def has_citations(content: Sequence[Block]) -> bool:
    """Whether any text of an answer cites something."""
    return any(isinstance(block, TextBlock) and block.citations for block in content)


def annotated(content: Sequence[Block], shown: Sequence[str]) -> Annotator:
    """The citations of a whole answer, each of whose blocks shows one of the texts of its content."""
    annotator, start_index = Annotator(), 0
    for block, text in zip(content, shown, strict=True):
        end_index = start_index + len(text)
        if isinstance(block, TextBlock) and block.citations:
            annotator.cite(block.citations, start_index, end_index)
        start_index = end_index
    return annotator


def _decoded(raw: msgspec.Raw) -> _Citation | None:
    try:
        return _decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
