"""The command line: ``python app.py [serve]``."""

import gc

# Nothing that is imported is garbage, now or later, and to look for some takes an eighth of the start.
gc.disable()

from proxy.commands.main import main  # noqa: E402 - see above

gc.freeze()
gc.enable()

__all__ = ["main"]
