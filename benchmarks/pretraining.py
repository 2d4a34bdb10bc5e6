"""How fast does pretraining go? Optimizer steps per minute of variants, each in a process of its own.

    python benchmarks/pretraining.py DATA_FOLDER [--minutes 0.5] [--limit 4000]

Same network, same batches of 128 crystals: products in single precision or bfloat16, one worker with one thread, one
with a thread per core, or one worker per core. Ratios are to the first row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from setting import processor

VARIANTS: dict[str, dict[str, object]] = {
    "1 worker, 1 thread, float32": {"workers": 1, "threads": 1, "bfloat16": False},
    "1 worker, 1 thread": {"workers": 1, "threads": 1},
    "1 worker, 1 thread, AdamW only": {"workers": 1, "threads": 1, "optimizer": "adamw"},
    "1 worker, all threads": {"workers": 1, "threads": 0},
    "1 worker per core": {"workers": 0},
}


def measure(data: Path, limit: int, settings: dict[str, object]) -> None:
    """Train for the minutes of the settings and print the steps per minute."""
    import tempfile

    from matinvent.priors.dataset import load_crystals
    from matinvent.priors.pretrain import build_model
    from matinvent.priors.settings import PretrainConfig
    from matinvent.priors.trainer import Trainer

    config = PretrainConfig.model_validate(settings)
    crystals, realistic = load_crystals(data, config.max_atoms, config.symmetric, limit)
    trainer = Trainer(config, build_model(config, crystals, realistic), crystals, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        trainer.run(Path(folder) / "trial.safetensors")
    print(trainer.step / (trainer.elapsed / 60))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder as for `matinvent pretrain --data`")
    parser.add_argument("--minutes", type=float, default=0.5, help="training time of each variant")
    parser.add_argument("--limit", type=int, default=4000, help="crystals used")
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.settings:
        measure(given.data, given.limit, json.loads(given.settings))
        return
    print(f"{processor()}\n")
    print("| variant | steps per minute | ratio |\n|---|---|---|")
    first = 0.0
    for name, settings in VARIANTS.items():
        changes = json.dumps({**settings, "minutes": given.minutes})
        command = [sys.executable, __file__, str(given.data), "--limit", str(given.limit), "--settings", changes]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rate = float(done.stdout.split()[-1])
        first = first or rate
        print(f"| {name} | {rate:.0f} | {rate / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
