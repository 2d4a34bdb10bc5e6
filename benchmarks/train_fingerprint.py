"""Train the network behind the crystal fingerprint to agree with pymatgen's StructureMatcher.

    python benchmarks/train_fingerprint.py DATA --pairs pairs.npz --output src/matinvent/data/fingerprint.npz

Labels pairs of crystals of one reduced formula as the same or different by StructureMatcher (defaults): polymorphs,
rattled and strained crystals, crystals of one formula in the structure of another, and both of these relaxed. Then
trains f(invariants) such that the distance |f(a) - f(b)| predicts the label, and scales it so that the threshold is 1.
Formulas held out by novelty_crystals.py are not used. Labelling takes about an hour on two cores and is kept in
--pairs; training takes 5 minutes. The reference set must be rebuilt afterwards (`matinvent reference build`).
"""

from __future__ import annotations

import argparse
import itertools
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from novelty_crystals import MAX_ATOMS, KnownCrystals, rattled, relax
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from torch import Tensor, nn

from matinvent.errors import Failure
from matinvent.screening.fingerprint import LENGTH
from matinvent.screening.invariants import COUNT, invariants
from matinvent.screening.neighbors import Crystal, cell_defect

HIDDEN = 256
SECONDS_PER_PAIR = 10  # StructureMatcher rarely takes minutes; such a pair is left out
RELAXED_WEIGHT = 3  # pairs with a relaxed crystal are what the fingerprint is for
#: Log-odds above which crystals are the same. A crystal is known if it equals any of several, which balances
#: precision and recall of that verdict below even odds.
LOG_ODDS = -0.75
Pair = tuple[str, Structure, Structure]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mp_structures.parquet")
    parser.add_argument("--pairs", type=Path, required=True, help="labelled pairs; made if the file does not exist")
    parser.add_argument("--output", type=Path, required=True, help="weights to write (.npz); must not exist")
    parser.add_argument("--polymorphs", type=int, default=8000, help="formulas with several crystals")
    parser.add_argument("--distorted", type=int, default=60000, help="rattled or substituted crystals")
    parser.add_argument("--relaxed", type=int, default=1700, help="rattled or substituted crystals that are relaxed")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.output.exists():
        parser.error(f"{arguments.output} exists already and is never overwritten")
    warnings.filterwarnings("ignore")
    if not arguments.pairs.is_file():
        label(arguments)
    with np.load(arguments.pairs) as pairs:
        rows = np.repeat(np.arange(len(pairs["kind"])), np.where(pairs["kind"] == "relaxed", RELAXED_WEIGHT, 1))
        first, second, same = pairs["first"][rows], pairs["second"][rows], pairs["same"][rows]
        print(f"{len(pairs['kind'])} pairs, {pairs['same'].mean():.1%} the same")
    model = train(first, second, same, arguments.epochs, arguments.seed)
    write(model, arguments.output)


def label(arguments: argparse.Namespace) -> None:
    """Ask StructureMatcher about all pairs and keep their invariants."""
    known = KnownCrystals(arguments.data)
    rng = np.random.default_rng(arguments.seed)
    matcher = StructureMatcher()
    signal.signal(signal.SIGALRM, _too_slow)
    kinds, first, second, same = [], [], [], []
    start = time.monotonic()
    for kind, one, other in itertools.chain(
        polymorphs(known, arguments.polymorphs, rng),
        distorted(known, arguments.distorted, rng),
        relaxed(known, arguments.relaxed, rng),
    ):
        crystals = [Crystal.from_structure(one), Crystal.from_structure(other)]
        if any(cell_defect(crystal) is not None for crystal in crystals):
            continue
        signal.alarm(SECONDS_PER_PAIR)
        try:
            answer = bool(matcher.fit(one, other))
        except TimeoutError:
            continue
        finally:
            signal.alarm(0)
        kinds.append(kind)
        same.append(answer)
        first.append(invariants(crystals[0]))
        second.append(invariants(crystals[1]))
        if len(same) % 5000 == 0:
            print(f"{len(same)} pairs, {np.mean(same):.1%} the same, {time.monotonic() - start:.0f} s", flush=True)
    np.savez_compressed(arguments.pairs, kind=kinds, first=first, second=second, same=same)


def polymorphs(known: KnownCrystals, count: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Pairs of known crystals, at most four of each formula."""
    several = [rows for rows in known.by_formula.values() if len(rows) > 1 and not known.held_out[rows[0]]]
    for position in rng.permutation(len(several))[:count]:
        rows = several[position]
        chosen = rng.choice(rows, min(4, len(rows)), replace=False)
        for one, other in itertools.combinations([known.structure(row) for row in chosen], 2):
            yield "polymorphs", one, other


def distorted(known: KnownCrystals, count: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Rattled crystals, and formulas in the structure of others, each against up to three known ones."""
    training = np.flatnonzero(~known.held_out)
    for row in rng.choice(training, count):
        if rng.random() < 0.55:
            kind, query = "rattled", rattled(known.structure(row), rng.uniform(0, 0.25), rng.uniform(0, 0.05), rng)
        else:
            made = known.substituted(row, rng)
            if made is None:
                continue
            kind, query = "substituted", rattled(made, rng.uniform(0, 0.12), rng.uniform(0, 0.04), rng)
        for other in known.like(row, 3, rng):
            yield kind, query, other


def relaxed(known: KnownCrystals, count: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Relaxed crystals, a third of them rattled, the others substituted, against the known ones of their formula."""
    small = [row for row in np.flatnonzero(~known.held_out) if known.atoms(row) <= MAX_ATOMS]
    rows, crystals = [], []
    for row in rng.choice(small, count):
        if rng.random() < 1 / 3:
            made: Structure | None = rattled(known.structure(row), rng.uniform(0.05, 0.25), 0.03, rng)
        else:
            made = known.substituted(row, rng)
        if made is not None:
            rows.append(row)
            crystals.append(made)
    for row, crystal in zip(rows, relax(crystals), strict=True):
        if not isinstance(crystal, Failure):
            for other in known.like(row, 50, rng):
                yield "relaxed", crystal, other


class Siamese(nn.Module):
    """Log-odds that two crystals are the same: an offset minus a multiple of the distance of their points."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = nn.Sequential(
            nn.Linear(COUNT, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, LENGTH)
        )
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.offset = nn.Parameter(torch.tensor(2.0))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Invariants, shapes (B, 126) -> (B,)."""
        points = [self.layers((values - self.mean) / self.scale) for values in (first, second)]
        return self.offset - self.slope * ((points[0] - points[1]) ** 2).sum(dim=1).add(1e-6).sqrt()


def train(first: np.ndarray, second: np.ndarray, same: np.ndarray, epochs: int, seed: int, batch: int = 512) -> Siamese:
    """Logistic regression of the labels on the distance."""
    torch.manual_seed(seed)
    a, b, label = torch.tensor(first), torch.tensor(second), torch.tensor(same, dtype=torch.float32)
    model = Siamese(b.mean(dim=0), (a - b).abs().std(dim=0) + 1e-3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * (len(label) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(label))
        losses = []
        for chosen in order[: len(order) // batch * batch].split(batch):
            loss = nn.functional.binary_cross_entropy_with_logits(model(a[chosen], b[chosen]), label[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: cross-entropy {np.mean(losses):.4f}", flush=True)
    return model


def write(model: Siamese, path: Path, log_odds: float = LOG_ODDS) -> None:
    """Write the layers with the standardisation folded in, scaled so that the threshold is a distance of 1."""
    factor = float(model.slope.detach() / (model.offset.detach() - log_odds))
    linear = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().double().T for layer in linear]
    biases = [layer.bias.detach().double() for layer in linear]
    biases[0] = biases[0] - (model.mean / model.scale).double() @ weights[0]
    weights[0] = weights[0] / model.scale.double()[:, None]
    weights[-1], biases[-1] = weights[-1] * factor, biases[-1] * factor
    arrays = {f"weight{i}": value.float().numpy() for i, value in enumerate(weights)}
    arrays |= {f"bias{i}": value.float().numpy() for i, value in enumerate(biases)}
    with path.open("xb") as file:
        np.savez(file, **arrays)


def _too_slow(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
