"""What there is to say about each route of conversations, sessions and projects."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.server.conversations import NewConversation, ShownConversation
from proxy.server.openapi import shapes
from proxy.server.openapi.operation import JSON, ORDER_KEY, WORD, Operation, Parameter, whole
from proxy.server.openapi.statuses import ORDER, STORED
from proxy.server.projects import NewProject, NewSession, ShownProject, ShownSession

_CONVERSATIONS: Final = "Conversations"
_SESSIONS: Final = "Sessions"
_PROJECTS: Final = "Projects"
_PAGE: Final = (
    Parameter("page", "Which page, the first unless given.", whole(1_000_000)),
    Parameter("per_page", "How many there are on a page, 20 unless given.", whole(100)),
)


def _made(summary: str, tag: str, body: type, answer: type, *, success: int = 201) -> Operation:
    """Something is made, once however often it is asked for; a 404 where it is deleted by then."""
    return Operation(
        summary=summary,
        tag=tag,
        body={JSON: body},
        answer={JSON: answer},
        success=success,
        statuses=ORDER | {404},
        parameters=(ORDER_KEY,),
    )


def _listed(summary: str, tag: str, answer: type, *parameters: Parameter) -> Operation:
    return Operation(summary=summary, tag=tag, answer={JSON: answer}, statuses=STORED, parameters=parameters)


def _one(summary: str, tag: str, answer: type) -> Operation:
    """Something of the client's own, which may not be there."""
    return Operation(summary=summary, tag=tag, answer={JSON: answer}, statuses=STORED | {404})


REMEMBERED: Final[Mapping[tuple[str, str], Operation]] = MappingProxyType(
    {
        ("POST", "/v1/conversations"): _made(
            "Begin a conversation", _CONVERSATIONS, NewConversation, ShownConversation, success=200
        ),
        ("GET", "/v1/conversations"): _listed(
            "The conversations of the client, those used last first",
            _CONVERSATIONS,
            shapes.ConversationPage,
            Parameter("limit", "How many there are on a page, 100 unless given.", whole(1000)),
            Parameter("after", "The page begins after this one.", WORD),
        ),
        ("GET", "/v1/conversations/{id}"): _one(
            "A conversation, without what was said", _CONVERSATIONS, ShownConversation
        ),
        ("DELETE", "/v1/conversations/{id}"): _one(
            "Forget a conversation", _CONVERSATIONS, shapes.DeletedConversation
        ),
        ("POST", "/v1/sessions"): _made("Begin a session", _SESSIONS, NewSession, ShownSession),
        ("GET", "/v1/sessions"): _listed(
            "The sessions of the client, those used last first",
            _SESSIONS,
            shapes.SessionPage,
            *_PAGE,
            Parameter("project_id", "Only those of this project.", WORD),
        ),
        ("GET", "/v1/sessions/stats"): _listed(
            "What all sessions of the client used together", _SESSIONS, shapes.SessionStats
        ),
        ("GET", "/v1/sessions/{id}"): _one("A session, and what it used", _SESSIONS, ShownSession),
        ("DELETE", "/v1/sessions/{id}"): _one("Forget a session", _SESSIONS, shapes.DeletedSession),
        ("POST", "/v1/projects"): _made("Make a project", _PROJECTS, NewProject, ShownProject),
        ("GET", "/v1/projects"): _listed(
            "The projects of the client, those made last first", _PROJECTS, shapes.ProjectPage, *_PAGE
        ),
        ("GET", "/v1/projects/{id}"): _one("A project", _PROJECTS, ShownProject),
        ("DELETE", "/v1/projects/{id}"): _one(
            "Forget a project; its folder stays", _PROJECTS, shapes.DeletedProject
        ),
    }
)
"""By method and path."""
