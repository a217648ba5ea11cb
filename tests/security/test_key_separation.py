"""One secret key signs several things, and none of them passes for another."""

from itertools import combinations

import pytest

from proxy.access import Keys
from proxy.access.keys import OwnKey
from proxy.access.logins import Logins
from proxy.clock import SystemClock
from proxy.dialects.openai_responses import Seal, SealBroken
from proxy.model.content import ThinkingBlock
from proxy.secrets import Secret

_SECRET_KEY = b"one-secret-key-for-everything-0123"


def _keys(secret_key: bytes, admin: str = "admin-key-0123456789") -> Keys:
    return Keys((), OwnKey("admin key", Secret(admin)), secret_key, require_auth=False)


def test_a_seal_is_no_login_and_a_login_is_no_seal() -> None:
    """Protects administration from what every client is handed: both are signed with one secret."""
    seal, logins = Seal(_SECRET_KEY), Logins(_keys(_SECRET_KEY).login_key(), SystemClock())
    sealed = seal.close(ThinkingBlock("thought", "signature"))
    cookie = logins.log_in()
    assert logins.recognize(cookie) is not None
    assert logins.recognize(sealed) is None
    assert logins.recognize(sealed.partition(".")[2][: len(cookie)]) is None
    for dressed in (cookie, f"{sealed.partition('.')[0]}.{cookie}"):
        with pytest.raises(SealBroken):
            seal.open(dressed)


def test_every_purpose_has_a_name_of_its_own_for_one_secret() -> None:
    """Protects rows of one table from being found by what stands in another."""
    secret = Secret("client-key-0123456789")
    purposes = ("owner of objects", "pool", "orders", "")
    names = [secret.fingerprint(_SECRET_KEY, purpose) for purpose in purposes]
    assert all(one != other for one, other in combinations(names, 2))
    assert secret.fingerprint(b"canary-another-secret-key-0123456789", "pool") not in names
    assert not any(secret.reveal() in name for name in names)


def test_another_secret_key_or_admin_key_ends_every_login() -> None:
    """Protects who has exchanged a key that was seen by somebody."""
    clock = SystemClock()
    cookie = Logins(_keys(_SECRET_KEY).login_key(), clock).log_in()
    for other in (_keys(_SECRET_KEY + b"x"), _keys(_SECRET_KEY, "canary-other-admin-key-0123456789")):
        assert Logins(other.login_key(), clock).recognize(cookie) is None


def test_what_another_secret_key_sealed_is_refused() -> None:
    """Protects models from thinking that nobody of this house has ever given out."""
    sealed = Seal(b"canary-another-secret-key-0123456789").close(ThinkingBlock("thought", "signature"))
    with pytest.raises(SealBroken):
        Seal(_SECRET_KEY).open(sealed)
