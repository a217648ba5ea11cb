"""The peers, installed from their registries, in the production mode their own documentation gives.

LiteLLM: its proxy with a master key, ``LITELLM_MODE=PRODUCTION`` and one worker for the one core there is.
Portkey: its gateway on Node.js; it has no keys of its own, the caller's is passed on.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.bench.programs import KEY, ROOT, Program

Make = Callable[[int, Path], Program | None]
_FOLDER: Final = ROOT / ".bench"
_LITELLM: Final = """\
model_list:
  - model_name: claude-sonnet-5-5
    litellm_params:
      model: anthropic/claude-sonnet-5-5
      api_base: http://127.0.0.1:@UPSTREAM@
      api_key: bench-1
litellm_settings:
  request_timeout: 600
  set_verbose: false
  json_logs: true
general_settings:
  master_key: @KEY@
"""


def peers(ports: Mapping[str, int]) -> dict[str, Make]:
    """What is compared beside the ceiling and the floor; each is installed when first asked for."""
    return {
        "litellm": lambda upstream, folder: _litellm(ports["litellm"], upstream, folder),
        "portkey": lambda upstream, folder: _portkey(ports["portkey"], upstream, folder),
    }


def _litellm(port: int, upstream: int, folder: Path) -> Program:
    place = _FOLDER / "litellm"
    program = place / "bin" / "litellm"
    if not program.exists():
        _run(sys.executable, "-m", "venv", str(place))
        _run(str(place / "bin" / "pip"), "install", "--quiet", "litellm[proxy]")
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.replace("@UPSTREAM@", str(upstream)).replace("@KEY@", KEY))
    command = (
        str(program),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    )
    settings = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
    }
    return Program("litellm", port, command, settings, folder, ready="/health/readiness", peer=True)


def _portkey(port: int, upstream: int, folder: Path) -> Program | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    place = _FOLDER / "portkey"
    program = place / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        place.mkdir(parents=True, exist_ok=True)
        _run(npm, "install", "--silent", "--prefix", str(place), "@portkey-ai/gateway")
    return Program(
        "portkey",
        port,
        (node, str(program), f"--port={port}", "--headless"),
        {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"},
        folder,
        headers={
            "x-portkey-provider": "anthropic",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
        },
        peer=True,
    )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 - the command is ours
