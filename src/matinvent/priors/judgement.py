"""Trials of a prior: sample some crystals, screen them, and count how many are worth anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from matinvent.candidate import Candidate
from matinvent.config_screening import ScreeningConfig
from matinvent.screening.quality import Quality, assess
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.screen import Screener

if TYPE_CHECKING:
    from matinvent.generators.protocol import Generator

_SETTINGS = ScreeningConfig.for_measuring()


def judge(model: Generator, n: int, seed: int = 0) -> Quality:
    """Draw n crystals and screen them against the packaged reference set."""
    drawn = model.sample(n, torch.Generator().manual_seed(seed))
    candidates = [Candidate.of(0, index, crystal) for index, crystal in enumerate(drawn)]
    reference = ReferenceSet.load(_SETTINGS.reference)
    screener = Screener(_SETTINGS, reference=reference)
    try:
        screener.screen(candidates, n)
    finally:
        screener.close()
    return assess(candidates, reference)


def in_brief(quality: Quality) -> str:
    """One line for a log."""
    return (
        f"of {quality.sampled} samples {quality.valid} structurally valid, {quality.metastable} below 0.1 eV/atom, "
        f"{quality.sun_any_charge} SUN ({quality.sun} with balanced charges); median {quality.e_above_hull.median:.3f} "
        f"eV/atom above the hull, mean displacement {quality.rmsd.mean:.2f} A"
    )
