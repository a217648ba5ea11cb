"""The layers of the house, checked by machine."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_import_points_to_a_layer_below() -> None:
    """Protects the layers: a room that reaches up or sideways fails here with the chain of imports."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own tool
    assert done.returncode == 0, done.stdout


def test_pure_rooms_load_without_a_socket_or_a_loop() -> None:
    """Protects purity at run time too: what import-linter cannot see, such as a late import."""
    code = (
        "import sys\n"
        "import proxy.model.catalog, proxy.dialects.anthropic, proxy.dialects.openai_responses, proxy.pool.pool\n"
        "loaded = {'aiohttp', 'asyncio', 'ssl'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(loaded)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, f"loaded by a pure room: {done.stderr}"
