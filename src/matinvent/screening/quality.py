"""How good is a generator? The field's metrics of a screened sample, as counts with 95 % intervals.

Every count is of all sampled crystals unless it says otherwise, so that a crystal that could not be built or
relaxed is never lost from a denominator. Charge balance (SMACT) is judged beside the screening, not
within it: the stability of a crystal is known whatever its oxidation states.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matinvent.candidate import Candidate, Fate
from matinvent.errors import Failure
from matinvent.screening.matching import Catalogue, Matcher
from matinvent.screening.validity import check_charges

if TYPE_CHECKING:
    from pymatgen.core import Composition

    from matinvent.screening.reference import ReferenceSet

Progress = Callable[[float], None]

#: Energies above the hull (eV/atom) below which a crystal is stable, and below which it is metastable.
STABLE, METASTABLE = 0.0, 0.1

#: Which quantiles a spread tells.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

#: 97.5 % quantile of the standard normal distribution.
_Z95 = 1.959963984540054


class Spread(NamedTuple):
    """``n`` values of relaxed crystals in brief: median with its 95 % interval, mean, quantiles; NaN without values.

    The interval lies between order statistics of the sample, so it assumes nothing about the distribution;
    below six values it is their whole range. The quantiles are those of :data:`QUANTILES`.
    """

    n: int
    median: float
    low: float
    high: float
    mean: float
    quantiles: tuple[float, ...]


class Comparison(NamedTuple):
    """What one crystal of a sample is like beside the others and beside what is known.

    Attributes:
        charge_balanced: SMACT's verdict; None for a crystal that was never built.
        first: position in the sample of the first relaxed crystal that is the same; its own if there is none before.
        known_as: name of the known crystal that is the same; empty if novel, or not relaxed.
    """

    charge_balanced: bool | None
    first: int
    known_as: str


@dataclass(frozen=True, slots=True)
class Quality:
    """Counts and spreads of one screened sample.

    Counts of distinct crystals (``unique...`` and the SUN ones) depend on the size of the sample: the more
    are drawn, the more repeat. Compare them between samples of one size only.

    Attributes:
        limit: energy above the hull (eV/atom) below which a crystal counts as metastable.
        sampled: all crystals asked for; what counts are shares of.
        built: the generator made a crystal at all, or the file could be read.
        valid: structurally valid: possible cell, no overlapping atoms.
        smact: compositions that SMACT finds charge-balanced, whatever the geometry.
        valid_smact: both of the former.
        relaxed: came through the relaxation as a possible crystal with a plausible energy.
        converged: of the relaxed ones, those that met the force criterion.
        given_up: of the relaxed ones, those stopped early; their energies are upper bounds.
        placed: of the relaxed ones, those with an energy above the hull (the reference knows their elements).
        stable: below 0.0 eV/atom above the hull.
        metastable: below ``limit``.
        unique: distinct crystals among all relaxed ones.
        novel: relaxed crystals that the reference set does not know.
        unique_metastable: distinct crystals among the metastable ones.
        novel_metastable: metastable crystals that the reference set does not know.
        sun_stable: distinct crystals that are stable and novel.
        sun_any_charge: distinct crystals that are metastable and novel.
        sun: distinct crystals that are metastable, novel and SMACT-valid.
        e_above_hull: energies above the hull (eV/atom).
        rmsd: displacements of the atoms by the relaxation (A), see
            :class:`~matinvent.screening.relaxation.Relaxation`.
        volume_change: relative changes of the volume by the relaxation (0.1: a tenth larger).
        relax_steps: optimizer steps of the relaxations.
        failures: why crystals are not counted as relaxed, or have no place on the hull: kind -> how many.
    """

    limit: float
    sampled: int
    built: int
    valid: int
    smact: int
    valid_smact: int
    relaxed: int
    converged: int
    given_up: int
    placed: int
    stable: int
    metastable: int
    unique: int
    novel: int
    unique_metastable: int
    novel_metastable: int
    sun_stable: int
    sun_any_charge: int
    sun: int
    e_above_hull: Spread
    rmsd: Spread
    volume_change: Spread
    relax_steps: Spread
    failures: dict[str, int]


def assess(candidates: Sequence[Candidate], reference: ReferenceSet) -> Quality:
    """Measure a sample that was screened with ``exhaustive`` on and ``validity.smact`` off.

    Uniqueness and novelty are measured on all relaxed crystals, where the screener looks at the stable ones only.

    Raises:
        ValueError: a crystal was not screened to its end, or was rejected for its charges.
    """
    return summarise(candidates, compare(candidates, reference))


def compare(
    candidates: Sequence[Candidate],
    reference: ReferenceSet,
    progress: Progress | None = None,
    matcher: Matcher | None = None,
) -> list[Comparison]:
    """Compare each crystal of a screened sample with the others and with the known ones.

    Args:
        candidates: the sample.
        reference: the known crystals.
        progress: called with the finished share in (0, 1].
        matcher: how crystals are told apart.
    """
    results = []
    balanced: dict[str, bool] = {}
    matcher = matcher or Matcher()
    seen = Catalogue(matcher)
    for position, candidate in enumerate(candidates):
        # Relaxation changes no composition, so that what holds for the generated crystal holds for the relaxed one.
        charges = None if candidate.structure is None else _is_balanced(candidate.structure.composition, balanced)
        identity = matcher.identify(candidate.final) if is_relaxed(candidate) and candidate.final is not None else None
        if identity is None or isinstance(identity, Failure):
            results.append(Comparison(charges, position, ""))
        else:
            twin = seen.find_or_add(identity, str(position))
            results.append(Comparison(charges, int(twin or position), reference.match(identity, matcher) or ""))
        if progress is not None:
            progress((position + 1) / len(candidates))
    return results


def summarise(
    candidates: Sequence[Candidate],
    comparisons: Sequence[Comparison],
    *,
    limit: float = METASTABLE,
    charges_first: bool = False,
) -> Quality:
    """Count what was found.

    Args:
        candidates: a sample that was screened with ``exhaustive`` on.
        comparisons: of each of them, see :func:`compare`.
        limit: energy above the hull (eV/atom) below which a crystal counts as metastable.
        charges_first: the sample was screened with ``validity.smact`` on. Crystals that fell to it count as
            structurally valid, and whatever is said of relaxed crystals is said of the charge-balanced ones.

    Raises:
        ValueError: a crystal was not screened to its end, or was rejected for its charges without ``charges_first``.
    """
    _require_complete(candidates, charges_first)
    pairs = list(zip(candidates, comparisons, strict=True))
    valid = [x for c, x in pairs if c.structure is not None and _has_valid_geometry(c)]
    relaxed = [(c, x) for c, x in pairs if is_relaxed(c)]
    members = [c for c, _ in relaxed]
    stable = [x for c, x in relaxed if is_below(c, STABLE)]
    metastable = [x for c, x in relaxed if is_below(c, limit)]
    return Quality(
        limit=limit,
        sampled=len(candidates),
        built=sum(c.structure is not None for c in candidates),
        valid=len(valid),
        smact=sum(bool(x.charge_balanced) for x in comparisons),
        valid_smact=sum(bool(x.charge_balanced) for x in valid),
        relaxed=len(relaxed),
        converged=sum(bool(c.converged) for c in members),
        given_up=sum(bool(c.given_up) for c in members),
        placed=sum(c.e_above_hull is not None for c in members),
        stable=len(stable),
        metastable=len(metastable),
        unique=_distinct(x for _, x in relaxed),
        novel=sum(not x.known_as for _, x in relaxed),
        unique_metastable=_distinct(metastable),
        novel_metastable=sum(not x.known_as for x in metastable),
        sun_stable=_distinct(x for x in stable if not x.known_as),
        sun_any_charge=_distinct(x for x in metastable if not x.known_as),
        sun=len(sun_positions(candidates, comparisons, limit)),
        e_above_hull=spread(c.e_above_hull for c in members),
        rmsd=spread(c.rmsd for c in members),
        volume_change=spread(volume_change(c) for c in members),
        relax_steps=spread(c.relax_steps for c in members),
        failures=dict(Counter(kind for c in candidates if (kind := failure_kind(c))).most_common()),
    )


def sun_positions(candidates: Sequence[Candidate], comparisons: Sequence[Comparison], limit: float) -> list[int]:
    """Positions of the crystals that count as SUN: of each distinct one the first that has all it takes."""
    firsts: dict[int, int] = {}
    for position, (c, x) in enumerate(zip(candidates, comparisons, strict=True)):
        if is_relaxed(c) and is_below(c, limit) and not x.known_as and x.charge_balanced:
            firsts.setdefault(x.first, position)
    return sorted(firsts.values())


def is_relaxed(candidate: Candidate) -> bool:
    """Whether a screened crystal came through the relaxation as a possible one with a plausible energy."""
    return candidate.structure is not None and candidate.fate not in {Fate.INVALID, Fate.RELAX_FAILED}


def volume_change(candidate: Candidate) -> float | None:
    """Relative change of the volume by the relaxation; None without one."""
    if candidate.structure is None or candidate.relaxed is None:
        return None
    return float(candidate.relaxed.volume / candidate.structure.volume - 1)


def failure_kind(candidate: Candidate) -> str:
    """The machine-readable part of why a crystal was not relaxed or not placed on the hull; empty if it was."""
    lost = not is_relaxed(candidate)
    if not (lost or (candidate.fate is Fate.UNSTABLE and candidate.e_above_hull is None)):
        return ""
    return re.split("[:,]", candidate.reason.removeprefix("after relaxation: "))[0]


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
    """Median, its 95 % interval, mean and quantiles of the values that are there."""
    from scipy.stats import binom

    ordered = np.sort(np.array([value for value in values if value is not None], dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return Spread(0, math.nan, math.nan, math.nan, math.nan, (math.nan,) * len(QUANTILES))
    # The median lies above as many values as a fair coin falls heads in n throws: between the ranks low and high.
    low = max(1, int(binom.ppf(0.025, n, 0.5)))
    bounds = ordered[low - 1], ordered[n - low]
    quantiles = tuple(np.quantile(ordered, QUANTILES).tolist())
    return Spread(n, float(np.median(ordered)), float(bounds[0]), float(bounds[1]), float(ordered.mean()), quantiles)


def _require_complete(candidates: Sequence[Candidate], charges_first: bool) -> None:
    """A share of a sample that was screened in part, or by charges first, would not be what its name says."""
    for candidate in candidates:
        if candidate.fate is Fate.GENERATED:
            raise ValueError(f"{candidate.label} was not screened; screen with 'exhaustive' on")
        if not charges_first and _fell_to_charges(candidate):
            raise ValueError(f"{candidate.label} fell to SMACT; screen with 'validity.smact' off")


def _fell_to_charges(candidate: Candidate) -> bool:
    """Whether only the charges spoke against a crystal; geometry is judged before them."""
    return candidate.fate is Fate.INVALID and candidate.reason.startswith("smact:")


def _has_valid_geometry(candidate: Candidate) -> bool:
    # A crystal found unrecognisable after its relaxation is INVALID too, but has an energy.
    return candidate.fate is not Fate.INVALID or candidate.energy_per_atom is not None or _fell_to_charges(candidate)


def _distinct(comparisons: Iterable[Comparison]) -> int:
    return len({x.first for x in comparisons})


def _is_balanced(composition: Composition, verdicts: dict[str, bool]) -> bool:
    """SMACT's verdict; each formula is asked about once, because many elements take long."""
    formula = composition.reduced_formula
    if formula not in verdicts:
        verdicts[formula] = check_charges(composition) is None
    return verdicts[formula]
