"""Do the quick campaigns learn? First against last quarter of the iterations, for several seeds.

    python benchmarks/quick_campaigns.py runs/quick                 # density and hhi, seeds 0 1 2, then the table
    python benchmarks/quick_campaigns.py runs/quick --summary       # only the table of what is there
    python benchmarks/quick_campaigns.py runs/quick --figure f.svg  # the table and a figure

Campaigns run one after another with the quick preset; a finished one is not repeated.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
from setting import processor


def run(task: str, seed: int, folder: Path, settings: list[str]) -> None:
    """Run one campaign unless its directory exists."""
    directory = folder / f"{task}-{seed}"
    if directory.exists():
        return
    changes = [part for setting in settings for part in ("--set", setting)]
    command = ["run", task, "--preset", "quick", "--seed", str(seed), "--output", str(directory), *changes]
    subprocess.run([sys.executable, "-m", "matinvent", *command], check=True)


def quarters(directory: Path, column: str) -> tuple[float, float]:
    """Mean of a metric over the first and the last quarter of the iterations."""
    metrics = pd.read_csv(directory / "metrics.csv")
    size = max(1, len(metrics) // 4)
    return metrics[column].head(size).mean(), metrics[column].tail(size).mean()


def summarise(task: str, directories: list[Path]) -> None:
    """Print one row per seed: reward, property, validity, SUN share, distinct chemical systems."""
    print(f"\n{task}: first -> last quarter")
    print("| run | reward | ratio | mean property | validity | SUN | chemical systems of the scored | minutes |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for directory in directories:
        values = {
            name: quarters(directory, column)
            for name, column in {
                "reward": "reward_mean",
                "property": f"{task}_mean",
                "validity": "validity",
                "sun": "sun",
                "systems": "distinct_chemical_systems",
            }.items()
        }
        ratio = values["reward"][1] / values["reward"][0]
        ratios.append(ratio)
        minutes = pd.read_csv(directory / "timings.csv").drop(columns="iteration").to_numpy().sum() / 60
        cells = [
            "{:.3f} -> {:.3f}".format(*values["reward"]),
            f"{ratio:.2f}",
            "{:.4g} -> {:.4g}".format(*values["property"]),
            "{:.2f} -> {:.2f}".format(*values["validity"]),
            "{:.2f} -> {:.2f}".format(*values["sun"]),
            "{:.1f} -> {:.1f}".format(*values["systems"]),
            f"{minutes:.1f}",
        ]
        print(f"| {directory.name} | {' | '.join(cells)} |")
    print(f"median ratio {statistics.median(ratios):.2f}, smallest {min(ratios):.2f}")


def draw(groups: dict[str, list[Path]], target: Path) -> None:
    """Mean reward and mean property against evaluations spent, one line per seed."""
    import matplotlib.pyplot as plt

    labels = {"density": "mean density (g/cm$^3$)", "hhi": "mean reserve HHI"}
    figure, axes = plt.subplots(2, len(groups), figsize=(4.2 * len(groups), 5), sharex=True, squeeze=False)
    for column, (task, directories) in enumerate(groups.items()):
        for directory in directories:
            metrics = pd.read_csv(directory / "metrics.csv")
            axes[0, column].plot(metrics["evaluations"], metrics["reward_mean"], marker="o", markersize=3)
            axes[1, column].plot(metrics["evaluations"], metrics[f"{task}_mean"], marker="o", markersize=3)
        axes[0, column].set(title=task, ylabel="mean reward", ylim=(0, 1))
        axes[1, column].set(xlabel="property evaluations", ylabel=labels.get(task, task))
    figure.tight_layout()
    figure.savefig(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["density", "hhi"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if not options.summary:
        for task in options.tasks:
            for seed in options.seeds:
                run(task, seed, options.folder, options.settings)
    print(f"# {processor()}")
    groups = {task: sorted(options.folder.glob(f"{task}-[0-9]*")) for task in options.tasks}
    for task, directories in groups.items():
        summarise(task, directories)
    if options.figure:
        draw(groups, options.figure)


if __name__ == "__main__":
    main()
