"""``matinvent pretrain`` on a tiny data folder, and the priors that ship."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from tests.unit.test_diffcsp_template import CRYSTALS

from matinvent.config import GeneratorConfig
from matinvent.errors import CheckpointError, ConfigError, Failure, InputError
from matinvent.generators.diffcsp.library import Blueprint
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.generators.diffcsp.sampler import blank
from matinvent.priors import list_priors, load_generator
from matinvent.priors.dataset import load_crystals
from matinvent.priors.pretrain import pretrain
from matinvent.priors.settings import PretrainConfig, load_pretrain_config

TINY = {
    "minutes": 0.03, "hidden": 16, "edge": 8, "layers": 1, "batch_size": 8, "workers": 1, "threads": 1,
    "bfloat16": False, "critic_minutes": 0.01,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A data folder in the documented format, one unstable polymorph included."""
    rows, energies = [], []
    for number, (name, structure) in enumerate(CRYSTALS.items()):
        material = f"test-{number}"
        rows.append(
            {
                "material_id": material,
                "natoms": len(structure),
                "species": [site.species_string for site in structure],
                "frac_coords": structure.frac_coords.ravel().tolist(),
                "abc": list(structure.lattice.abc),
                "angles": list(structure.lattice.angles),
            }
        )
        energy = -1.0 if name != "wurtzite" else -0.6
        energies.append({"material_id": material, "formula": structure.reduced_formula, "energy_per_atom": energy})
    energies.append({"material_id": "other", "formula": "ZnO", "energy_per_atom": -1.0})
    energies += [
        {"material_id": f"el-{e}", "formula": e, "energy_per_atom": 0.0}
        for e in {element.symbol for s in CRYSTALS.values() for element in s.elements} - {"Si"}
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "mp_structures.parquet")
    pd.DataFrame(energies).to_parquet(tmp_path / "mp_energies.parquet")
    labels = {"material_id": [r["material_id"] for r in rows], "in_icsd": 1.0, "e_above_hull": np.nan}
    pd.DataFrame(labels).to_parquet(tmp_path / "mp_labels.parquet")
    return tmp_path


def test_crystals_carry_their_energy_above_hull_class(folder):
    crystals, realistic = load_crystals(folder, 20, symmetric=True)
    assert len(crystals) == sum(len(s.get_primitive_structure()) <= 20 for s in CRYSTALS.values())
    assert realistic.all()
    classes = {tuple(sorted(c.species)): c.stability for c in crystals}
    assert classes[8, 30] == 5, "0.4 eV/atom lies between the edges 0.2 and 0.5"
    assert classes[14,] == 1


@pytest.mark.parametrize("symmetric", [True, False])
def test_pretraining_writes_a_prior_that_can_be_sampled(folder, symmetric):
    output = folder / "prior.safetensors"
    lines = []
    pretrain(PretrainConfig(name="tiny", symmetric=symmetric, **TINY), folder, output, lines.append)
    card = output.with_suffix(".md").read_text()
    assert "tiny" in card
    assert "validation loss" in card
    assert any("finished after" in line for line in lines)
    model = load_generator(str(output), GeneratorConfig(prior=str(output), steps=3))
    assert isinstance(model, DiffCSP)
    assert model.symmetric is symmetric
    assert model.sampler.guidance == 0.0
    assert model.sampler.candidates == 4
    assert model.critic is not None
    assert model.seen is not None
    assert len(model.sample(4, torch.Generator().manual_seed(0))) == 4
    with pytest.raises(ConfigError, match="exists already"):
        pretrain(PretrainConfig(**TINY), folder, output)


def test_an_interrupted_training_is_resumed_where_it_was(folder, monkeypatch):
    monkeypatch.setattr("matinvent.priors.trainer._SAVE_INTERVAL", 0.0)
    output = folder / "prior.safetensors"
    settings = PretrainConfig(**TINY)
    lines = []

    def interrupt(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(CheckpointError, match="start without --resume"):
        pretrain(settings, folder, output, resume=True)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings, folder, output, progress=interrupt)
    with pytest.raises(ConfigError, match="exists already"):
        pretrain(settings, folder, output)
    other = PretrainConfig(**{**TINY, "hidden": 32})
    with pytest.raises(CheckpointError, match="does not fit these settings"):
        pretrain(other, folder, output, resume=True)
    pretrain(settings, folder, output, lines.append, resume=True)
    resumed = next(line for line in lines if line.startswith("resumed after"))
    assert int(resumed.split()[2]) > 0
    assert not output.with_suffix(".state").exists()
    assert load_generator(str(output), GeneratorConfig(prior=str(output))).critic is not None


@pytest.mark.slow
def test_a_training_is_judged_by_sampling_and_screening(folder):
    lines = []
    settings = PretrainConfig(**{**TINY, "judge_every": 0.01, "judge_samples": 4})
    pretrain(settings, folder, folder / "prior.safetensors", lines.append)
    trials = [line for line in lines if "of 4 samples" in line]
    assert trials
    assert all("SUN" in line and "above the hull" in line for line in trials)


def test_trials_are_no_part_of_the_training_time(folder, monkeypatch):
    trials = []

    def slow_judge(model, n):
        time.sleep(0.3)
        trials.append(n)

    monkeypatch.setattr("matinvent.priors.trainer.judge", slow_judge)
    monkeypatch.setattr("matinvent.priors.trainer.in_brief", lambda quality: "judged")
    settings = PretrainConfig(**{**TINY, "judge_every": 0.01, "judge_samples": 5})
    pretrain(settings, folder, folder / "prior.safetensors")
    assert len(trials) >= 2, "1.8 s of training hold two trials every 0.6 s only if their own time is not counted"
    assert set(trials) == {5}


def test_training_can_start_from_another_prior(folder):
    first, second = folder / "first.safetensors", folder / "second.safetensors"
    pretrain(PretrainConfig(**TINY), folder, first)
    lines = []
    short = {**TINY, "minutes": 1e-6, "critic_minutes": 0}
    pretrain(PretrainConfig(**short, initial=str(first), seed=7), folder, second, lines.append)
    assert any("arrays taken from" in line for line in lines)
    before, after = (load_generator(str(p), GeneratorConfig(prior=str(p))).denoiser for p in (first, second))
    torch.testing.assert_close(before.edge.weight, after.edge.weight, atol=0.01, rtol=0)
    with pytest.raises(ConfigError, match="initial: 'nowhere' is neither"):
        pretrain(PretrainConfig(**short, initial="nowhere"), folder, folder / "third.safetensors")


def test_two_workers_train_one_model(folder):
    # In a process of its own: workers are forked, which autograd allows only before its first use.
    settings = {**TINY, "workers": 2, "minutes": 0.05}
    script = (
        "from pathlib import Path; from matinvent.priors.pretrain import pretrain; "
        "from matinvent.priors.settings import PretrainConfig; "
        f"folder = Path({str(folder)!r}); "
        f"pretrain(PretrainConfig(**{settings!r}), folder, folder / 'p.safetensors', print)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "finished after" in done.stdout
    assert (folder / "p.md").is_file()


def test_what_a_data_folder_lacks_is_named(tmp_path, folder):
    with pytest.raises(InputError, match=r"mp_structures\.parquet"):
        load_crystals(tmp_path / "nowhere", 20, symmetric=True)
    (folder / "mp_energies.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"mp_energies\.parquet.*cannot be read"):
        load_crystals(folder, 20, symmetric=True)


def test_bad_settings_are_named(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("hiden: 12\n")
    with pytest.raises(ConfigError, match="hiden"):
        load_pretrain_config(path)


def test_shipped_priors_have_cards_and_make_crystals():
    priors = list_priors()
    assert "mp-symmetric" in {prior.name for prior in priors}
    for prior in priors:
        assert prior.summary
        model = load_generator(prior.name, GeneratorConfig(prior=prior.name, steps=15))
        drawn = model.sample(12, torch.Generator().manual_seed(0))
        built = [s for s in drawn if not isinstance(s, Failure)]
        assert len(built) >= 11
        volumes = [s.volume / len(s) for s in built]
        assert 8 < float(np.median(volumes)) < 40, "A^3 per atom of ordinary matter"


@pytest.mark.slow
def test_the_loss_is_finite_for_every_template_of_the_shipped_library():
    model = load_generator("mp-symmetric", GeneratorConfig())
    rng = torch.Generator().manual_seed(0)
    for start in range(0, len(model.library), 64):
        templates = [model.library[i] for i in range(start, min(start + 64, len(model.library)))]
        batch = model.collate([blank(Blueprint(0, template, 1)) for template in templates])
        t = 1 - torch.rand(len(batch), generator=rng)
        with torch.no_grad():
            noisy = model.draw_noise(batch, t, rng)
            assert torch.isfinite(model.loss(noisy, model.predict(noisy))).all()
