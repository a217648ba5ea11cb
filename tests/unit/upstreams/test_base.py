"""What goes wrong with an upstream is told without its texts."""

from proxy.credentials import Kind
from proxy.pool import Fault, UpstreamError
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused


def test_a_refusals_own_text_holds_nothing_of_the_upstreams() -> None:
    """Protects logs that print an exception."""
    error = UpstreamError(
        status=401,
        type="authentication_error",
        message="canary",
        code=None,
        headers={"retry-after": "canary"},
        kind=Kind.ANTHROPIC,
    )
    refused = UpstreamRefused(error, Source("canary"))
    assert str(refused) == "upstream answered 401"
    assert refused.error is error


def test_a_faults_text_is_its_name() -> None:
    """Protects logs that print an exception."""
    fault = UpstreamFault(Fault.RESET)
    assert str(fault) == "reset"
    assert fault.fault is Fault.RESET
