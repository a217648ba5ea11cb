"""What this machine and its operator allow children."""

import os
from dataclasses import replace
from typing import Final

from proxy.settings import ClaudeCodeSettings, Policy
from proxy.upstreams.claude_code.sessions import Limits

_PROCESS_BYTES: Final = 300_000_000


def limits_of(settings: ClaudeCodeSettings) -> Limits:
    """What the operator allows, else what cores and memory allow: a start keeps a core busy for half a second."""
    cores = os.cpu_count() or 1
    fitting = max(1, min(cores, _memory_bytes() // _PROCESS_BYTES))
    return Limits(processes=settings.processes or fitting, starts=cores, keeps=settings.keeps)


def policy_of(settings: ClaudeCodeSettings, policy: Policy) -> Policy:
    """The numbers of other kinds of credentials, with the times the operator wants for this one."""
    if settings.timeout_s is None:
        return policy
    return replace(policy, unary_timeout_s=settings.timeout_s, idle_timeout_s=settings.timeout_s)


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return _PROCESS_BYTES
