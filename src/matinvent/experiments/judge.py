"""How stable is what an agent proposes now? Asked where the campaign itself does not screen."""

from __future__ import annotations

from pathlib import Path

import torch

from matinvent.candidate import Candidate, funnel
from matinvent.execution.executors import available_cores
from matinvent.experiments.catalogue import Judging
from matinvent.run_directory import RunDirectory
from matinvent.screening.constraints import Constraints
from matinvent.screening.screen import Screener
from matinvent.trained_agent import load_agent


def judge_agent(directory: Path, judging: Judging) -> dict[str, float]:
    """Draw samples from the final agent of a run directory and screen all crystals: valid, stable, unique and novel.

    Args:
        directory: a campaign that has finished an iteration.
        judging: how many samples, of what size.

    Returns:
        ``size`` of a sample; of all samples together ``sampled``, how many, and the shares ``validity`` and ``sun``
        (the latter where the campaign switches no part of the screening off).

    Raises:
        CheckpointError: the directory holds no such campaign.
    """
    _, config = RunDirectory.open(directory)
    torch.set_num_threads(config.threads or available_cores())
    agent, rng = load_agent(directory), torch.Generator().manual_seed(config.seed)
    settings = config.screening.model_copy(update={"enabled": True, "exhaustive": True})
    valid = sun = 0
    for _ in range(judging.samples):
        candidates = [Candidate.of(0, index, crystal) for index, crystal in enumerate(agent.sample(judging.size, rng))]
        screener = Screener(settings, Constraints(config.by_stage()[-1].constraints))
        try:
            screener.screen(candidates, judging.size)
        finally:
            screener.close()
        counts = funnel(candidates)
        valid, sun = valid + counts["valid"], sun + counts["novel"]
    n = judging.crystals
    found = {"size": judging.size, "sampled": n, "validity": valid / n}
    return {**found, "sun": sun / n} if settings.complete else found
