"""Randomness of a campaign: a generator of its own for every iteration and purpose.

No draw depends on how many were made before it, so that an iteration can be repeated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Draws:
    """Random generators of a campaign with this seed."""

    seed: int

    def numpy(self, iteration: int, purpose: str) -> np.random.Generator:
        """For draws by NumPy."""
        return np.random.default_rng(self._sequence(iteration, purpose))

    def torch(self, iteration: int, purpose: str) -> torch.Generator:
        """For draws by torch; lives on the CPU."""
        return torch.Generator().manual_seed(int(self._sequence(iteration, purpose).generate_state(1)[0]))

    def _sequence(self, iteration: int, purpose: str) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, iteration, *purpose.encode()])
