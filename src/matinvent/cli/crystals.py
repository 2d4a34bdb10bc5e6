"""``matinvent generate``: crystals from a prior or a trained agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matinvent.cli.output import console, error_console, progress_bar, refuse_existing
from matinvent.cli.overrides import section_settings
from matinvent.errors import ConfigError, Failure, InputError

if TYPE_CHECKING:
    from matinvent.generators.protocol import Generator


def generate(
    number: Annotated[int, typer.Argument(min=1, metavar="N", help="How many crystals to draw.")],
    prior: Annotated[
        str | None,
        typer.Option(help="Shipped prior or checkpoint file; default: that of campaigns.", show_default=False),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run directory: draw from its trained agent.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="generator.KEY=VALUE", help="Change one sampling setting; repeatable."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="NAME.extxyz, NAME.zip of CIF files, or a new folder of CIF files.")
    ] = Path("crystals.extxyz"),
) -> None:
    """Draw crystals as the generator makes them: neither relaxed nor screened.

    [bold]Examples[/bold]
    $ matinvent generate 100 --run runs/density-1 --output dense.extxyz
    $ matinvent generate 20 --prior mp-symmetric --seed 1 --output crystals/
    $ matinvent generate 20 --set generator.templates.crystal_systems=[cubic] --set generator.steps=30
    """
    from matinvent.cli.structure_files import output_suffix, write_structures

    refuse_existing(output)
    output_suffix(output)  # a wrong name should not cost the sampling
    if run is not None and (prior is not None or overrides):
        raise ConfigError("--run takes prior and settings from the run; leave --prior and --set out")
    generator = _load(run, prior, overrides or [])
    import torch

    with progress_bar(f"sampling {number} crystals") as progress:
        drawn = generator.sample(number, torch.Generator().manual_seed(seed), progress)
    structures = [crystal for crystal in drawn if not isinstance(crystal, Failure)]
    failures = [crystal for crystal in drawn if isinstance(crystal, Failure)]
    if failures:
        error_console().print(f"{len(failures)} of {number} crystals could not be built, e.g. {failures[0]}")
    if not structures:
        raise InputError("no crystal could be built; try more --steps")
    write_structures(structures, output)
    console().print(f"{len(structures)} crystals: {output}", soft_wrap=True, highlight=False)


def _load(run: Path | None, prior: str | None, overrides: Sequence[str]) -> Generator:
    from matinvent.priors import load_generator

    if run is not None:
        from matinvent.trained_agent import load_agent

        return load_agent(run)
    changes = [*([] if prior is None else [f"generator.prior={prior}"]), *overrides]
    config = section_settings("generator", changes, what="sampling", example="steps=30").generator
    return load_generator(config.prior, config)
