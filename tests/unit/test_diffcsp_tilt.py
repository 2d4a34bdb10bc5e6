"""The template policy: exact optimum, an honest divergence, and nothing at all while it is switched off."""

from __future__ import annotations

import pytest
import torch
from tests.unit.test_diffcsp_template import CRYSTALS

from matinvent.config import LearningConfig
from matinvent.errors import Failure
from matinvent.generators.diffcsp.crystal import encode_structure
from matinvent.generators.diffcsp.library import TemplateLibrary
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.generators.diffcsp.network import NetworkConfig
from matinvent.generators.diffcsp.sampler import SamplerConfig
from matinvent.generators.diffcsp.tilt import TemplateTilt, TiltConfig, template_divergence, template_loss
from matinvent.learning.learner import Learner

SMALL = NetworkConfig(hidden=16, edge=8, layers=1, frequencies=2, radial=4)


@pytest.fixture
def library():
    crystals = [encode_structure(s, 20) for s in CRYSTALS.values()]
    return TemplateLibrary.from_crystals([*crystals, *crystals, crystals[0], crystals[0]])


def make_model(library, enabled):
    torch.manual_seed(0)
    config = TiltConfig(enabled=enabled)
    return DiffCSP(SMALL, library, sampler=SamplerConfig(steps=2), tilt_config=config).eval()


def test_the_tilt_starts_as_the_library(library):
    tilt = TemplateTilt(library)
    counts = torch.as_tensor(library.counts.sum(1), dtype=torch.float32)
    torch.testing.assert_close(tilt.log_probability().exp(), counts / counts.sum())
    assert template_divergence(tilt.log_probability(), tilt.log_prior).item() == pytest.approx(0, abs=1e-6)


def test_the_regularised_optimum_is_the_exponentially_tilted_prior(library):
    # max E_p[r] - beta KL(p || q) has the solution p ~ q exp(r / beta).
    reward = torch.linspace(0, 1, len(library))
    beta = 0.4
    tilt = TemplateTilt(library)
    optimizer = torch.optim.Adam(tilt.parameters(), lr=0.02)
    for _ in range(1500):
        log_p = tilt.log_probability()
        objective = (log_p.exp() * reward).sum() - beta * template_divergence(log_p, tilt.log_prior)
        optimizer.zero_grad()
        (-objective).backward()
        optimizer.step()
    expected = (tilt.log_prior + reward / beta).softmax(0)
    torch.testing.assert_close(tilt.log_probability().exp(), expected, atol=2e-3, rtol=0)


def test_templates_that_the_library_lacks_teach_the_tilt_nothing(library):
    tilt = TemplateTilt(library)
    loss = template_loss(tilt.log_probability(), tilt.log_prior, torch.tensor([-1, -1]))
    loss.sum().backward()
    assert loss.tolist() == [0, 0]
    assert not tilt.weight.grad.any()


def fine_tune(model, rounds=6):
    """The learner on crystals the model draws itself, rewarded when their template is cubic."""
    config = LearningConfig(learning_rate=3e-3, updates=10, pairs=2 * len(CRYSTALS))
    learner = Learner(model, model.clone(), config)
    for seed in range(rounds):
        rng = torch.Generator().manual_seed(seed)
        items = [c for c in model.encode(list(CRYSTALS.values())) if not isinstance(c, Failure)]
        rewards = [float(c.template.space_group >= 195) for c in items]
        learner.learn(items, rewards, rng)
    return model


def drawn_cubic(model):
    tilt = model.tilt(model.tilt_config.rate) if model.tilt_config.enabled else None
    drawn = model.library.draw(2000, torch.Generator().manual_seed(0), tilt=tilt)
    return sum(b.template.space_group >= 195 for b in drawn) / len(drawn)


def test_rewarded_templates_are_drawn_more_often_only_when_switched_on(library):
    before = drawn_cubic(make_model(library, enabled=True))
    loose = make_model(library, enabled=True)
    loose.tilt_config = TiltConfig(enabled=True, divergence=20.0)
    assert drawn_cubic(fine_tune(loose)) > 1.5 * before
    assert drawn_cubic(fine_tune(make_model(library, enabled=False))) == before


def test_the_divergence_of_the_templates_holds_them_back(library):
    def shift(factor):
        model = make_model(library, enabled=True)
        model.tilt_config = TiltConfig(enabled=True, divergence=factor)
        fine_tune(model)
        return template_divergence(model.tilt.log_probability(model.tilt_config.rate), model.tilt.log_prior).item()

    assert shift(1000.0) < 0.5 * shift(0.0)


def test_a_clone_diverges_from_its_prior_only_by_what_it_learned(library):
    model = make_model(library, enabled=True)
    prior = model.clone()
    fine_tune(model, rounds=2)
    batch = model.collate(model.encode(list(CRYSTALS.values())))
    noisy = model.draw_noise(batch, torch.full((len(batch),), 0.5), torch.Generator().manual_seed(0))
    same = prior.divergence(noisy, prior.predict(noisy), prior.predict(noisy), "kl")
    moved = model.divergence(noisy, model.predict(noisy), prior.predict(noisy), "kl")
    torch.testing.assert_close(same, torch.zeros_like(same), atol=1e-5, rtol=0)
    shift = template_divergence(
        model.tilt.log_probability(model.tilt_config.rate), prior.tilt.log_probability(model.tilt_config.rate)
    )
    expected = model.tilt_config.divergence * shift
    assert (moved >= expected - 1e-5).all()
