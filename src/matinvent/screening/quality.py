"""How good is a generator? The field's metrics of a screened sample, as counts with 95 % intervals.

Every count is of all sampled crystals unless it says otherwise, so that a crystal that could not be built or
relaxed is never lost from a denominator. Charge balance (SMACT) is judged beside the screening, not
within it: the stability of a crystal is known whatever its oxidation states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matinvent.candidate import Candidate, Fate
from matinvent.screening.matching import group_unique
from matinvent.screening.validity import check_charges

if TYPE_CHECKING:
    from pymatgen.core import Composition

    from matinvent.screening.reference import ReferenceSet

#: Energies above the hull (eV/atom) below which a crystal is stable, and below which it is metastable.
STABLE, METASTABLE = 0.0, 0.1

#: 97.5 % quantile of the standard normal distribution.
_Z95 = 1.959963984540054


class Spread(NamedTuple):
    """``n`` values of relaxed crystals in brief: median with its 95 % interval, and mean; NaN without values.

    The interval lies between order statistics of the sample, so it assumes nothing about the distribution;
    below six values it is their whole range.
    """

    n: int
    median: float
    low: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Counts and spreads of one screened sample.

    Counts of distinct crystals (``unique`` and the SUN ones) depend on the size of the sample: the more
    are drawn, the more repeat. Compare them between samples of one size only.

    Attributes:
        sampled: all crystals asked for; what counts are shares of.
        built: the generator made a crystal at all.
        valid: structurally valid: possible cell, no overlapping atoms.
        smact: compositions that SMACT finds charge-balanced, whatever the geometry.
        valid_smact: both of the former.
        relaxed: came through the relaxation as a possible crystal with a plausible energy.
        converged: of the relaxed ones, those that met the force criterion.
        placed: of the relaxed ones, those with an energy above the hull (the reference knows their elements).
        stable: below 0.0 eV/atom above the hull.
        metastable: below 0.1 eV/atom above the hull.
        unique: distinct crystals among all relaxed ones.
        novel: relaxed crystals that the reference set does not know.
        sun_stable: distinct crystals that are stable and novel.
        sun_any_charge: distinct crystals that are metastable and novel.
        sun: distinct crystals that are metastable, novel and SMACT-valid.
        e_above_hull: energies above the hull (eV/atom).
        rmsd: displacements of the atoms by the relaxation (A), see
            :class:`~matinvent.screening.relaxation.Relaxation`.
        relax_steps: optimizer steps of the relaxations.
    """

    sampled: int
    built: int
    valid: int
    smact: int
    valid_smact: int
    relaxed: int
    converged: int
    placed: int
    stable: int
    metastable: int
    unique: int
    novel: int
    sun_stable: int
    sun_any_charge: int
    sun: int
    e_above_hull: Spread
    rmsd: Spread
    relax_steps: Spread


def assess(candidates: Sequence[Candidate], reference: ReferenceSet) -> Quality:
    """Measure a sample that was screened with ``exhaustive`` on and ``validity.smact`` off.

    Uniqueness and novelty are measured on all relaxed crystals, where the screener looks at the stable ones only.

    Raises:
        ValueError: a crystal was not screened to its end, or was rejected for its charges.
    """
    _require_complete(candidates)
    built = [c for c in candidates if c.structure is not None]
    valid = [c for c in built if c.fate is not Fate.INVALID or c.energy_per_atom is not None]
    relaxed = [c for c in valid if c.fate not in {Fate.INVALID, Fate.RELAX_FAILED}]
    placed = [c for c in relaxed if c.e_above_hull is not None]
    crystals = [c.final for c in relaxed if c.final is not None]
    groups = group_unique(crystals)
    novel = [not reference.is_known(crystal) for crystal in crystals]
    balanced = _charge_balanced(c.structure.composition for c in built if c.structure is not None)
    # Relaxation changes no composition, so that what holds for the generated crystal holds for the relaxed one.
    smact = {id(c): ok for c, ok in zip(built, balanced, strict=True)}

    def distinct(limit: float, charges: bool) -> int:
        """Different crystals that are novel, below the limit and, if asked for, charge-balanced."""
        chosen = zip(relaxed, groups, novel, strict=True)
        return len({g for c, g, new in chosen if new and is_below(c, limit) and (smact[id(c)] or not charges)})

    return Quality(
        sampled=len(candidates),
        built=len(built),
        valid=len(valid),
        smact=sum(balanced),
        valid_smact=sum(smact[id(c)] for c in valid),
        relaxed=len(relaxed),
        converged=sum(bool(c.converged) for c in relaxed),
        placed=len(placed),
        stable=sum(is_below(c, STABLE) for c in placed),
        metastable=sum(is_below(c, METASTABLE) for c in placed),
        unique=len(set(groups)),
        novel=sum(novel),
        sun_stable=distinct(STABLE, charges=False),
        sun_any_charge=distinct(METASTABLE, charges=False),
        sun=distinct(METASTABLE, charges=True),
        e_above_hull=spread(c.e_above_hull for c in placed),
        rmsd=spread(c.rmsd for c in relaxed),
        relax_steps=spread(c.relax_steps for c in relaxed),
    )


def is_below(candidate: Candidate, limit: float) -> bool:
    """Whether a crystal's energy above the hull is known and below a limit (eV/atom)."""
    return candidate.e_above_hull is not None and candidate.e_above_hull < limit


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % score interval of a binomial share (Wilson, J. Am. Stat. Assoc. 22, 209, 1927); (0, 1) of nothing.

    Raises:
        ValueError: the count does not lie between 0 and the total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    if total == 0:
        return 0.0, 1.0
    share, z2 = count / total, _Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def spread(values: Iterable[float | None]) -> Spread:
    """Median, its 95 % interval and mean of the values that are there."""
    from scipy.stats import binom

    ordered = np.sort(np.array([value for value in values if value is not None], dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return Spread(0, math.nan, math.nan, math.nan, math.nan)
    # The median lies above as many values as a fair coin falls heads in n throws: between the ranks low and high.
    low = max(1, int(binom.ppf(0.025, n, 0.5)))
    bounds = ordered[low - 1], ordered[n - low]
    return Spread(n, float(np.median(ordered)), float(bounds[0]), float(bounds[1]), float(ordered.mean()))


def _require_complete(candidates: Sequence[Candidate]) -> None:
    """A share of a sample that was screened in part, or by charges first, would not be what its name says."""
    for candidate in candidates:
        if candidate.fate is Fate.GENERATED:
            raise ValueError(f"crystal {candidate.index} was not screened; screen with 'exhaustive' on")
        if candidate.fate is Fate.INVALID and candidate.reason.startswith("smact:"):
            raise ValueError(f"crystal {candidate.index} fell to SMACT; screen with 'validity.smact' off")


def _charge_balanced(compositions: Iterable[Composition]) -> list[bool]:
    """SMACT's verdict on each composition; each formula is asked about once, because many elements take long."""
    verdicts: dict[str, bool] = {}
    results = []
    for composition in compositions:
        formula = composition.reduced_formula
        if formula not in verdicts:
            verdicts[formula] = check_charges(composition) is None
        results.append(verdicts[formula])
    return results
