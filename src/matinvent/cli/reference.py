"""``matinvent reference``: what new crystals are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matinvent.cli.output import console, progress_bar, refuse_existing

app = typer.Typer(help="Make reference sets: the hull and the known crystals that new ones are compared with.")


@app.callback()
def _group() -> None:
    """Keep ``build`` a command of its own name while it is the only one."""


@app.command()
def build(
    structures: Annotated[
        Path, typer.Argument(help="Parquet: material_id, species, abc (A), angles (deg), frac_coords.")
    ],
    energies: Annotated[Path, typer.Argument(help="Parquet: formula, energy_per_atom (eV/atom).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Reference set to write, NAME.npz.")],
    potential: Annotated[str, typer.Option(help="The potential that gave the energies.")] = "chgnet-0.3.0",
) -> None:
    """Derive a reference set from known crystals and their energies.

    [bold]Example[/bold]
    $ matinvent reference build structures.parquet energies.parquet --output mine.npz
    $ matinvent run density --set screening.reference=mine.npz
    """
    from matinvent.screening.reference_build import build_reference

    refuse_existing(output)
    with progress_bar("fingerprints") as progress:
        reference = build_reference(structures, energies, output, potential, progress)
    console().print(f"Reference set: {output}, {len(reference)} known crystals, {len(reference.hull)} hull vertices")
