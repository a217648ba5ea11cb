"""``make fuzz``: atheris looks for bytes that a target cannot bear, each target for a while in a process of its own.

What it has found is named in its output, and lies below ``.fuzz/``, as does what it learned; a finding goes into the
corpus together with what mends it.
"""

import argparse
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.fuzz.targets import CORPUS, TARGETS
from tests.fuzz.variations import varied

_LEARNED: Final = Path(".fuzz")
_INPUT_MAX_BYTES: Final = 16_384
_INPUT_MAX_S: Final = 10


def main(arguments: Sequence[str]) -> int:
    """Run the targets that are asked for. Returns how many found something."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--seconds", type=int, default=120, help="how long each target runs")
    parser.add_argument("--here", action="store_true", help="in this process, which ends with it")
    options = parser.parse_args(arguments)
    if options.here:
        _fuzz(options.targets[0], options.seconds)
    failed = 0
    for target in options.targets or TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(options.seconds), target]
        failed += subprocess.run(command, check=False).returncode != 0  # noqa: S603 - this very program
    return failed


def _fuzz(target: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris  # noqa: PLC0415 - the other commands do without it

    learned = _LEARNED / target
    learned.mkdir(parents=True, exist_ok=True)
    found = f"-artifact_prefix={_LEARNED}/{target}-"
    limits = (f"-max_total_time={seconds}", f"-max_len={_INPUT_MAX_BYTES}", f"-timeout={_INPUT_MAX_S}")

    def mutated(data: bytes, max_bytes: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            mutation: bytes = atheris.Mutate(data, len(data))
            return mutation[:max_bytes]
        return varied(data, rng)[:max_bytes]

    atheris.instrument_all()
    atheris.Setup(
        [target, *limits, found, "-print_final_stats=1", str(learned), str(CORPUS / target)],
        TARGETS[target],
        custom_mutator=mutated,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
