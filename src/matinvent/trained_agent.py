"""The agent that a campaign has trained, read from its run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.errors import CheckpointError
from matinvent.priors import load_generator
from matinvent.run_directory import RunDirectory

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig
    from matinvent.generators.protocol import Generator


def newest_state(directory: Path) -> tuple[CampaignConfig, dict[str, Any], dict[str, Any]]:
    """Settings, weights and memory of a campaign as of its newest checkpoint.

    Raises:
        CheckpointError: the directory holds no campaign, or it has not finished an iteration.
    """
    run, config = RunDirectory.open(directory)
    saved = run.load()
    if saved is None:
        raise CheckpointError(f"{directory}: the campaign has not finished an iteration yet")
    return config, saved[1], saved[2]


def load_agent(directory: Path) -> Generator:
    """The agent of a run directory as of its newest checkpoint; it samples within the constraints of its stage.

    Raises:
        CheckpointError: the directory holds no campaign, or it has not finished an iteration.
    """
    config, weights, memory = newest_state(directory)
    if "curriculum" not in memory:
        raise CheckpointError(f"{directory}: its checkpoint is of another version of matinvent")
    settings = config.by_stage()[len(memory["curriculum"]["begins"]) - 1]
    agent = load_generator(settings.generator.prior, settings.generator.within(settings.constraints))
    agent.load_state_dict(weights["agent"])
    return agent
