"""A property of your own as a program, for what needs another environment: the share of oxygen.

matinvent properties crystals/ -p program:oxygen_share --param "program:oxygen_share.command=python own_program.py"

MatInvent starts the program and provides matinvent_program; its Python needs nothing else.
"""

from __future__ import annotations

from typing import Any

from matinvent_program import serve


def oxygen_share(structure: dict[str, Any]) -> float:
    """Share of the atoms that are oxygen."""
    species = structure["species"]
    return species.count("O") / len(species)


serve(oxygen_share, {"name": "oxygen_share", "unit": "1", "bounds": [0, 1]})
