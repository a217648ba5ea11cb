"""What a Responses dialect knows of the one call it serves."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.dialects.openai_responses.sealing import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, before its body is looked at.

    Attributes:
        response_id: the id of its response, which nobody can guess.
        seal: seals thinking for the client, and opens it again.
        unix_s: the time, asked when the answer is whole.
        stored_items: how many items at the beginning of the input come from our own store.
        conversation: what ties its turns together; empty where the request itself has to say it.
        lenient: whether tools of OpenAI's own are left out instead of refused, for programs that always send them.
        keep: takes the JSON of a whole response with all its seals; None where it is not to be stored.
    """

    response_id: str
    seal: Seal
    unix_s: Callable[[], int]
    stored_items: int = 0
    conversation: str = ""
    lenient: bool = False
    keep: Callable[[bytes], None] | None = None
