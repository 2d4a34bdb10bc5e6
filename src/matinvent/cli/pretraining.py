"""``matinvent pretrain``: a prior from a user's own crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matinvent.cli.output import console, progress_bar


def pretrain(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="YAML file of settings; without: the defaults.")
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option(help="Folder with mp_structures.parquet, mp_energies.parquet and mp_labels.parquet.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write, NAME.safetensors.")],
    minutes: Annotated[float | None, typer.Option(help="Wall time of the optimisation.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same settings.")] = False,
) -> None:
    """Train a diffusion prior on known crystals, and its critic; writes weights and a model card.

    Every five minutes the state is saved; --resume continues after any interruption. Settings and defaults are
    listed in every model card (matinvent priors mp-symmetric), e.g. symmetric: false for a template-free prior,
    initial: mp-symmetric to start from shipped weights, judge_every: 10 for trials by sampling and screening.

    [bold]Example[/bold]
    $ matinvent pretrain --data crystals/ --minutes 60 --output my-prior.safetensors
    $ matinvent pretrain --data crystals/ --minutes 60 --output my-prior.safetensors --resume
    $ matinvent run density --set generator.prior=my-prior.safetensors
    """
    from matinvent.priors.pretrain import pretrain as train
    from matinvent.priors.settings import load_pretrain_config

    settings = load_pretrain_config(config, minutes)
    out = console()
    with progress_bar("pretraining") as progress:
        path = train(
            settings, data, output, lambda line: out.print(line, highlight=False, markup=False), progress, resume
        )
    out.print(f"Prior: {path}   model card: {path.with_suffix('.md')}", soft_wrap=True, highlight=False)
