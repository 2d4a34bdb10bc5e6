"""How stable is what an agent proposes now? Asked where the campaign itself does not screen."""

from __future__ import annotations

from pathlib import Path

import torch

from matinvent.candidate import Candidate, funnel
from matinvent.execution.executors import available_cores
from matinvent.run_directory import RunDirectory
from matinvent.screening.constraints import Constraints
from matinvent.screening.screen import Screener
from matinvent.trained_agent import load_agent


def judge_agent(directory: Path, n: int) -> dict[str, float]:
    """Draw crystals from the final agent of a run directory and screen all of them as campaigns do.

    Args:
        directory: a campaign that has finished an iteration.
        n: number of crystals.

    Returns:
        ``sampled``, ``validity`` and ``sun``: how many, and shares in [0, 1].

    Raises:
        CheckpointError: the directory holds no such campaign.
    """
    _, config = RunDirectory.open(directory)
    torch.set_num_threads(config.threads or available_cores())
    drawn = load_agent(directory).sample(n, torch.Generator().manual_seed(config.seed))
    candidates = [Candidate.of(0, index, crystal) for index, crystal in enumerate(drawn)]
    settings = config.screening.model_copy(update={"enabled": True, "exhaustive": True})
    screener = Screener(settings, Constraints(config.by_stage()[-1].constraints))
    try:
        screener.screen(candidates, n)
    finally:
        screener.close()
    counts = funnel(candidates)
    return {"sampled": n, "validity": counts["valid"] / n, "sun": counts["novel"] / n}
