"""The diffusion model: noise, invariances, padding, divergences, checkpoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from tests.unit.test_diffcsp_template import CRYSTALS

from matinvent.config import GeneratorConfig
from matinvent.config_goals import ConstraintsConfig, ElementsConfig
from matinvent.errors import CheckpointError, ConfigError, Failure
from matinvent.generators.diffcsp.checkpoint import load_model, save_model
from matinvent.generators.diffcsp.critic import StabilityCritic
from matinvent.generators.diffcsp.crystal import collate, encode_structure
from matinvent.generators.diffcsp.elements import ElementRules
from matinvent.generators.diffcsp.library import TemplateFilter, TemplateLibrary
from matinvent.generators.diffcsp.model import DiffCSP, NoisyBatch
from matinvent.generators.diffcsp.network import MASKED, NetworkConfig
from matinvent.generators.diffcsp.noise import ScoreScale, sigma, signal, signal_loss_rate, wrap, wrapped_score
from matinvent.generators.diffcsp.sampler import SamplerConfig, choose
from matinvent.generators.diffcsp.seen import SeenFormulas
from matinvent.generators.diffcsp.template import operations
from matinvent.screening.constraints import Constraints
from matinvent.screening.validity import check_charges

SMALL = NetworkConfig(hidden=32, edge=16, layers=2, frequencies=4, radial=6)


@pytest.fixture(scope="module", params=[True, False], ids=["symmetric", "template-free"])
def model(request):
    torch.manual_seed(0)
    crystals = [encode_structure(s, 20, request.param) for s in CRYSTALS.values()]
    return DiffCSP(SMALL, TemplateLibrary.from_crystals(crystals), sampler=SamplerConfig(steps=6)).eval()


def noisy_batch(model, level=0.5, names=CRYSTALS):
    batch = model.collate(model.encode([CRYSTALS[n] for n in names]))
    t = torch.full((len(batch),), level)
    return model.draw_noise(batch, t, torch.Generator().manual_seed(0))


def test_wrapped_score_is_the_gradient_of_the_wrapped_log_density():
    x = torch.linspace(-0.49, 0.49, 41, dtype=torch.float64, requires_grad=True)
    for width in (0.02, 0.1, 0.4):
        images = torch.arange(-6, 7, dtype=torch.float64)
        log_density = torch.logsumexp(-((x[:, None] + images) ** 2) / (2 * width**2), 1)
        (gradient,) = torch.autograd.grad(log_density.sum(), x)
        score = wrapped_score(x.detach(), torch.full_like(x, width))
        torch.testing.assert_close(score, gradient, rtol=1e-4, atol=1e-3 / width)


def test_score_scale_is_one_over_sigma_while_the_torus_looks_flat():
    t = torch.tensor([0.05, 0.2, 0.4])
    torch.testing.assert_close(ScoreScale()(t) * sigma(t), torch.ones(3), rtol=1e-2, atol=1e-2)


def test_signal_falls_from_one_to_nothing_and_its_rate_is_its_derivative():
    t = torch.linspace(0.02, 0.95, 50, dtype=torch.float64, requires_grad=True)
    assert signal(torch.zeros(1)).item() == pytest.approx(1.0)
    assert signal(torch.ones(1)).item() < 1e-3
    (gradient,) = torch.autograd.grad(signal(t).sum(), t)
    torch.testing.assert_close(signal_loss_rate(t.detach()), -gradient)


def test_noise_at_a_small_level_hardly_changes_a_crystal(model):
    noisy = noisy_batch(model, 1e-4)
    assert (wrap(noisy.parameters - noisy.clean.parameters).abs() < 0.05).all()
    assert noisy.masked.sum() == 0


def test_noise_at_level_one_hides_every_element(model):
    noisy = noisy_batch(model, 1.0)
    assert ((noisy.species == MASKED) == (noisy.clean.orbit_mask > 0)).all()


def test_noise_stays_in_the_free_directions(model):
    noisy = noisy_batch(model, 0.7)
    assert (noisy.lattice[noisy.clean.lattice_free == 0] == 0).all()
    moved = wrap(noisy.parameters - noisy.clean.parameters)
    assert (moved[noisy.clean.orbit_free == 0].abs() < 1e-6).all()


def test_padding_changes_nothing(model):
    together = noisy_batch(model)
    losses = model.loss(together, model.predict(together))
    for row, name in enumerate(CRYSTALS):
        batch = model.collate(model.encode([CRYSTALS[name]]))
        orbits = batch.orbit_mask.shape[1]
        fields = {k: v[row : row + 1] for k, v in vars(together).items() if k != "clean"}
        for key in ("species", "parameters", "score", "masked"):
            fields[key] = fields[key][:, :orbits]
        alone = NoisyBatch(clean=batch, **fields)
        torch.testing.assert_close(model.loss(alone, model.predict(alone))[0], losses[row], rtol=1e-4, atol=1e-5)


def test_even_absurd_cells_give_finite_predictions(model):
    noisy = noisy_batch(model)
    stretched = replace(noisy, lattice=noisy.lattice * 12)
    prediction = model.predict(stretched)
    assert all(torch.isfinite(getattr(prediction, name)).all() for name in ("velocity", "score", "logits"))


def test_order_of_orbits_does_not_matter(model):
    crystal = model.encode([CRYSTALS["perovskite"]])[0]
    o, template = crystal.template.n_orbits, crystal.template
    order = np.random.default_rng(0).permutation(o)
    atoms = np.concatenate([np.flatnonzero(template.orbit == orbit) for orbit in order])
    shuffled = replace(
        crystal,
        species=crystal.species[order],
        parameters=crystal.parameters[order],
        template=replace(
            template,
            orbit=np.argsort(order)[template.orbit[atoms]],
            origin=template.origin[atoms],
            directions=template.directions[atoms],
            free=template.free[order],
        ),
    )
    results = []
    for item in (crystal, shuffled):
        batch = collate([item])
        lattice = model.standardise(batch, batch.lattice)
        seen = model.view(batch, torch.tensor([0.3]), batch.species, batch.parameters, lattice, batch.stability)
        results.append(model.denoise(batch, seen))
    torch.testing.assert_close(results[1].velocity, results[0].velocity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[1].score, results[0].score[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[1].logits, results[0].logits[:, order], rtol=1e-4, atol=1e-5)


def test_lattice_translations_do_not_matter(model):
    noisy = noisy_batch(model)
    shifted = replace(noisy, parameters=noisy.parameters + torch.randint(-2, 3, noisy.parameters.shape))
    torch.testing.assert_close(
        model.loss(shifted, model.predict(shifted)), model.loss(noisy, model.predict(noisy)), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["paper", "kl"])
def test_divergence_is_zero_for_equal_and_positive_for_different_models(model, kind):
    noisy = noisy_batch(model)
    prediction = model.predict(noisy)
    assert model.divergence(noisy, prediction, prediction, kind).abs().max() < 1e-6
    other = model.clone()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05)
    assert (model.divergence(noisy, other.predict(noisy), prediction, kind) > 0).all()


def test_each_crystal_may_have_its_own_noise_level(model):
    batch = model.collate(model.encode(list(CRYSTALS.values())))
    t = torch.linspace(0.05, 1, len(batch))
    noisy = model.draw_noise(batch, t, torch.Generator().manual_seed(0))
    loss = model.loss(noisy, model.predict(noisy))
    assert loss.shape == (len(batch),)
    assert torch.isfinite(loss).all()


def test_samples_are_reproducible_and_as_symmetric_as_their_template(model):
    first = model.sample(8, torch.Generator().manual_seed(3))
    second = model.sample(8, torch.Generator().manual_seed(3))
    assert [repr(s) for s in first] == [repr(s) for s in second]
    if not model.symmetric:
        return
    templates = [drawn.template for drawn in model.library.draw(8, torch.Generator().manual_seed(3))]
    built = [(s, t) for s, t in zip(first, templates, strict=True) if not isinstance(s, Failure)]
    assert len(built) >= 4
    for structure, template in built:
        assert len(structure) == template.n_atoms
        found = SpacegroupAnalyzer(structure, symprec=1e-3).get_symmetry_operations()
        assert len(found) >= len(operations(template.space_group)[0])


def test_cell_size_can_be_chosen(model):
    drawn = model.clone()
    drawn.sampler = SamplerConfig(steps=2, templates=TemplateFilter(min_atoms=3, max_atoms=6))
    assert all(3 <= len(s) <= 6 for s in drawn.sample(10, torch.Generator().manual_seed(0)))
    drawn.sampler = SamplerConfig(steps=2, templates=TemplateFilter(min_atoms=19, max_atoms=19))
    with pytest.raises(ConfigError, match="no template of the library fits"):
        drawn.sample(1, torch.Generator().manual_seed(0))


def test_samples_have_the_number_of_elements_that_was_drawn(model):
    drawn = model.clone()
    drawn.sampler = SamplerConfig(steps=4)
    plans = drawn.library.draw(24, torch.Generator().manual_seed(5))
    for structure, plan in zip(drawn.sample(24, torch.Generator().manual_seed(5)), plans, strict=True):
        assert isinstance(structure, Failure) or len(structure.composition) == plan.n_elements


@pytest.mark.parametrize(
    ("settings", "smallest"),
    [
        ({"allowed": ("Na", "K", "Cl", "O", "Ti")}, 1),
        ({"forbidden": ("rare_earth", "radioactive", "transition_metal")}, 1),
        ({"required": ("Fe", "chalcogen")}, 2),
        ({"allowed": ("Fe", "Co", "N"), "required": ("Fe",)}, 1),
    ],
)
def test_elements_can_be_chosen(model, settings, smallest):
    config = ElementsConfig(**settings)
    rules = ElementRules.of(config)
    templates = TemplateFilter(min_elements=max(smallest, rules.fewest), max_elements=rules.most)
    drawn = model.clone()
    drawn.sampler = SamplerConfig(steps=4, elements=rules, templates=templates)
    plans = drawn.library.draw(24, torch.Generator().manual_seed(5), templates)
    crystals = list(zip(drawn.sample(24, torch.Generator().manual_seed(5)), plans, strict=True))
    built = [(structure, plan) for structure, plan in crystals if not isinstance(structure, Failure)]
    assert len(built) > 6
    check = Constraints(ConstraintsConfig.model_validate(settings))
    for structure, plan in built:
        assert check.check(structure) is None
        assert len(structure.composition) == plan.n_elements


def test_a_campaign_proposes_within_its_constraints():
    constraints = ConstraintsConfig(forbidden=("Pb",), max_atoms=6, space_groups=(225,))
    own = GeneratorConfig.model_validate({"templates": {"max_atoms": 4}})
    narrowed = own.within(constraints)
    assert (narrowed.elements.forbidden, narrowed.elements.allowed) == (("Pb",), ())
    assert (narrowed.templates.max_atoms, narrowed.templates.space_groups) == (4, (225,))
    assert GeneratorConfig().within(ConstraintsConfig()) == GeneratorConfig()
    assert GeneratorConfig().within(ConstraintsConfig(charge_balanced=True)).balanced == "strictly"


def test_constraints_and_settings_of_the_generator_count_both():
    own = GeneratorConfig.model_validate(
        {
            "templates": {"max_atoms": 20, "min_elements": 2, "crystal_systems": ["cubic", "hexagonal"]},
            "elements": {"forbidden": ["Pb"], "allowed": ["transition_metal", "O", "Pb"]},
        }
    )
    constraints = ConstraintsConfig(
        max_atoms=10,
        min_elements=3,
        crystal_systems=("cubic", "tetragonal"),
        forbidden=("Hg",),
        allowed=("Fe", "O", "S"),
    )
    both = own.within(constraints)
    assert (both.templates.max_atoms, both.templates.min_elements) == (10, 3)
    assert both.templates.crystal_systems == ("cubic",)
    assert (both.elements.forbidden, both.elements.allowed) == (("Pb", "Hg"), ("Fe", "O"))


@pytest.mark.parametrize(
    ("own", "constraints", "said"),
    [
        ({"templates": {"crystal_systems": ["cubic"]}}, {"crystal_systems": ["hexagonal"]}, "cubic exclude hexagonal"),
        ({"templates": {"min_atoms": 9}}, {"max_atoms": 4}, "min_atoms 9 exceeds max_atoms 4"),
        ({"elements": {"allowed": ["Fe"]}}, {"allowed": ["halogen"]}, "allowed elements Fe exclude"),
    ],
)
def test_constraints_that_the_generator_cannot_meet_are_refused(own, constraints, said):
    with pytest.raises(ConfigError, match=said):
        GeneratorConfig.model_validate(own).within(ConstraintsConfig.model_validate(constraints))


def test_elements_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match="halogen is required, but not allowed"):
        ElementRules.of(ElementsConfig(allowed=("Fe",), required=("halogen",)))


def test_space_group_crystal_system_and_elements_can_be_chosen(model):
    if not model.symmetric:
        return
    library = model.library
    rng = torch.Generator().manual_seed(0)
    assert {b.template.space_group for b in library.draw(20, rng, TemplateFilter(space_groups=(62, 136)))} == {62, 136}
    cubic = library.draw(20, rng, TemplateFilter(crystal_systems=("cubic",)))
    assert all(b.template.space_group >= 195 for b in cubic)
    assert all(b.n_elements == 3 for b in library.draw(20, rng, TemplateFilter(min_elements=3)))
    assert all(b.template.n_orbits <= 1 for b in library.draw(20, rng, TemplateFilter(max_orbits=1)))
    with pytest.raises(ConfigError, match=r"no template of the library fits \(space_groups \(230,\)\)"):
        library.draw(1, rng, TemplateFilter(space_groups=(230,)))


class PrefersLargeCells(torch.nn.Module):
    """Stands in for a critic: the chance is the volume."""

    def probability(self, batch, seen):
        return seen.log_volume


def test_of_several_candidates_the_critic_chooses(model):
    single, several = model.clone(), model.clone()
    several.adopt(PrefersLargeCells())
    several.sampler = SamplerConfig(steps=4, candidates=4)
    single.sampler = SamplerConfig(steps=4, candidates=1)

    def volume(drawn):
        built = [s.volume / len(s) for s in drawn if not isinstance(s, Failure)]
        return float(np.median(np.log(built)))

    chosen = several.sample(40, torch.Generator().manual_seed(0))
    assert len(chosen) == 40
    assert volume(chosen) > volume(single.sample(40, torch.Generator().manual_seed(0)))


def test_formulas_of_the_training_set_are_recognised_and_others_are_not(tmp_path, model):
    crystals = [encode_structure(s, 20) for s in CRYSTALS.values()]
    seen = SeenFormulas.of(crystals)
    assert len(seen) == len({s.reduced_formula for s in CRYSTALS.values()})
    assert all(s.composition * 3 in seen for s in CRYSTALS.values())
    assert Composition("TiO3") not in seen
    assert Composition("Xe") not in seen
    informed = model.clone()
    informed.seen = seen
    save_model(informed, tmp_path / "informed.safetensors")
    np.testing.assert_array_equal(load_model(tmp_path / "informed.safetensors").seen.hashes, seen.hashes)


def test_among_candidates_valid_ones_go_before_new_ones_and_these_before_likely_ones():
    salt, oxide = CRYSTALS["rocksalt"], CRYSTALS["rutile"]
    impossible = Structure(Lattice.cubic(1.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    seen = SeenFormulas.of([encode_structure(salt, 20)])
    assert choose([impossible, salt], [0.9, 0.1], None) is salt
    assert choose([salt, oxide], [0.9, 0.1], seen) is oxide
    assert choose([salt, oxide], [0.9, 0.1], None) is salt
    assert choose([Failure("degenerate-cell", "flat"), impossible], [0.9, 0.1], seen) is impossible
    assert isinstance(choose([Failure("degenerate-cell", "flat")], [0.5], None), Failure)


def test_a_critic_travels_with_its_checkpoint(model, tmp_path):
    judged = model.clone()
    torch.manual_seed(1)
    judged.adopt(StabilityCritic(SMALL))
    judged.sampler = SamplerConfig(steps=3, candidates=2)
    save_model(judged, tmp_path / "judged.safetensors")
    loaded = load_model(tmp_path / "judged.safetensors")
    assert loaded.sampler.candidates == 2
    first = judged.sample(6, torch.Generator().manual_seed(0))
    assert [repr(s) for s in loaded.sample(6, torch.Generator().manual_seed(0))] == [repr(s) for s in first]
    batch = noisy_batch(judged)
    view = judged.view(
        batch.clean, batch.t, batch.clean.species, batch.parameters, batch.lattice, batch.clean.stability
    )
    chance = judged.critic.probability(batch.clean, view)
    assert ((chance >= 0) & (chance <= 1)).all()
    assert not any(p.requires_grad for p in judged.critic.parameters())


def test_guidance_with_equal_branches_changes_nothing(model):
    prediction = model.predict(noisy_batch(model))
    guided = prediction.guided(prediction, 2.0)
    torch.testing.assert_close(guided.score, prediction.score)


def test_training_lowers_the_loss(model):
    learner = model.clone().train()
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(0)
    batch = learner.collate(learner.encode(list(CRYSTALS.values()) * 4))
    history = []
    for _ in range(60):
        t = 1 - torch.rand(len(batch), generator=rng)
        noisy = learner.draw_noise(batch, t, rng)
        loss = learner.loss(noisy, learner.predict(noisy)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert np.mean(history[-10:]) < 0.6 * np.mean(history[:10])


def test_checkpoint_round_trip(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    copy = load_model(path)
    assert copy.sampler == model.sampler
    first = model.sample(3, torch.Generator().manual_seed(0))
    second = copy.eval().sample(3, torch.Generator().manual_seed(0))
    assert [repr(s) for s in first] == [repr(s) for s in second]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_damaged_checkpoints_are_named(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        load_model(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_model(tmp_path / "absent.safetensors")


def test_odd_structures_are_failures_in_their_place(model):
    from pymatgen.core import Lattice, Structure

    odd = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    encoded = model.encode([CRYSTALS["rutile"], odd, CRYSTALS["diamond"]])
    assert [isinstance(item, Failure) for item in encoded] == [False, True, False]


def test_more_crystals_balance_their_charges_if_that_is_asked_for(model):
    def balanced(wanted: bool) -> int:
        drawn = model.clone()
        drawn.sampler = SamplerConfig(steps=4, balanced=wanted)
        crystals = [s for s in drawn.sample(60, torch.Generator().manual_seed(0)) if not isinstance(s, Failure)]
        return sum(check_charges(crystal.composition) is None for crystal in crystals)

    assert balanced(True) > balanced(False)
