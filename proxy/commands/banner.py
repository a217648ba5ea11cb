"""What a person sees when the server starts."""

from collections.abc import Sequence
from typing import Final, TextIO

from proxy.access import Keys
from proxy.commands.output import say
from proxy.credentials import Credential
from proxy.settings.shapes import Address

_DEMO: Final = """\
DEMO MODE: no credential is configured. A simulated Claude answers, and every answer begins with [demo].
Put ANTHROPIC_API_KEY=sk-ant-... into .env to talk to the real one.
"""


def banner(
    out: TextIO, address: Address, keys: Keys, credentials: Sequence[Credential], *, demo: bool
) -> None:
    """Say where the server is, where its keys are, and how to ask it something.

    A key made by this start is written only to a terminal; elsewhere its file is named.
    """
    shown = Address("127.0.0.1", address.port) if address.host in {"0.0.0.0", "::"} else address  # noqa: S104 - compared
    url = f"http://{shown}"
    lines = [
        "",
        f"Carousel listens on http://{address} with {len(credentials)} credential(s): "
        + ", ".join(item.name for item in credentials),
    ]
    if demo:
        lines += ["", *_DEMO.splitlines()]
    lines += ["", *keys.notices(show_made=out.isatty())]
    lines += [
        f"Dashboard: {url}/dashboard, opened by the admin key.",
        "",
        "Try it:",
        f"  curl {url}/v1/chat/completions \\",
        f'    -H "Authorization: Bearer {keys.shell_expression}" \\',
        '    -H "Content-Type: application/json" \\',
        """    -d '{"model": "sonnet", "messages": [{"role": "user", "content": "Hello!"}]}'""",
        "",
    ]
    say("\n".join(lines), out)
