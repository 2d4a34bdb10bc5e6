"""How good is a prior? Samples of one or more, all screened to the end, as one table of the field's metrics.

    python benchmarks/prior_quality.py mp-symmetric -n 1000 -o runs/quality
    python benchmarks/prior_quality.py mp-symmetric mine.safetensors --steps 20,50,100 -o runs/quality
    python benchmarks/prior_quality.py mp-symmetric --set guidance=0 --data DATA_FOLDER -o runs/unguided

Each variant (prior and steps) gets a folder: samples.extxyz, quality.json, and results.csv, relaxed/ and
relaxed.extxyz as `matinvent evaluate` writes them. A finished variant is not repeated. The output folder gets
quality.md (the printed table), with several --steps steps.svg, with --data distributions.svg and distances.md: the
samples as generated against the stable or synthesised crystals of the data folder (at most 20 atoms).

Screening relaxes with the default potential and limits, in two worker processes, and judges charge balance (SMACT)
beside it. Sampling runs in a process of its own, so that its peak memory is its own
(OMP_NUM_THREADS sets its threads).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from setting import processor

from matinvent.candidate import Candidate
from matinvent.cli.output import progress_bar
from matinvent.cli.structure_files import read_structures, write_structures
from matinvent.config import GeneratorConfig
from matinvent.config_screening import ScreeningConfig
from matinvent.errors import ConfigError, Failure, InputError, MatInventError
from matinvent.priors import SUFFIX, find_prior, load_generator
from matinvent.reporting.screened import space_groups, write_screened
from matinvent.screening.quality import Comparison, Quality, Spread, compare, summarise, wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pymatgen.core import Structure

SAMPLES, RESULT = "samples.extxyz", "quality.json"
MAX_ATOMS = 20  # of the data's crystals, as the shipped prior's training data
SYMPREC = 0.1  # A, as in the reports
TOP_ELEMENTS, TOP_GROUPS = 40, 30
DENSITIES = (0.0, 24.0, 24)  # g/cm3: lower edge, upper edge, bins
COUNTS = {
    "generator made a crystal": "built",
    "structurally valid": "valid",
    "SMACT-valid": "smact",
    "structurally and SMACT-valid": "valid_smact",
    "relaxed to a possible crystal": "relaxed",
    "E_hull < 0.0 eV/atom": "stable",
    "E_hull < 0.1 eV/atom": "metastable",
    "unique (among all relaxed)": "unique",
    "novel (of all relaxed)": "novel",
    "SUN at 0.0 eV/atom, without SMACT": "sun_stable",
    "SUN at 0.1 eV/atom, without SMACT": "sun_any_charge",
    "SUN at 0.1 eV/atom, SMACT-valid": "sun",
}


@dataclass(frozen=True)
class Variant:
    """One prior at one number of steps; ``name`` is its folder."""

    prior: str
    steps: int

    @property
    def label(self) -> str:
        """Short name of the prior."""
        return Path(self.prior).stem if self.prior.endswith(SUFFIX) else self.prior.replace(":", "-").replace("/", "-")

    @property
    def name(self) -> str:
        """Name of the variant and its folder."""
        return f"{self.label}-{self.steps}"


@dataclass(frozen=True)
class Outcome:
    """What is known of a finished variant; seconds are per sampled crystal, memory in MiB."""

    variant: Variant
    quality: Quality
    sampling_s: float
    screening_s: float
    peak_mib: float
    threads: int
    workers: int


@dataclass(frozen=True)
class Features:
    """What the distributions of crystals are drawn from; one entry per crystal."""

    elements: list[frozenset[str]]
    atoms: list[int]
    density: list[float]
    groups: list[int]  # 0: undetermined


# ---------------------------------------------------------------------------------------------- sampling, screening


def changed(settings: Any, key: str, value: Any) -> Any:
    """A copy of a settings dataclass with ``key`` (dotted for nested settings) replaced."""
    first, _, rest = key.partition(".")
    known = [field.name for field in fields(settings)] if is_dataclass(settings) else []
    if first not in known:
        raise ConfigError(f"--set {key}: no such sampler setting (known: {', '.join(known) or 'none'})")
    return replace(settings, **{first: changed(getattr(settings, first), rest, value) if rest else value})


def draw(
    variant: Variant, changes: Sequence[tuple[str, Any]], n: int, seed: int, device: str
) -> tuple[list[Structure | Failure], dict[str, Any]]:
    """Load a prior and sample it; runs in a process of its own."""
    import torch

    config = GeneratorConfig.model_validate({"prior": variant.prior, "steps": variant.steps, "device": device})
    generator: Any = load_generator(variant.prior, config)
    for key, value in changes:
        generator.sampler = changed(getattr(generator, "sampler", None), key, value)
    start = time.perf_counter()
    with progress_bar(f"{variant.name}: sampling {n} crystals") as progress:
        crystals = generator.sample(n, torch.Generator().manual_seed(seed), progress)
    seconds = time.perf_counter() - start
    sampler = getattr(generator, "sampler", None)
    facts = {
        "sampler": asdict(sampler) if is_dataclass(sampler) and not isinstance(sampler, type) else {},
        "sampling_s": seconds / n,
        "peak_mib": peak_memory(),
        "threads": torch.get_num_threads(),
    }
    return crystals, facts


def peak_memory() -> float:
    """Largest resident size of this process so far (MiB)."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would also count the parent's size at the time of the fork
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def screen(candidates: list[Candidate], config: ScreeningConfig, name: str) -> tuple[Quality, list[Comparison], float]:
    """Screen in place; the quality, what it rests on, and seconds per crystal (with the start of the workers)."""
    from matinvent.screening.reference import ReferenceSet
    from matinvent.screening.screen import Screener

    reference = ReferenceSet.load(config.reference)
    screener = Screener(config, reference=reference)
    start = time.perf_counter()
    try:
        with progress_bar(f"{name}: screening {len(candidates)} crystals") as progress:
            screener.screen(candidates, len(candidates), progress)
    finally:
        screener.close()
    seconds = time.perf_counter() - start
    comparisons = compare(candidates, reference)
    return summarise(candidates, comparisons), comparisons, seconds / len(candidates)


def measure(
    variant: Variant, folder: Path, request: dict[str, Any], changes: Sequence[tuple[str, Any]], config: ScreeningConfig
) -> None:
    """Sample and screen one variant; its folder gets its name once everything is in it."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        asked = (variant, changes, request["n"], request["seed"], request["device"])
        crystals, facts = pool.submit(draw, *asked).result()
    built = [crystal for crystal in crystals if not isinstance(crystal, Failure)]
    if not built:
        raise InputError(f"{variant.name}: no crystal could be built")
    write_structures(built, part / SAMPLES)
    numbers = iter(range(1, len(built) + 1))
    sources = ["" if isinstance(c, Failure) else f"{SAMPLES}#{next(numbers)}" for c in crystals]
    drawn = zip(crystals, sources, strict=True)
    candidates = [Candidate.of(0, i, crystal, source) for i, (crystal, source) in enumerate(drawn)]
    quality, comparisons, seconds = screen(candidates, config, variant.name)
    write_screened(candidates, comparisons, space_groups(candidates), part)
    record = {"request": request, **facts, "screening_s": seconds, "quality": asdict(quality)}
    (part / RESULT).write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    part.rename(folder)


def request_of(variant: Variant, options: argparse.Namespace, config: ScreeningConfig) -> dict[str, Any]:
    """What determines a variant's result, in JSON's types; a prior counts by its content."""
    file = find_prior(variant.prior)
    request = {
        "prior": variant.label,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest() if file else "",
        "steps": variant.steps,
        "n": options.n,
        "seed": options.seed,
        "device": options.device,
        "settings": dict(options.settings),
        "screening": config.model_dump(mode="json"),
    }
    plain: dict[str, Any] = json.loads(json.dumps(request, default=str))
    return plain


def obtain(variant: Variant, options: argparse.Namespace, config: ScreeningConfig) -> Outcome:
    """The outcome of a variant, measured unless its folder holds it."""
    folder, request = options.output / variant.name, request_of(variant, options, config)
    if not folder.exists():
        measure(variant, folder, request, options.settings, config)
    if not (folder / RESULT).is_file():
        raise InputError(f"{folder}: exists, but is no result of this script; choose another --output")
    record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    if record["request"] != request:
        differing = [key for key in request if record["request"].get(key) != request[key]]
        raise InputError(f"{folder}: was measured with another {', '.join(differing)}; choose another --output")
    if record["quality"].keys() != {field.name for field in fields(Quality)}:
        raise InputError(f"{folder}: was measured by another version; choose another --output")
    values: dict[str, Any] = {k: Spread(*v) if isinstance(v, list) else v for k, v in record["quality"].items()}
    known = {key: record[key] for key in ("sampling_s", "screening_s", "peak_mib", "threads")}
    return Outcome(variant, Quality(**values), workers=config.workers, **known)


# ---------------------------------------------------------------------------------------------------------- tables


def share(count: int, total: int) -> str:
    """Count, share and its Wilson interval."""
    if total == 0:
        return "0 of 0"
    low, high = wilson(count, total)
    return f"{count} ({count / total:.1%}; {100 * low:.1f} - {high:.1%})".replace("%", " %")


def spread(values: Spread, digits: int) -> str:
    """Median with its interval, and mean."""
    if math.isnan(values.median):
        return "-"
    median, low, high, mean = (f"{value:.{digits}f}" for value in values[1:5])
    return f"{median} ({low} - {high}); {mean}"


def quality_table(outcomes: Sequence[Outcome]) -> str:
    """One column per variant, one row per metric."""
    rows = {"crystals": [str(o.quality.sampled) for o in outcomes]}
    for title, name in COUNTS.items():
        rows[title] = [share(getattr(o.quality, name), o.quality.sampled) for o in outcomes]
    rows["relaxation converged, of the relaxed"] = [share(o.quality.converged, o.quality.relaxed) for o in outcomes]
    rows["E_hull (eV/atom), median; mean"] = [spread(o.quality.e_above_hull, 3) for o in outcomes]
    rows["RMSD to the relaxed crystal (A), median; mean"] = [spread(o.quality.rmsd, 3) for o in outcomes]
    rows["relaxation steps, median; mean"] = [spread(o.quality.relax_steps, 0) for o in outcomes]
    rows["sampling, s per crystal (threads)"] = [f"{o.sampling_s:.3f} ({o.threads})" for o in outcomes]
    rows["sampling, peak memory (MiB)"] = [f"{o.peak_mib:.0f}" for o in outcomes]
    rows["screening, s per crystal (processes)"] = [f"{o.screening_s:.3f} ({o.workers})" for o in outcomes]
    head = [f"{o.variant.label}, {o.variant.steps} steps" for o in outcomes]
    notes = (
        "Shares are of all crystals, in brackets with 95 % intervals (Wilson; medians: order statistics). E_hull, RMSD "
        "and steps are of the relaxed crystals. Shares of distinct crystals (unique, SUN) fall with "
        "the size of the sample."
    )
    return f"{markdown(head, rows)}\n\n{notes}\n"


def markdown(head: Sequence[str], rows: dict[str, list[str]]) -> str:
    """A Markdown table whose first column has no heading."""
    lines = ["| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    return "\n".join([*lines, *(f"| {title} | {' | '.join(cells)} |" for title, cells in rows.items())])


# ---------------------------------------------------------------------------------------------------------- figures


def draw_steps(outcomes: Sequence[Outcome], target: Path) -> None:
    """Quality against denoising steps, one line per prior, with 95 % intervals."""
    from matplotlib import pyplot as plt

    def of_all(name: str) -> Callable[[Outcome], tuple[float, float, float]]:
        def interval(o: Outcome) -> tuple[float, float, float]:
            count = getattr(o.quality, name)
            return count / o.quality.sampled, *wilson(count, o.quality.sampled)

        return interval

    panels: dict[str, Callable[[Outcome], tuple[float, float, float]]] = {
        "structurally valid": of_all("valid"),
        "E$_{hull}$ < 0.1 eV/atom": of_all("metastable"),
        "SUN at 0.1 eV/atom, SMACT-valid": of_all("sun"),
        "median E$_{hull}$ (eV/atom)": lambda o: o.quality.e_above_hull[1:4],
        "median RMSD to the relaxed crystal (Å)": lambda o: o.quality.rmsd[1:4],
        "sampling (s per crystal)": lambda o: (o.sampling_s,) * 3,
    }
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), sharex=True, layout="constrained")
    for axis, (title, value) in zip(axes.flat, panels.items(), strict=True):
        for label in dict.fromkeys(o.variant.label for o in outcomes):
            own = sorted((o for o in outcomes if o.variant.label == label), key=lambda o: o.variant.steps)
            steps = [o.variant.steps for o in own]
            middle, low, high = np.array([value(o) for o in own]).T
            axis.errorbar(steps, middle, [middle - low, high - middle], marker="o", ms=4, capsize=3, label=label)
        axis.set(title=title, xscale="log")
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    steps = sorted({o.variant.steps for o in outcomes})
    for axis in axes[-1]:
        axis.set(xlabel="denoising steps")
        axis.set_xticks(steps, [str(step) for step in steps], minor=False)
        axis.set_xticks([], minor=True)
    axes[0, 0].legend(loc="lower right")
    save(figure, target)


def features(structures: Sequence[Structure], text: str) -> Features:
    """Read off what is drawn; symmetry and primitive cell with one tolerance for samples and data."""
    import moyopy
    from moyopy.interface import MoyoAdapter

    atoms, groups = [], []
    with progress_bar(text) as progress:
        for done, structure in enumerate(structures, start=1):
            try:
                symmetry = moyopy.MoyoDataset(MoyoAdapter.from_structure(structure), symprec=SYMPREC)
                atoms.append(len(symmetry.prim_std_cell.numbers))
                groups.append(symmetry.number)
            except (ValueError, OverflowError):  # overlapping atoms have no meaningful symmetry
                atoms.append(len(structure))
                groups.append(0)
            progress(done / len(structures))
    return Features(
        elements=[frozenset(str(element) for element in s.composition.elements) for s in structures],
        atoms=atoms,
        density=[float(s.density) for s in structures],
        groups=groups,
    )


def data_features(folder: Path, limit: int, held_out: int) -> tuple[Features, Features]:
    """A random part of the data's stable or synthesised crystals, and another of the size of a sample."""
    from matinvent.priors.dataset import EXCLUDED, load_table, structures, synthesised_or_stable

    table = load_table(folder, "mp_structures", ["material_id", "species", "frac_coords", "abc", "angles"])
    keep = [len(species) <= MAX_ATOMS and not EXCLUDED.intersection(species) for species in table["species"]]
    table = table[keep & synthesised_or_stable(folder, table["material_id"].tolist())]
    if len(table) < 2:
        raise InputError(f"{folder}: no stable or synthesised crystals of at most {MAX_ATOMS} atoms")
    held_out = min(held_out, len(table) // 2)
    table = table.sample(min(limit + held_out, len(table)), random_state=0)
    chosen = [structure for _, structure in structures(table)]
    rest = features(chosen[held_out:], f"reading {len(chosen) - held_out} crystals of the data")
    return rest, features(chosen[:held_out], f"reading {held_out} more crystals of the data")


def systems(crystals: Features) -> list[str]:
    """Crystal system of each crystal; empty where undetermined."""
    from matinvent.screening.symmetry import crystal_system_of

    return [crystal_system_of(group) if group else "" for group in crystals.groups]


def frequencies(values: Sequence[Any], keys: Sequence[Any], total: int) -> list[float]:
    """How often each key occurs, per crystal."""
    counts = Counter(values)
    return [counts[key] / total for key in keys]


def total_variation(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Half the summed difference of two distributions over categories."""
    p, q = Counter(a), Counter(b)
    return 0.5 * sum(abs(p[key] / len(a) - q[key] / len(b)) for key in p.keys() | q.keys())


def occurrences(crystals: Features) -> list[str]:
    """Every element of every crystal."""
    return [element for elements in crystals.elements for element in sorted(elements)]


def distance_table(data: Features, others: dict[str, Features]) -> str:
    """How far each set of crystals is from the data."""
    from scipy.stats import wasserstein_distance

    def numbers(f: Features) -> list[int]:
        return [len(elements) for elements in f.elements]

    rows: dict[str, Callable[[Features], float]] = {
        "density, Wasserstein distance (g/cm3)": lambda f: wasserstein_distance(f.density, data.density),
        "number of elements, Wasserstein distance": lambda f: wasserstein_distance(numbers(f), numbers(data)),
        "atoms per primitive cell, Wasserstein distance": lambda f: wasserstein_distance(f.atoms, data.atoms),
        "elements, total variation": lambda f: total_variation(occurrences(f), occurrences(data)),
        "space groups, total variation": lambda f: total_variation(f.groups, data.groups),
        "crystal systems, total variation": lambda f: total_variation(systems(f), systems(data)),
    }
    cells = {title: [f"{value(f):.3f}" for f in others.values()] for title, value in rows.items()}
    sizes = {"crystals": [str(len(f.atoms)) for f in others.values()]}
    note = f"Against {len(data.atoms)} crystals of the data. Other crystals of the data show what chance alone does."
    return f"{markdown(list(others), sizes | cells)}\n\n{note}\n"


def draw_distributions(data: Features, samples: dict[str, Features], target: Path) -> None:
    """Samples (markers) against data (bars)."""
    import moyopy
    from matplotlib import pyplot as plt

    from matinvent.screening.symmetry import CRYSTAL_SYSTEMS

    figure, axes = plt.subplot_mosaic("EEEE;GGGG;ADNS", figsize=(12, 9), layout="constrained")

    def panel(name: str, title: str, keys: Sequence[Any], values: Callable[[Features], Sequence[Any]]) -> Axes:
        axis: Axes = axes[name]
        axis.bar(range(len(keys)), frequencies(values(data), keys, len(data.atoms)), color="0.8", label="data")
        for label, crystals in samples.items():
            shares = frequencies(values(crystals), keys, len(crystals.atoms))
            axis.plot(range(len(keys)), shares, "o", markersize=4, label=label)
        axis.set(title=title, ylabel="share of crystals")
        axis.set_xticks(range(len(keys)), [str(key) for key in keys])
        axis.set_xlim(-0.7, len(keys) - 0.3)
        return axis

    elements = [element for element, _ in Counter(occurrences(data)).most_common(TOP_ELEMENTS)]
    groups = [group for group, _ in Counter(data.groups).most_common(TOP_GROUPS)]
    panel("E", f"the data's {len(elements)} most frequent elements", elements, occurrences).legend()
    axis = panel("G", f"the data's {len(groups)} most frequent space groups", groups, lambda f: f.groups)
    names = [moyopy.SpaceGroupType(g).hm_short.replace(" ", "") if g else "none" for g in groups]
    axis.set_xticks(range(len(groups)), names, rotation=90)
    axis = panel("A", "atoms per primitive cell", range(1, MAX_ATOMS + 1), lambda f: f.atoms)
    axis.set_xticks(range(1, MAX_ATOMS, 2), [str(n) for n in range(2, MAX_ATOMS + 1, 2)])
    panel("N", "number of elements", range(1, 8), lambda f: [len(e) for e in f.elements])
    axis = panel("S", "crystal systems", list(CRYSTAL_SYSTEMS), systems)
    axis.tick_params(axis="x", labelrotation=90)
    draw_densities(axes["D"], data, samples)
    save(figure, target)


def draw_densities(axis: Axes, data: Features, samples: dict[str, Features]) -> None:
    """Histograms of the density; crystals beyond the range fall out of the picture, not out of the shares."""
    low, high, bins = DENSITIES
    edges = [low + (high - low) * i / bins for i in range(bins + 1)]

    def weights(f: Features) -> list[float]:
        return [1 / len(f.density)] * len(f.density)

    axis.hist(data.density, edges, weights=weights(data), color="0.8")
    for crystals in samples.values():
        axis.hist(crystals.density, edges, weights=weights(crystals), histtype="step")
    axis.set(title="density (g/cm$^3$)", ylabel="share of crystals")


def save(figure: Figure, target: Path) -> None:
    """Write an SVG that is the same whenever its content is."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "matinvent"}):
        figure.savefig(target, metadata={"Date": None})


# ------------------------------------------------------------------------------------------------------------- main


def parse_steps(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse_setting(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text}: expected KEY=VALUE, e.g. guidance=0.5")
    parsed = yaml.safe_load(value)
    return key, tuple(parsed) if isinstance(parsed, list) else parsed  # settings are hashable


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("priors", nargs="+", metavar="PRIOR", help="shipped prior or checkpoint file")
    parser.add_argument("-n", type=int, default=1000, help="crystals per variant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT_FOLDER")
    parser.add_argument("--steps", type=parse_steps, default=[50], metavar="N[,N...]", help="denoising steps")
    parser.add_argument(
        "--set", type=parse_setting, action="append", default=[], dest="settings", metavar="KEY=VALUE",
        help="change a sampler setting (dotted if nested); repeatable",
    )  # fmt: skip
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of the sampling")
    parser.add_argument("--workers", type=int, default=2, help="screening processes")
    parser.add_argument("--data", type=Path, metavar="DATA_FOLDER", help="draw distributions against this data")
    parser.add_argument("--data-limit", type=int, default=10_000, help="crystals of the data that are looked at")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("-n: at least one crystal")
    return options


def run(options: argparse.Namespace) -> None:
    variants = [Variant(prior, steps) for prior in options.priors for steps in options.steps]
    if len({variant.name for variant in variants}) < len(variants):
        raise ConfigError("two variants have the same name; give priors different file names and steps once")
    config = ScreeningConfig.for_measuring(workers=options.workers)
    outcomes = [obtain(variant, options, config) for variant in variants]
    print(f"# {processor()}\n")
    table = quality_table(outcomes)
    (options.output / "quality.md").write_text(table, encoding="utf-8")
    print(table)
    if len(options.steps) > 1:
        draw_steps(outcomes, options.output / "steps.svg")
    if options.data:
        compare_with_data(variants, options)


def compare_with_data(variants: Sequence[Variant], options: argparse.Namespace) -> None:
    samples = {}
    for variant in variants:
        read = read_structures([options.output / variant.name / SAMPLES])
        crystals = [crystal for _, crystal in read if not isinstance(crystal, Failure)]
        samples[variant.name] = features(crystals, f"{variant.name}: symmetry of the samples")
    data, others = data_features(options.data, options.data_limit, options.n)
    draw_distributions(data, samples, options.output / "distributions.svg")
    table = distance_table(data, samples | {"other data": others})
    (options.output / "distances.md").write_text(table, encoding="utf-8")
    print(table)


def main() -> None:
    try:
        run(parse())
    except MatInventError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
