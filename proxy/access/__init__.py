"""Who may come in, and how much they may: the keys of clients and of the administrator, limits, budgets."""

from proxy.access.clients import ANONYMOUS, Client, ClientKeys
from proxy.access.desk import Desk
from proxy.access.guessing import Guesses
from proxy.access.keys import Keys, load_or_make_keys, presented_key
from proxy.access.limits import Ask, Grant, Limiter
from proxy.access.logins import Login, Logins
from proxy.access.refusals import LimitReached
from proxy.access.rules import Period, Rules
from proxy.access.shared_limits import Reservation
from proxy.access.stored import NameTaken, StoredKeys
from proxy.access.visitors import VISITOR, Presented, Told, Visit, Visitors, no_session, presented_session

__all__ = [
    "ANONYMOUS",
    "VISITOR",
    "Ask",
    "Client",
    "ClientKeys",
    "Desk",
    "Grant",
    "Guesses",
    "Keys",
    "LimitReached",
    "Limiter",
    "Login",
    "Logins",
    "NameTaken",
    "Period",
    "Presented",
    "Reservation",
    "Rules",
    "StoredKeys",
    "Told",
    "Visit",
    "Visitors",
    "load_or_make_keys",
    "no_session",
    "presented_key",
    "presented_session",
]
