"""One target under atheris: ``python -m tests.fuzz.running TARGET SECONDS``.

What it has found is named in its output and lies in ``.fuzz/``, as does what it learned on its way there. A finding
goes into the corpus together with what mends it.
"""

import random
import sys
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["proxy", "tests.fuzz"]):
    from tests.fuzz.targets import CORPUS, TARGETS
    from tests.fuzz.variations import varied

_LEARNED: Final = Path(".fuzz")
_INPUT_MAX_BYTES: Final = 16_384
_INPUT_MAX_S: Final = 10


def _mutated(data: bytes, max_bytes: int, seed: int) -> bytes:
    """Every other time by what libFuzzer learned, else by what we know of the text."""
    rng = random.Random(seed)
    found = bytes(atheris.Mutate(data, max_bytes)) if rng.random() < 0.5 else varied(data, rng)
    return found[:max_bytes]


def run(target: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process, with an exit code that is not 0 where it found something."""
    learned = _LEARNED / target
    learned.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", f"-max_len={_INPUT_MAX_BYTES}", f"-timeout={_INPUT_MAX_S}")
    found = (f"-artifact_prefix={_LEARNED}/{target}-", "-print_final_stats=1")
    atheris.Setup(
        [target, *limits, *found, str(learned), str(CORPUS / target)],
        TARGETS[target],
        custom_mutator=_mutated,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
