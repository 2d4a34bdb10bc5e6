"""When to stop relaxing a crystal: it is too far above the energy it needs.

A crystal is given up when it is further above its ceiling than 0.15 eV/atom and 15 times what it gained in the last ten
optimizer steps: at that pace not even 100 further steps would bring it there. Calibrated on CHGNet relaxations of
2,000 samples of the shipped prior, half of them drawn without its critic, to the default criterion and step limit;
`benchmarks/give_up.py` measures what it saves and whom it costs.
Residual forces, number of steps and change of volume, alone or together (in gradient-boosted trees), save no more
at the same loss: those who are lost rest near a saddle point before they fall, and their energies and forces until
then do not tell.
"""

from __future__ import annotations

from collections import deque

#: Optimizer steps over which the recent gain is taken, also the first step at which a crystal can be given up.
WINDOW = 10

#: A crystal may still gain this many times its recent gain ...
_REACH = 15.0

#: ... and this much on top (eV/atom).
_SLACK = 0.15


class Outlook:
    """Watches one relaxation and says when it has become hopeless.

    Args:
        ceiling: energy that the crystal must reach (eV/atom); None: it is never hopeless.
    """

    def __init__(self, ceiling: float | None) -> None:
        self._ceiling = ceiling
        self._lowest: deque[float] = deque(maxlen=WINDOW + 1)

    def is_hopeless(self, energy: float) -> bool:
        """Take note of the present energy (eV/atom); True when the ceiling is out of reach.

        To be called once before every step. Energies may rise in between: what counts is the lowest so far.
        """
        if self._ceiling is None:
            return False
        lowest = min(energy, self._lowest[-1]) if self._lowest else energy
        self._lowest.append(lowest)
        if len(self._lowest) <= WINDOW:
            return False
        gain = self._lowest[0] - lowest
        return lowest - self._ceiling > _REACH * gain + _SLACK
