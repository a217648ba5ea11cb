"""What there is to say about one route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from proxy.access.idempotency import HEADER

Schema: TypeAlias = Mapping[str, object]
Bodies: TypeAlias = Mapping[str, type | tuple[type, ...]]
"""By media type, what a body is: a type that is described, one of some, or `Raw`."""

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
HTML: Final = "text/html"
_TEXT: Final[Schema] = {"type": "string"}


class Raw:
    """Stands for a body that is no JSON, and has no schema."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or a header.

    Attributes:
        name: as it is written.
        about: what it is, for people.
        schema: JSON schema of its value.
        place: where it stands.
    """

    name: str
    about: str
    schema: Schema = field(default_factory=lambda: _TEXT)
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A route, described.

    Attributes:
        summary: what it does, in a few words.
        tag: under which heading.
        answer: what is sent back; empty where nothing but errors is.
        body: what has to be sent; empty for nothing.
        success: the status of an answer that is no error.
        statuses: those of its errors, besides the ones every route has; see `statuses`.
        also: further statuses that come with the same body as success.
        empty: further ones that are no errors and come without a body.
        parameters: of query and headers; those of the path are read from it.
    """

    summary: str
    tag: str
    answer: Bodies
    body: Bodies = field(default_factory=dict)
    success: int = 200
    statuses: frozenset[int] = frozenset()
    also: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()


def whole(most: int) -> Schema:
    """A whole number from 1 on."""
    return {"type": "integer", "minimum": 1, "maximum": most}


def one_of(*values: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(values)}


WORD: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 128}
VERSION: Final = Parameter(
    "anthropic-version", "Which version of Anthropic's API is spoken.", _TEXT, place="header"
)
BETA: Final = Parameter("anthropic-beta", "Features of Anthropic's API, by comma.", _TEXT, place="header")
ORDER_KEY: Final = Parameter(
    HEADER,
    "Names this order, so that it is carried out once however often it is sent.",
    {"type": "string", "minLength": 1, "maxLength": 255},
    place="header",
)
