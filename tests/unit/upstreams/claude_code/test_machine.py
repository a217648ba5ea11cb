"""What the machine and its operator allow."""

import os

from proxy.settings import ClaudeCodeSettings, Policy
from proxy.upstreams.claude_code.machine import limits_of, policy_of


def test_there_are_as_many_processes_as_cores_and_memory_allow_unless_it_is_said() -> None:
    """Protects the machine from more children than it can carry."""
    assert 1 <= limits_of(ClaudeCodeSettings()).processes <= (os.cpu_count() or 1)
    said = limits_of(ClaudeCodeSettings(processes=10, keeps=False))
    assert (said.processes, said.keeps) == (10, False)


def test_the_time_of_its_own_wins_and_none_changes_nothing() -> None:
    """Protects the operator's word for this kind, and the numbers of the others."""
    policy = Policy(unary_timeout_s=100.0)
    assert policy_of(ClaudeCodeSettings(), policy) is policy
    own = policy_of(ClaudeCodeSettings(timeout_s=300.0), policy)
    assert (own.unary_timeout_s, own.idle_timeout_s) == (300.0, 300.0)
