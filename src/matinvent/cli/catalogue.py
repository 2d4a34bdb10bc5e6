"""Commands that list what there is: tasks and the schema of a campaign file."""

from __future__ import annotations

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.output import console


def tasks() -> None:
    """List the shipped design tasks and presets."""
    from matinvent.tasks import list_presets, list_tasks

    table = Table("task", "what", "goal")
    for task in list_tasks():
        table.add_row(task.name, escape(task.summary), escape(task.goal))
    out = console()
    out.print(table)
    out.print(f"Presets: {', '.join(list_presets())}. Settings of a task: matinvent run TASK --dry-run")


def schema() -> None:
    """Print the JSON schema of a campaign file, for editors that complete and check YAML.

    [bold]Example[/bold]
    $ matinvent schema > matinvent.schema.json
    """
    import json

    from matinvent.config import CampaignConfig

    typer.echo(json.dumps(CampaignConfig.model_json_schema(), indent=2))
