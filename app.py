"""The command line's door in a checkout; installed, the same is called ``carousel``."""

import sys

from proxy.commands import main

if __name__ == "__main__":
    sys.exit(main())
