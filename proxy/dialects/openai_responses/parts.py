"""The content parts of items, as the blocks they become.

Source: "Create a model response" in OpenAI's API reference.
"""

from collections.abc import Sequence
from typing import Final

from proxy.dialects.openai_chat.media import document_block, image_block
from proxy.dialects.openai_chat.schema import FileData, FilePart, ImagePart, ImageUrl
from proxy.dialects.openai_responses.schema import Part
from proxy.errors import InvalidRequest
from proxy.model.content import DocumentBlock, ImageBlock, TextBlock

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
    if part.image_url is not None:
        return image_block(ImagePart(part.image_url), at)
    if part.file_id is None:
        raise InvalidRequest(
            "The image has neither image_url nor file_id.",
            param=f"{at}.image_url",
            code="missing_required_parameter",
        )
    try:
        return image_block(ImagePart(ImageUrl(file_id=part.file_id)), at)
    except InvalidRequest as error:
        error.param = f"{at}.file_id"
        raise


def _document(part: Part, at: str) -> DocumentBlock:
    file = FileData(
        file_data=part.file_data, file_id=part.file_id, file_url=part.file_url, filename=part.filename
    )
    try:
        return document_block(FilePart(file), at)
    except InvalidRequest as error:
        # here the fields of a file stand in the part itself
        error.param = error.param.replace(".file.", ".") if error.param else error.param
        raise


def _given(text: str | None, param: str) -> str:
    if text is None:
        raise InvalidRequest("The text is missing.", param=param, code="missing_required_parameter")
    return text
