"""The numbers of the pool and the relay."""

from dataclasses import fields

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


def test_the_defaults_are_the_documented_ones() -> None:
    """Protects the promises made about attempts, waits and sizes from a slip of the hand."""
    policy = Policy()
    assert (policy.retry_count, policy.walk_credentials, policy.same_fault_attempts) == (2, 16, 2)
    assert (policy.queue_length, policy.queue_wait_s, policy.deadline_s) == (100, 10, 600)
    assert (policy.connect_timeout_s, policy.first_event_timeout_s, policy.idle_timeout_s) == (5, 60, 60)
    assert (policy.ping_only_timeout_s, policy.unary_timeout_s, policy.stream_wall_s) == (900, 600, 14_400)
    assert (policy.write_stall_s, policy.hold_back_s, policy.keep_alive_s) == (60, 15, 15)
    assert (policy.backoff_base_s, policy.backoff_max_s) == (0.5, 8)
    assert (policy.cumulative_wait_s, policy.min_attempt_s) == (20, 5)
    assert (policy.budget_per_request, policy.budget_per_second, policy.budget_max) == (0.2, 2, 10)
    assert (policy.strikes, policy.strike_share) == (5, 0.5)
    assert (policy.strike_window_s, policy.strike_window_calls) == (60, 10)
    assert policy.fault_ladder_s == (30, 60, 120, 240, 300)
    assert policy.rate_ladder_s == (5, 10, 20, 40, 60)
    assert (policy.fault_forget_s, policy.retry_after_max_s) == (600, 3600)
    assert (policy.auth_cooling_s, policy.auth_window_s, policy.closed_model_s) == (60, 60, 600)
    assert (policy.billing_cooling_s, policy.billing_max_s) == (3600, 86_400)
    assert (policy.blocked_cooling_s, policy.blocked_max_s) == (60, 900)
    assert (policy.trial_s, policy.jitter) == (30, 0.2)
    assert policy.upstream_body_max_bytes == 64 * 1024 * 1024
    assert policy.event_max_bytes == 8 * 1024 * 1024
    assert policy.body_max_bytes == 32 * 1024 * 1024
