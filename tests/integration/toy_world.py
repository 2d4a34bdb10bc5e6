"""A campaign in the toy world, and how to compare two run directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.db
import torch

from matinvent.campaign import Campaign
from matinvent.config import CampaignConfig
from matinvent.config_files import build_config
from matinvent.reporting.events import IterationReport
from matinvent.reporting.sinks import CsvSink
from matinvent.run_directory import RunDirectory

TOY: dict[str, Any] = {
    "name": "toy",
    "iterations": 8,
    "threads": 1,
    "generator": {"prior": "matinvent.testing.toy:make_generator", "samples": 32},
    "screening": {
        "validity": {"smact": False},
        "relaxation": {"enabled": False},
        "stability": False,
        "uniqueness": False,
        "novelty": False,
    },
    "objectives": [{"property": "density", "kind": "target", "target": 18, "lo": 0, "hi": 10}],
    "evaluation": {"per_iteration": 16, "initial": 0},
    "acquisition": {"promise": 0.0},  # all that could be evaluated are, so that budgets are known
    "diversity": {"enabled": False},
    "learning": {"learning_rate": 0.03},
    "logging": {"tensorboard": False},
}


def toy_config(*overrides: str) -> CampaignConfig:
    """The toy campaign with ``a.b=c`` overrides."""
    return build_config(TOY, overrides)


def run_toy(directory: Path, *overrides: str) -> tuple[Campaign, list[IterationReport]]:
    """Run a toy campaign to its end."""
    campaign = Campaign.start(toy_config(*overrides), directory, [CsvSink()])
    reports: list[IterationReport] = []
    step = campaign.step

    def recorded() -> IterationReport:
        reports.append(step())
        return reports[-1]

    campaign.step = recorded  # type: ignore[method-assign]
    campaign.run()
    return campaign, reports


def fingerprint(directory: Path) -> dict[str, Any]:
    """Everything that must be equal for equal campaigns: ledger, metrics, weights, memory."""
    with ase.db.connect(directory / "ledger.db") as ledger:
        rows = [(row.key_value_pairs, row.data, row.toatoms().todict()) for row in ledger.select(sort="id")]
    saved = RunDirectory(directory).load()
    assert saved is not None
    iteration, weights, memory = saved
    return {
        "rows": repr(rows),
        "metrics": (directory / "metrics.csv").read_text(),
        "iteration": iteration,
        "weights": _flatten(weights),
        "memory": json.dumps(memory, sort_keys=True),
    }


def _flatten(value: Any) -> str:
    """A text that differs whenever any bit of nested tensors does."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_flatten(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_flatten, value)) + "]"
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes().hex()
    return repr(value)
