"""``python -m matinvent`` is the console script ``matinvent``."""

from matinvent.cli import main

main()
