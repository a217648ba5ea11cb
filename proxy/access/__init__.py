"""Who may come in: the keys of clients and of the administrator."""

from proxy.access.clients import ANONYMOUS, Client, ClientKeys
from proxy.access.keys import Keys, load_or_make_keys, presented_key

__all__ = ["ANONYMOUS", "Client", "ClientKeys", "Keys", "load_or_make_keys", "presented_key"]
