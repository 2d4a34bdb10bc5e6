"""The console script ``matinvent``; each module holds a family of commands."""

from matinvent.cli.app import main

__all__ = ["main"]
