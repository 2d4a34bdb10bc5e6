"""Commands that list what there is: tasks, priors and the schema of a campaign file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.output import console

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig


def tasks() -> None:
    """List the shipped design tasks: goal, units of their properties, and what a campaign costs about.

    The cost is for a CPU: as a first look (--preset quick), and with all iterations of the task.

    [bold]Example[/bold]
    $ matinvent tasks
    $ matinvent run band_gap --preset quick
    """
    from matinvent.execution.executors import available_cores
    from matinvent.experiments.cost import campaign_seconds, duration
    from matinvent.tasks import list_presets, list_tasks, load_task

    cores = available_cores()
    table = Table("task", "goal", "unit", "quick", "in full", caption=f"time: an estimate for {cores} CPU cores")
    for task in list_tasks():
        quick, full = (duration(campaign_seconds(load_task(task.name, preset), cores)) for preset in ("quick", None))
        table.add_row(task.name, escape(task.goal), escape(_units(load_task(task.name))), quick, full)
    out = console()
    out.print(table)
    out.print(f"Presets: {', '.join(list_presets())}. Settings of a task: matinvent run TASK --dry-run")


def _units(config: CampaignConfig) -> str:
    """Units of the objectives, in their order, each once."""
    from matinvent.properties.registry import about

    return ", ".join(dict.fromkeys(about(objective.property).unit for objective in config.objectives))


def priors(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the model card of this prior.")] = None,
) -> None:
    """List the shipped priors, or show the model card of one.

    [bold]Example[/bold]
    $ matinvent priors mp-symmetric
    """
    from matinvent.errors import ConfigError
    from matinvent.priors import list_priors

    shipped = {prior.name: prior for prior in list_priors()}
    out = console()
    if name is not None:
        if name not in shipped:
            raise ConfigError(f"no prior '{name}' is shipped; there are {', '.join(shipped)}")
        out.print(shipped[name].path.with_suffix(".md").read_text(encoding="utf-8"), markup=False, highlight=False)
        return
    table = Table("prior", "MB", "what")
    for prior in shipped.values():
        table.add_row(prior.name, f"{prior.path.stat().st_size / 1e6:.1f}", escape(prior.summary))
    out.print(table)
    out.print("Another: matinvent pretrain --help. Use one: --set generator.prior=NAME or FILE.safetensors")


def schema() -> None:
    """Print the JSON schema of a campaign file, for editors that complete and check YAML.

    [bold]Example[/bold]
    $ matinvent schema > matinvent.schema.json
    """
    import json

    from matinvent.config_files import file_schema

    typer.echo(json.dumps(file_schema(), indent=2))
