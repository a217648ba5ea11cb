"""The content parts of items, as the blocks they become.

Source: "Create a model response" in OpenAI's API reference.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from proxy.dialects.openai_chat.media import file_block, image_block
from proxy.dialects.openai_chat.schema import FileData, FilePart, ImagePart, ImageUrl
from proxy.dialects.openai_responses.schema import Part
from proxy.errors import GatewayError, InvalidRequest
from proxy.model.content import DocumentBlock, ImageBlock, TextBlock

Readable = TextBlock | ImageBlock | DocumentBlock

_TEXTS: Final = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))


def blocks_of(
    content: str | Sequence[Part] | None, at: str, files: Mapping[str, str] | None = None
) -> list[Readable]:
    """The blocks of an item's content found at `at`.

    `files` is that of `proxy.dialects.common.Target`. Raises InvalidRequest, or NotFound for an uploaded file that may
    not be named; both name the part's field.
    """
    if isinstance(content, str):
        return [TextBlock(content)]
    return [_block(part, f"{at}[{place}]", files) for place, part in enumerate(content or ())]


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


def _block(part: Part, at: str, files: Mapping[str, str] | None) -> Readable:
    if part.type in _TEXTS:
        return TextBlock(_given(part.text, f"{at}.text"))
    match part.type:
        case "refusal":
            return TextBlock(_given(part.refusal, f"{at}.refusal"))
        case "input_image":
            return _image(part, at, files)
        case "input_file":
            return _document(part, at, files)
        case "input_audio":
            raise InvalidRequest(
                "Audio is not supported by the upstream.", param=f"{at}.type", code="unsupported_value"
            )
        case _:
            raise InvalidRequest(
                "There is no such type of content.", param=f"{at}.type", code="invalid_value"
            )


def _image(part: Part, at: str, files: Mapping[str, str] | None) -> ImageBlock:
    if part.image_url is not None:
        return image_block(ImagePart(part.image_url), at)
    if part.file_id is None:
        raise InvalidRequest(
            "The image has neither image_url nor file_id.",
            param=f"{at}.image_url",
            code="missing_required_parameter",
        )
    try:
        return image_block(ImagePart(ImageUrl(file_id=part.file_id)), at, files)
    except GatewayError as error:
        raise _renamed(error, ".image_url.") from None


def _document(part: Part, at: str, files: Mapping[str, str] | None) -> DocumentBlock | ImageBlock:
    file = FileData(
        file_data=part.file_data, file_id=part.file_id, file_url=part.file_url, filename=part.filename
    )
    try:
        return file_block(FilePart(file), at, files)
    except GatewayError as error:
        raise _renamed(error, ".file.") from None


def _renamed(error: GatewayError, inner: str) -> GatewayError:
    """The error about a field of the part itself, which a part of Chat Completions has inside of another one."""
    error.message = error.message.replace(inner, ".", 1)
    error.param = error.param.replace(inner, ".", 1) if error.param else error.param
    return error


def _given(text: str | None, param: str) -> str:
    if text is None:
        raise InvalidRequest("The text is missing.", param=param, code="missing_required_parameter")
    return text
