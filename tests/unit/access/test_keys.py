"""Which key a request presents, and where keys of ours come from."""

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.access import Client, Keys, keys, load_or_make_keys, presented_key
from proxy.errors import Unauthorized
from proxy.settings import load_settings
from proxy.store import StoreError, files

NAMES = ("client.key", "admin.key", "secret.key")


def headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    """Headers as a request has them."""
    return CIMultiDictProxy(CIMultiDict(pairs))


def load(working_dir: Path, **environ: str) -> Keys:
    """The keys of this configuration."""
    settings = load_settings({}, environ, working_dir)
    return load_or_make_keys(settings, settings.data_dir)


@pytest.mark.parametrize(
    ("pairs", "key"),
    [
        ([], None),
        ([("Authorization", "Bearer sk-1")], "sk-1"),
        ([("authorization", "bEARER   sk-1 ")], "sk-1"),
        ([("X-Api-Key", " sk-1 ")], "sk-1"),
        ([("api-key", "sk-1")], "sk-1"),
        ([("api-key", "sk-1"), ("X-API-Key", "sk-1"), ("Authorization", "Bearer sk-1")], "sk-1"),
        ([("x-api-key", "sk-1"), ("x-api-key", "sk-1")], "sk-1"),
        ([("Authorization", "Bearer ")], None),
        ([("Authorization", "Bearer")], None),
        ([("Authorization", "Basic dTpw")], None),
        ([("Authorization", "sk-1")], None),
        ([("Authorization", "Basic dTpw"), ("x-api-key", "sk-1")], "sk-1"),
        ([("x-api-key", ""), ("api-key", "sk-1")], "sk-1"),
        ([("Authorization", "Bearer two words")], "two words"),
    ],
)
def test_a_key_is_found_in_each_header_clients_use(pairs: list[tuple[str, str]], key: str | None) -> None:
    """Protects the SDKs: OpenAI's, Anthropic's and Azure's each send another header."""
    assert presented_key(headers(*pairs)) == key


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            [("Authorization", "Bearer canary-1"), ("x-api-key", "canary-2")],
            "The Authorization and x-api-key headers hold different keys. Send one key.",
        ),
        (
            [("api-key", "canary-1"), ("x-api-key", "canary-2")],
            "The x-api-key and api-key headers hold different keys. Send one key.",
        ),
        (
            [("x-api-key", "canary-1"), ("X-Api-Key", "canary-2")],
            "The x-api-key header was sent more than once, with different keys. Send one key.",
        ),
        (
            [("Authorization", "Bearer canary-1"), ("Authorization", "Bearer canary-2")],
            "The Authorization header was sent more than once, with different keys. Send one key.",
        ),
    ],
)
def test_two_different_keys_are_refused_by_the_names_of_their_headers(
    pairs: list[tuple[str, str]], message: str
) -> None:
    """Protects against two servers in a row that each believe another of two keys."""
    with pytest.raises(Unauthorized) as caught:
        presented_key(headers(*pairs))
    assert caught.value.message == message
    assert caught.value.status == 401


@given(
    st.lists(
        st.tuples(st.sampled_from(["Authorization", "x-api-key", "api-key", "host"]), st.text()), max_size=4
    )
)
def test_whatever_the_headers_hold_there_is_one_key_or_none(pairs: list[tuple[str, str]]) -> None:
    """Protects the door: a key that is found stands in a header, and two never pass as one."""
    stripped = {value.strip() for name, value in pairs if name in {"x-api-key", "api-key"}} - {""}
    try:
        found = presented_key(headers(*pairs))
    except Unauthorized:
        return
    assert len(stripped) <= 1
    assert found is None or any(value.strip().endswith(found) for _, value in pairs)
    assert not stripped or found in stripped


def test_keys_nobody_set_are_made_once_and_kept(tmp_path: Path) -> None:
    """Protects the first start, and every later one from new keys."""
    first = load(tmp_path)
    contents = [(tmp_path / "data" / name).read_text() for name in NAMES]
    assert re.fullmatch(r"sk-carousel-[A-Za-z0-9_-]{43}\n", contents[0])
    assert re.fullmatch(r"sk-carousel-admin-[A-Za-z0-9_-]{43}\n", contents[1])
    assert len(contents[2].strip()) >= 43
    second = load(tmp_path)
    assert [(tmp_path / "data" / name).read_text() for name in NAMES] == contents
    for loaded in (first, second):
        assert loaded.clients.match(contents[0].strip()) == Client("generated")
        assert loaded.is_admin(contents[1].strip())
        assert not loaded.is_admin(contents[0].strip())
        assert loaded.clients.match(contents[1].strip()) is None
        assert loaded.secret_key == contents[2].strip().encode()


def test_two_installations_never_make_the_same_keys(tmp_path: Path) -> None:
    """Protects against keys from a source that is not random."""
    one, two = load(tmp_path / "a", DATA_DIR="x"), load(tmp_path / "b", DATA_DIR="y")
    assert not {secret.reveal() for secret in one.secrets()} & {secret.reveal() for secret in two.secrets()}


def test_made_keys_are_for_our_own_user_alone(tmp_path: Path) -> None:
    """Protects keys from other users of the machine."""
    load(tmp_path)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for name in NAMES:
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600


def test_configured_keys_are_used_and_none_is_made(tmp_path: Path) -> None:
    """Protects a configuration from keys in files that would open the door as well."""
    load(tmp_path)
    old = (tmp_path / "data/client.key").read_text().strip()
    loaded = load(
        tmp_path, API_KEYS="first-key-of-many,second-key-of-many", ADMIN_KEY="a" * 16, SECRET_KEY="s" * 16
    )
    assert loaded.clients.match("first-key-of-many") == Client("env-1")
    assert loaded.clients.match("second-key-of-many") == Client("env-2")
    assert loaded.clients.match(old) is None
    assert loaded.is_admin("a" * 16)
    assert loaded.secret_key == b"s" * 16
    assert loaded.notices(show_made=True) == ["Client keys: 2 from the configuration."]
    assert loaded.shell_expression == "$API_KEY"


def test_no_client_key_is_made_where_none_is_needed(tmp_path: Path) -> None:
    """Protects against a file that looks as if it mattered; administration stays closed."""
    loaded = load(tmp_path, REQUIRE_AUTH="false")
    assert not (tmp_path / "data/client.key").exists()
    assert loaded.clients.match("anything") == Client("anonymous")
    assert not loaded.is_admin("anything")
    assert loaded.notices(show_made=False)[0] == "Clients need no key (REQUIRE_AUTH=false)."
    assert loaded.shell_expression == "none"


def test_a_made_key_is_shown_on_request_and_only_by_the_start_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects keys from logs; the file is always named, short where it lies below the working directory."""
    monkeypatch.chdir(tmp_path)
    first = load(tmp_path)
    key = (tmp_path / "data/client.key").read_text().strip()
    assert first.notices(show_made=False) == [
        "Client key: in data/client.key",
        "Admin key: in data/admin.key",
    ]
    assert first.notices(show_made=True)[0] == f"Client key, shown this once: {key} (kept in data/client.key)"
    assert load(tmp_path).notices(show_made=True) == first.notices(show_made=False)
    monkeypatch.chdir("/")
    assert load(tmp_path).notices(show_made=False)[0] == f"Client key: in {str(tmp_path)[1:]}/data/client.key"


def test_a_shell_reads_the_key_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the command a newcomer pastes, whatever the folder is called."""
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path).shell_expression == "$(cat data/client.key)"
    assert load(tmp_path, DATA_DIR="my data").shell_expression == "$(cat 'my data/client.key')"


def test_every_key_is_told_to_the_redaction_of_logs(tmp_path: Path) -> None:
    """Protects logs from the keys of ours themselves."""
    secrets = {secret.reveal() for secret in load(tmp_path).secrets()}
    assert secrets == {(tmp_path / "data" / name).read_text().strip() for name in NAMES}


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"two words of a key\n", b"\xff" * 32])
def test_a_file_without_a_key_stops_the_start(content: bytes, tmp_path: Path) -> None:
    """Protects against an empty admin key after a full disk."""
    load(tmp_path)
    (tmp_path / "data/admin.key").write_bytes(content)
    with pytest.raises(StoreError, match=r"admin\.key holds no key"):
        load(tmp_path)


def test_a_key_file_others_can_read_stops_the_start(tmp_path: Path) -> None:
    """Protects against going on with a key somebody else may have."""
    load(tmp_path)
    (tmp_path / "data/client.key").chmod(0o640)
    with pytest.raises(StoreError, match="can be opened by other users"):
        load(tmp_path)


def test_of_two_first_starts_at_one_time_the_first_key_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects a key that was already shown from being overwritten by a second process."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/client.key"
    write = files.write_private

    def late(target: Path, data: bytes, *, replace: bool = True) -> bool:
        if target == path:
            write(path, b"sk-carousel-of-the-other-process\n")
        return write(target, data, replace=replace)

    monkeypatch.setattr(keys, "write_private", late)
    loaded = load(tmp_path)
    assert loaded.clients.match("sk-carousel-of-the-other-process") == Client("generated")
    assert loaded.notices(show_made=True)[0].startswith("Client key: in ")


def test_no_key_shows_in_the_keys(tmp_path: Path) -> None:
    """Protects log lines that print what a handler holds."""
    loaded = load(tmp_path)
    assert repr(loaded) == "<Keys <ClientKeys [generated]>>"


def test_a_key_file_that_comes_and_goes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a key that is in use and in no file."""
    monkeypatch.setattr(keys, "write_private", lambda *_, **__: False)
    with pytest.raises(StoreError, match=r"client\.key came and went"):
        load(tmp_path)
