"""The numbers of the pool and the relay."""

from dataclasses import asdict, fields
from typing import Final

from proxy.settings.policy import POLICY_FIELDS, Policy


def test_every_number_has_a_name_of_its_own_and_a_default_within_its_bounds() -> None:
    """Protects the table the settings and their documentation are made from."""
    names = [each.name for each in POLICY_FIELDS]
    assert len(set(names)) == len(names) == len(fields(Policy))
    for each in POLICY_FIELDS:
        steps = each.default if isinstance(each.default, tuple) else (each.default,)
        assert all(each.low <= step <= each.high for step in steps), each.name
        assert list(steps) == sorted(steps), each.name


def test_a_name_ends_with_the_unit_of_its_number() -> None:
    """Protects operators from giving milliseconds where seconds are read."""
    for each in POLICY_FIELDS:
        units = [unit for unit in ("_s", "_bytes") if each.attribute.endswith(unit)]
        assert units == [unit for unit in ("_s", "_bytes") if each.name.endswith(unit.upper())], each.name


_DEFAULTS: Final = {
    "retry_count": 2,
    "walk_credentials": 16,
    "same_fault_attempts": 2,
    "queue_length": 100,
    "queue_wait_s": 10,
    "deadline_s": 600,
    "connect_timeout_s": 5,
    "first_event_timeout_s": 60,
    "idle_timeout_s": 60,
    "ping_only_timeout_s": 900,
    "unary_timeout_s": 600,
    "stream_wall_s": 14_400,
    "write_stall_s": 60,
    "connections_max": 2000,
    "connections_per_address_max": 100,
    "head_timeout_s": 30,
    "body_stall_s": 60,
    "body_min_bytes_per_s": 500,
    "hold_back_s": 15,
    "keep_alive_s": 15,
    "backoff_base_s": 0.5,
    "backoff_max_s": 8,
    "cumulative_wait_s": 20,
    "min_attempt_s": 5,
    "budget_per_request": 0.2,
    "budget_per_second": 2,
    "budget_max": 10,
    "strikes": 5,
    "strike_share": 0.5,
    "strike_window_s": 60,
    "strike_window_calls": 10,
    "fault_ladder_s": (30, 60, 120, 240, 300),
    "fault_forget_s": 600,
    "rate_ladder_s": (5, 10, 20, 40, 60),
    "retry_after_max_s": 3600,
    "auth_cooling_s": 60,
    "auth_window_s": 60,
    "closed_model_s": 600,
    "billing_cooling_s": 3600,
    "billing_max_s": 86_400,
    "blocked_cooling_s": 60,
    "blocked_max_s": 900,
    "overload_window_s": 10,
    "overload_calls": 20,
    "overload_share": 0.5,
    "overload_open_s": 10,
    "overload_admitted_share": 0.2,
    "headroom_share": 0.02,
    "headroom_rest_s": 60,
    "slow_start_places": 16,
    "slow_start_s": 60,
    "endpoint_strikes": 5,
    "endpoint_open_s": 10,
    "trial_s": 30,
    "jitter": 0.2,
    "upstream_body_max_bytes": 64 * 1024 * 1024,
    "event_max_bytes": 8 * 1024 * 1024,
    "body_max_bytes": 32 * 1024 * 1024,
    "file_max_bytes": 500 * 1024 * 1024,
    "batch_max_bytes": 256 * 1024 * 1024,
}


def test_the_defaults_are_the_documented_ones() -> None:
    """Protects the promises made about attempts, waits and sizes from a slip of the hand."""
    assert asdict(Policy()) == _DEFAULTS
