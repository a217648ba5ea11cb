"""The command line: ``python app.py [serve]``."""

from proxy.commands.main import main

__all__ = ["main"]
