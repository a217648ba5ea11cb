"""The content parts of items, as the blocks they become.

Source: "Create a model response" in OpenAI's API reference.
"""

from collections.abc import Sequence
from typing import Final

from proxy.dialects.openai_chat.media import document_block, image_block
from proxy.dialects.openai_chat.schema import FileData, FilePart, ImagePart
from proxy.dialects.openai_responses.schema import Part
from proxy.errors import InvalidRequest
from proxy.model.content import DocumentBlock, ImageBlock, TextBlock, UrlSource

Readable = TextBlock | ImageBlock | DocumentBlock

_TEXTS: Final = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))


def blocks_of(content: str | Sequence[Part] | None, at: str) -> list[Readable]:
    """The blocks of an item's content found at `at`. Raises InvalidRequest naming the part's field."""
    if isinstance(content, str):
        return [TextBlock(content)]
    return [_block(part, f"{at}[{place}]") for place, part in enumerate(content or ())]


def texts_of(content: str | Sequence[Part] | None, at: str) -> list[TextBlock]:
    """The same where only text may be. Raises InvalidRequest."""
    texts = []
    for place, block in enumerate(blocks_of(content, at)):
        if not isinstance(block, TextBlock):
            raise InvalidRequest(
                "Only text may stand here.", param=f"{at}[{place}].type", code="unsupported_value"
            )
        texts.append(block)
    return texts


def _block(part: Part, at: str) -> Readable:
    if part.type in _TEXTS:
        return TextBlock(_given(part.text, f"{at}.text"))
    match part.type:
        case "refusal":
            return TextBlock(_given(part.refusal, f"{at}.refusal"))
        case "input_image":
            return _image(part, at)
        case "input_file":
            return _document(part, at)
        case "input_audio":
            raise InvalidRequest(
                "Audio is not supported by the upstream.", param=f"{at}.type", code="unsupported_value"
            )
        case _:
            raise InvalidRequest(
                "There is no such type of content.", param=f"{at}.type", code="invalid_value"
            )


def _image(part: Part, at: str) -> ImageBlock:
    if part.image_url is None:
        name = "image_url" if part.file_id is None else "file_id"
        raise InvalidRequest(
            "An image has to be given as image_url: an http(s) URL or a data URL.",
            param=f"{at}.{name}",
            code="unsupported_value",
        )
    return image_block(ImagePart(part.image_url), at)


def _document(part: Part, at: str) -> DocumentBlock:
    if part.file_url is not None:
        if not part.file_url[:8].lower().startswith(("http://", "https://")):
            raise InvalidRequest(
                "A file's URL has to be an http(s) one.", param=f"{at}.file_url", code="invalid_value"
            )
        return DocumentBlock(UrlSource(part.file_url), title=part.filename)
    try:
        return document_block(FilePart(FileData(part.file_data, part.file_id, part.filename)), at)
    except InvalidRequest as error:
        # here the fields of a file stand in the part itself
        error.param = error.param.replace(".file.", ".") if error.param else error.param
        raise


def _given(text: str | None, param: str) -> str:
    if text is None:
        raise InvalidRequest("The text is missing.", param=param, code="missing_required_parameter")
    return text
