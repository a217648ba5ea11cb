"""The configuration as a whole."""

from pathlib import Path

import pytest

from proxy.secrets import Secret
from proxy.settings import Address, ConfigurationError, load_settings

LONG = "k" * 16
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound


def problems(environ: dict[str, str], working_dir: Path) -> list[str]:
    """The settings that are named when these variables are read."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, environ, working_dir)
    return [problem.setting for problem in caught.value.problems]


def test_nothing_set_is_a_complete_configuration(tmp_path: Path) -> None:
    """Protects the first start from a clean clone."""
    settings = load_settings({}, {}, tmp_path)
    assert settings.address == Address("127.0.0.1", 8080)
    assert settings.access.require_auth
    assert settings.access.client_keys == ()
    assert settings.data_dir == tmp_path / "data"
    assert settings.database == tmp_path / "data/carousel.db"
    assert settings.sources.anthropic_base_url == "https://api.anthropic.com"
    assert settings.sources.sessions_file == tmp_path / "sessions.json"
    assert not settings.sources.sessions_file_required
    assert (settings.log_level, settings.log_format) == ("info", "text")
    assert (settings.drain_delay_s, settings.drain_s) == (0, 25)
    assert settings.aliases.enabled
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"HOST": EVERYWHERE}, Address(EVERYWHERE, 8080)),
        ({"PORT": "9"}, Address("127.0.0.1", 9)),
        ({"PORT": "0"}, Address("127.0.0.1", 0)),
        ({"CLAUDE_CODE__SERVER__HOST": "::1", "CLAUDE_CODE__SERVER__PORT": "9"}, Address("::1", 9)),
        ({"ADDRESS": "10.0.0.1:1"}, Address("10.0.0.1", 1)),
        ({"CAROUSEL_IN_IMAGE": "1"}, Address(EVERYWHERE, 8080)),
        ({"CAROUSEL_IN_IMAGE": "1", "PORT": "7860"}, Address(EVERYWHERE, 7860)),
        ({"CAROUSEL_IN_IMAGE": "1", "ADDRESS": "127.0.0.1:1"}, Address("127.0.0.1", 1)),
    ],
)
def test_host_and_port_replace_their_half_of_a_default_address(
    environ: dict[str, str], address: Address, tmp_path: Path
) -> None:
    """Protects platforms that give a port alone, and the image, whose default is no setting."""
    settings = load_settings({}, environ, tmp_path)
    assert settings.address == address
    assert not [warning for warning in settings.warnings if "ignored" in warning]


@pytest.mark.parametrize(("port", "warned"), [("2", True), ("1", False)])
def test_an_address_that_is_set_stands_and_says_so(port: str, warned: bool, tmp_path: Path) -> None:
    """Protects an explicit address from a stray PORT, without hiding it."""
    settings = load_settings({}, {"ADDRESS": "127.0.0.1:1", "PORT": port}, tmp_path)
    assert settings.address == Address("127.0.0.1", 1)
    assert ("HOST and PORT are ignored because ADDRESS is set." in settings.warnings) is warned


def test_every_mistake_is_named_at_once_and_no_value_is_shown(tmp_path: Path) -> None:
    """Protects the operator's patience, and the secrets in a configuration that is wrong."""
    canary = "canary-2b7e"
    environ = {
        "ADDRESS": canary,
        "API_KEYS": f"{canary} x",
        "ADMIN_KEY": canary,
        "REQUIRE_AUTH": canary,
        "ANTHROPIC_API_KEY": f"{canary}\x7f",
        "ANTHROPIC_BASE_URL": f"https://user:{canary}@h",
        "PROXY": f"ftp://u:{canary}@h",
        "MAX_TOKENS": canary,
        "RETRY_COUNT": "-1",
        "POOL_FAULT_LADDER_S": f"1,{canary}",
        "DATABASE_URL": f"postgres://u:{canary}@h/db",
        "LOG_FORMAT": canary,
        "SESSIONS": f"{canary}:{canary} x",
        "WORKERS": "2",
        "FALLBACK_API_KEY_2": canary,
    }
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, environ, tmp_path)
    named = {problem.setting for problem in caught.value.problems}
    assert named == set(environ) - {"FALLBACK_API_KEY_2"} | {"FALLBACK_API_URL_2"}
    assert len(caught.value.problems) == len(environ)
    assert canary not in str(caught.value) + repr(caught.value)


def test_a_flag_nobody_knows_is_a_fault_of_the_caller(tmp_path: Path) -> None:
    """Protects the command line from options that are parsed and then lost."""
    with pytest.raises(ValueError, match="ADRESS"):
        load_settings({"ADRESS": "h:1"}, {}, tmp_path)


def test_a_name_of_the_old_sort_that_means_nothing_is_a_warning(tmp_path: Path) -> None:
    """Protects a move from another server: its unknown options are told, not fatal."""
    warnings = load_settings({}, {"CLAUDE_CODE__SERVER__WORKERS": "4", "PATH": "/bin"}, tmp_path).warnings
    assert warnings == ("'CLAUDE_CODE__SERVER__WORKERS' is no setting of this program and is ignored.",)


@pytest.mark.parametrize(
    "environ",
    [
        {"API_KEY": ""},
        {"API_KEY": "replace-me"},
        {"API_KEY": "a b"},
        {"API_KEYS": "good-key,"},
        {"ADMIN_KEY": "k" * 15},
        {"ADMIN_KEY": "replace-me-with-a-long-key"},
        {"SECRET_KEY": "short"},
        {"ANTHROPIC_API_KEY": "sk-ant-replace-me"},
        {"API_KEY": LONG, "ADMIN_KEY": LONG},
        {"SESSIONS": "replace-me"},
    ],
)
def test_a_key_that_protects_nothing_stops_the_start(environ: dict[str, str], tmp_path: Path) -> None:
    """Protects against keys everyone knows: empty, copied from an example, short, or used twice."""
    assert problems(environ, tmp_path) == [list(environ)[-1]]


@pytest.mark.parametrize(("key", "warned"), [("123", True), ("k" * 15, True), (LONG, False)])
def test_a_short_client_key_starts_with_a_warning(key: str, warned: bool, tmp_path: Path) -> None:
    """Protects a move from servers whose examples use three digits."""
    warnings = load_settings({}, {"APIKEY": key}, tmp_path).warnings
    assert bool(warnings) is warned
    assert not any(key in warning for warning in warnings)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), (EVERYWHERE, True)])
def test_a_server_open_to_everyone_says_so(host: str, warned: bool, tmp_path: Path) -> None:
    """Protects credentials from a network that was not thought of."""
    warnings = load_settings({}, {"REQUIRE_AUTH": "false", "HOST": host}, tmp_path).warnings
    assert any("REQUIRE_AUTH=false" in warning for warning in warnings) is warned


@pytest.mark.parametrize(
    ("environ", "unary_s", "idle_s", "deadline_s"),
    [
        ({}, 600, 60, 600),
        ({"REQUEST_TIMEOUT": "60"}, 60, 60, 600),
        ({"REQUEST_TIMEOUT": "900"}, 900, 900, 900),
        ({"REQUEST_TIMEOUT": "900", "RELAY_DEADLINE_S": "700"}, 900, 900, 700),
        ({"REQUEST_TIMEOUT": "30", "RELAY_IDLE_TIMEOUT_S": "45"}, 30, 45, 600),
    ],
)
def test_the_request_timeout_covers_answers_and_silences(
    environ: dict[str, str], unary_s: float, idle_s: float, deadline_s: float, tmp_path: Path
) -> None:
    """Protects long answers from a deadline nobody set, and numbers set by name from the general one."""
    policy = load_settings({}, environ, tmp_path).policy
    assert (policy.unary_timeout_s, policy.idle_timeout_s, policy.deadline_s) == (unary_s, idle_s, deadline_s)


def test_numbers_of_the_pool_are_read(tmp_path: Path) -> None:
    """Protects operators who tune: whole numbers, decimals and ladders."""
    environ = {
        "RETRY_COUNT": "0",
        "POOL_JITTER": "0.5",
        "POOL_RATE_LADDER_S": "1,2",
        "RELAY_BODY_MAX_BYTES": "2048",
    }
    policy = load_settings({}, environ, tmp_path).policy
    assert (policy.retry_count, policy.jitter, policy.body_max_bytes) == (0, 0.5, 2048)
    assert policy.rate_ladder_s == (1.0, 2.0)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"POOL_BACKOFF_BASE_S": "9"}, "POOL_BACKOFF_BASE_S"),
        ({"POOL_BILLING_MAX_S": "60"}, "POOL_BILLING_COOLING_S"),
        ({"POOL_BLOCKED_MAX_S": "5"}, "POOL_BLOCKED_COOLING_S"),
        ({"RELAY_UPSTREAM_BODY_MAX_BYTES": "2048"}, "RELAY_EVENT_MAX_BYTES"),
    ],
)
def test_numbers_that_contradict_each_other_stop_the_start(
    environ: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Protects against a first step that is longer than the longest."""
    assert problems(environ, tmp_path) == [named]


def test_several_processes_need_a_redis_and_one_secret(tmp_path: Path) -> None:
    """Protects against processes that would not know of each other's limits, or would call things differently."""
    assert problems({"WORKERS": "2"}, tmp_path) == ["WORKERS"]
    assert problems({"WORKERS": "2", "REDIS_URL": "redis://r"}, tmp_path) == ["SECRET_KEY"]
    shared = {"WORKERS": "2", "REDIS_URL": "redis://:canary@r", "SECRET_KEY": "0123456789abcdef"}
    settings = load_settings({}, shared, tmp_path)
    assert (settings.workers, settings.redis_url) == (2, Secret("redis://:canary@r"))
    assert "canary" not in repr(settings)


def test_paths_begin_at_the_working_directory(tmp_path: Path) -> None:
    """Protects a server that is started from elsewhere by a service manager."""
    environ = {
        "DATA_DIR": "keep",
        "DATABASE_URL": "sqlite:///db/x.db",
        "MODEL_CATALOG_FILE": "/etc/models.json",
    }
    settings = load_settings({}, environ, tmp_path)
    assert settings.data_dir == tmp_path / "keep"
    assert settings.database == tmp_path / "db/x.db"
    assert settings.model_catalog_file == Path("/etc/models.json")
    assert load_settings({}, {"DATA_DIR": "keep"}, tmp_path).database == tmp_path / "keep/carousel.db"
    assert load_settings({}, {"CAROUSEL_IN_IMAGE": "1"}, tmp_path).data_dir == Path("/data")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a folder called "~" beside the program."""
    monkeypatch.setenv("HOME", "/home/someone")
    settings = load_settings({}, {"DATA_DIR": "~/carousel", "SESSIONS_FILE": "~backup"}, tmp_path)
    assert settings.data_dir == Path("/home/someone/carousel")
    assert settings.sources.sessions_file == tmp_path / "~backup"


def test_fallbacks_are_read_by_their_numbers(tmp_path: Path) -> None:
    """Protects the order of fallbacks, with gaps in it."""
    environ = {
        "FALLBACK_API_URL_2": "https://b/v1/",
        "FALLBACK_API_NAME_2": "Second",
        "FALLBACK_API_MODEL_2": "m",
        "FALLBACK_API_URL_5": "https://e",
        "FALLBACK_API_KEY_5": "sk-e",
    }
    second, fifth = load_settings({}, environ, tmp_path).sources.fallbacks
    assert (second.number, second.name, second.url, second.key, second.model) == (
        2,
        "Second",
        "https://b/v1",
        None,
        "m",
    )
    assert (fifth.number, fifth.name, fifth.model) == (5, None, None)
    assert fifth.key is not None
    assert fifth.key.reveal() == "sk-e"


def test_defaults_for_requests_are_read(tmp_path: Path) -> None:
    """Protects what requests get that name no model, temperature or length."""
    environ = {
        "ANTHROPIC_MODEL": "claude-3-haiku-20240307",
        "MODEL_TEMPERATURE": "0.1",
        "MAX_TOKENS": "4096",
        "THINKING_FORMAT": "both",
    }
    defaults = load_settings({}, environ, tmp_path).defaults
    assert (defaults.model, defaults.temperature, defaults.max_tokens) == (
        "claude-3-haiku-20240307",
        0.1,
        4096,
    )
    assert defaults.thinking_format == "both"
