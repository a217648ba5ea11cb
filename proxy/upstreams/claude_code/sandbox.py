"""Whether what a login's tools start can be kept apart from the login: what that takes, and a trial. Blocks.

Told to hide its credentials, the program runs every command under bubblewrap and runs none where it cannot. Source:
"Environment variables" (``CLAUDE_CODE_SUBPROCESS_ENV_SCRUB``) and "Configure the sandboxed Bash tool" in Claude Code's
documentation.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

_PACKAGES: Final = {"bwrap": "bubblewrap", "socat": "socat"}
_TRIAL: Final = (
    *("--new-session", "--die-with-parent", "--unshare-pid"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--", "true"),
)
_TRYING_S: Final = 10.0
_SAID_MAX_CHARACTERS: Final = 200
# the program's own sockets lie there, and Linux takes no longer path for one (unix(7): 107 bytes)
_SOCKET_MAX_BYTES: Final = 107 - len("/claude-socks-0123456789abcdef.sock")


def lacking(search_path: str, temporary_path_bytes: int) -> str:
    """What is missing, as the end of a sentence; empty where nothing is.

    Args:
        search_path: ``PATH`` of the programs.
        temporary_path_bytes: length of the path of a child's folder for temporary files.
    """
    missing = [package for name, package in _PACKAGES.items() if shutil.which(name, path=search_path) is None]
    if missing:
        return f"not installed on the server: {', '.join(missing)}"
    if temporary_path_bytes > _SOCKET_MAX_BYTES:
        over = temporary_path_bytes - _SOCKET_MAX_BYTES
        return f"the path of DATA_DIR is {over} bytes too long for the sockets of the sandbox"
    program = shutil.which("bwrap", path=search_path) or ""
    try:
        tried = subprocess.run(  # noqa: S603 - nothing of it comes from outside
            [Path(program).resolve(), *_TRIAL],
            env={"PATH": search_path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRYING_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap could not be tried on the server ({type(error).__name__})"
    if tried.returncode == 0:
        return ""
    said = tried.stderr.decode(errors="replace").strip()[:_SAID_MAX_CHARACTERS]
    return f"bubblewrap is not let make namespaces on the server ({said})"
