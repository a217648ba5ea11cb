"""Images and documents that a client's request names instead of holding them: where they stand in its body.

Paths of this machine's files are no part of any API; clients of a gateway on their own machine send them all the same.
They stand where Chat Completions and Responses have a URL or a data URL ("Images and vision" and "File inputs" in
OpenAI's documentation), and are replaced there before anything else looks at the request.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias, cast

import msgspec

from proxy.dialects.claude_options import FIELD as CLAUDE_OPTIONS
from proxy.dialects.decoding import decode_json
from proxy.dialects.splicing import splice
from proxy.errors import InvalidRequest

_Object: TypeAlias = dict[str, object]
# Nearly every body is told apart by this alone; what is written in escapes is not found, and refused where it is read.
_MARK: Final = re.compile(rb'"(?:image_url|url)"\s*:\s*"(?:/|\\/|file:)|"file_data"\s*:\s*"file:')
_FILE_SCHEME: Final = "file:"
_LISTS: Final[tuple[str, ...]] = ("messages", "input")
_CONTENTS: Final[tuple[str, ...]] = ("content", "output")
_URL_FIELDS: Final = frozenset({"url", "image_url", "file_url", "file_data"})
_IMAGES_OPTION: Final = f"{CLAUDE_OPTIONS}.images"
_DEPTH_MAX: Final = 12


class Reference(msgspec.Struct, frozen=True):
    """A path in a request.

    Attributes:
        at: its field (``messages[0].content[1].image_url.url``).
        url: an absolute path or a ``file:`` URL, as the client wrote it.
        document: whether it stands where a document has to stand, not an image.
    """

    at: str
    url: str
    document: bool = False


def names_local_files(body: bytes) -> bool:
    """Whether `local_references` is worth asking."""
    return (b"image_url" in body or b"file_data" in body) and _MARK.search(body) is not None


def local_references(body: bytes) -> list[Reference]:
    """The paths a request names, in its order. Raises InvalidRequest for a body that is no JSON object."""
    found = []
    for at, part in _parts(decode_json(_Object, body)):
        for place, holder, key in _places(part):
            url = holder[key]
            if isinstance(url, str) and _is_local(url, document=key == "file_data"):
                found.append(Reference(f"{at}.{place}", url, document=key == "file_data"))
    return found


def refuse_local_files(body: bytes) -> None:
    """Raises InvalidRequest naming the first path of a request: another machine must not take it for one of its own."""
    if names_local_files(body) and (found := local_references(body)):
        raise InvalidRequest(
            "Paths of the server's files are read only below the directories its operator names in CLAUDE_CODE_ROOTS.",
            param=found[0].at,
            code="invalid_image_url",
        )


def with_content(body: bytes, data_urls: Mapping[str, str]) -> bytes:
    """The body with a data URL in place of every path that has one. Raises InvalidRequest as `local_references`."""
    tree = decode_json(_Object, body)
    for _, part in _parts(tree):
        for _, holder, key in _places(part):
            url = holder[key]
            if isinstance(url, str) and url in data_urls and _is_local(url, document=key == "file_data"):
                holder[key] = data_urls[url]
    changed = {name: msgspec.json.encode(tree[name]) for name in _LISTS if name in tree}
    return splice(body, set=changed, remove=())


def position_of(body: bytes, url: str) -> str | None:
    """The first field of a client's request that holds this URL; None where there is none."""
    try:
        return _found(msgspec.json.decode(body), url, "", 0)
    except (ValueError, RecursionError):
        return None


def _is_local(url: str, *, document: bool) -> bool:
    # base64, which may stand there too, can begin with a slash
    return url[: len(_FILE_SCHEME)].lower() == _FILE_SCHEME or (not document and url.startswith("/"))


def _parts(tree: _Object) -> Iterator[tuple[str, _Object]]:
    """Every content part of every message or item, with its path."""
    for name in _LISTS:
        for number, item in _objects(tree.get(name)):
            for content in _CONTENTS:
                for place, part in _objects(item.get(content)):
                    yield f"{name}[{number}].{content}[{place}]", part


def _objects(value: object) -> Iterator[tuple[int, _Object]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            if isinstance(item, dict):
                yield number, cast(_Object, item)


def _places(part: _Object) -> Iterator[tuple[str, _Object, str]]:
    """Where in a content part a path may stand: its path, and the object and key that hold it."""
    match part:
        case {"type": "image_url", "image_url": {"url": _} as image}:
            yield "image_url.url", cast(_Object, image), "url"
        case {"type": "image_url" | "input_image", "image_url": _}:
            yield "image_url", part, "image_url"
        case {"type": "file", "file": {"file_data": _} as file}:
            yield "file.file_data", cast(_Object, file), "file_data"
        case {"type": "input_file", "file_data": _}:
            yield "file_data", part, "file_data"
        case _:
            return


def _found(value: object, url: str, at: str, depth: int) -> str | None:
    if depth == _DEPTH_MAX:
        return None
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        for key, item in value.items():
            path = f"{at}.{key}" if at else str(key)
            if item == url and key in _URL_FIELDS:
                return path
            inner.append((path, item))
    elif isinstance(value, list):
        if at == _IMAGES_OPTION and url in value:
            return f"{at}[{value.index(url)}]"
        inner = [(f"{at}[{number}]", item) for number, item in enumerate(value)]
    places = (_found(item, url, path, depth + 1) for path, item in inner)
    return next((place for place in places if place is not None), None)
