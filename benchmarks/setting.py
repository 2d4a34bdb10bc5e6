"""What the benchmarks share: the name of the machine, and generated crystals to work on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from matinvent.cli.output import progress_bar
from matinvent.cli.structure_files import read_structures
from matinvent.config import GeneratorConfig
from matinvent.errors import Failure, InputError
from matinvent.experiments.machine import processor
from matinvent.priors import load_generator

__all__ = ["generated_crystals", "processor"]

if TYPE_CHECKING:
    from pymatgen.core import Structure


def generated_crystals(
    n: int, *, prior: str, seed: int, file: Path | None = None, candidates: int | None = None
) -> list[Structure]:
    """The first ``n`` crystals of a file, or else samples of a prior.

    Raises:
        InputError: there are none.
    """
    found: Sequence[Structure | Failure]
    if file is not None:
        found = [structure for _, structure in read_structures([file])]
    else:
        generator = load_generator(prior, GeneratorConfig(prior=prior, candidates=candidates))
        with progress_bar(f"{prior}: sampling {n} crystals") as progress:
            found = generator.sample(n, torch.Generator().manual_seed(seed), progress)
    structures = [structure for structure in found if not isinstance(structure, Failure)][:n]
    if not structures:
        raise InputError("no crystals to work on")
    return structures
