"""Demo mode: a simulated Claude in the same process, behind three credentials that turn round like real ones."""

from typing import TYPE_CHECKING, Final

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret

if TYPE_CHECKING:
    from proxy.simulator import Simulator

_ALIASES: Final = ("demo-1", "demo-2", "demo-3")
_PREFIX: Final = "[demo] "
_FIRST_TOKEN_S: Final = 0.2
_TOKENS_PER_S: Final = 40.0


def demo_credentials() -> tuple[Credential, ...]:
    """Three API keys that only the simulator takes; their address is put in when it listens."""
    return tuple(
        Credential(
            name=alias, kind=Kind.ANTHROPIC, secret=Secret(f"simulated-{alias}"), base_url="http://127.0.0.1"
        )
        for alias in _ALIASES
    )


async def demo_simulator() -> "Simulator":
    """A simulated Claude that listens on this machine alone, at the pace of a person reading."""
    from proxy.simulator import Pace, Simulator  # noqa: PLC0415 - nothing any other server needs

    simulator = Simulator(
        prefix=_PREFIX, pace=Pace(first_token_delay_s=_FIRST_TOKEN_S, tokens_per_s=_TOKENS_PER_S)
    )
    await simulator.start()
    return simulator
