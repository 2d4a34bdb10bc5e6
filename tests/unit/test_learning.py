"""The learner: schedules, objective, invariances, and that it finds a known optimum."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from matinvent.config import LearningConfig
from matinvent.learning.learner import Learner
from matinvent.learning.objective import reward_weighted_loss
from matinvent.learning.schedule import make_plan
from matinvent.testing.toy import ELEMENTS, ToyGenerator, ToyNoisy


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_objective_is_the_papers_equation():
    value = reward_weighted_loss(torch.tensor([0.8]), torch.tensor([2.0]), torch.tensor([3.0]), 0.025, 1.1)
    assert value.item() == pytest.approx(0.8 * 2.0 + 0.025 * (1.1 - 0.8) * 3.0)


def test_paper_schedule_spends_what_the_paper_spends():
    plan = make_plan(LearningConfig(schedule="paper"), [5] * 18, rng())
    steps = list(plan.steps)
    assert len(steps) == 60
    assert sum(len(p.t) for step in steps for p in step) == 54_000
    times = [p.t[0].item() for p in steps[0]]
    assert times[0] == 1.0
    assert times == sorted(times, reverse=True)
    assert min(p.t.min() for step in steps for p in step) > 0


def test_stratified_schedule_visits_every_stratum_of_every_crystal():
    config = LearningConfig(pairs=24, updates=3, micro_batch=20)
    plan = make_plan(config, [9, 1, 5], rng())
    rows = [row for chunk in plan.chunks for row in chunk]
    assert sorted(rows) == sorted([0, 1, 2] * 8)
    for step in plan.steps:
        t = torch.cat([p.t for p in step])
        assert ((t > 0) & (t <= 1)).all()
        for crystal in range(3):
            levels = sorted(((t[[i for i, r in enumerate(rows) if r == crystal]]) * 8).ceil().tolist())
            assert levels == list(range(1, 9))


@pytest.mark.parametrize(("crystals", "pairs"), [(1, 144), (6, 144), (18, 144), (100, 100), (300, 300)])
def test_a_step_costs_the_same_however_few_crystals_there_are(crystals, pairs):
    plan = make_plan(LearningConfig(updates=2), [4] * crystals, rng())
    assert [sum(len(p.t) for p in step) for step in plan.steps] == [pairs, pairs]


class FixedNoise(ToyGenerator):
    """Noise that depends on the pair only, not on the order of drawing."""

    def draw_noise(self, batch, t, rng):
        noise = torch.sin(1000 * batch.x + 77 * t)
        masked = (torch.cos(500 * batch.x + 99 * t) < t).float()
        return ToyNoisy(batch, t, (1 - t**2).sqrt() * batch.x + t * noise, masked)


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    weights = []
    for micro_batch in (3, 16, 1000):
        agent = FixedNoise()
        learner = Learner(agent, agent.clone(), LearningConfig(updates=4, micro_batch=micro_batch, learning_rate=0.05))
        items = agent.encode(agent.sample(6, rng()))
        learner.learn(items, [0.9, 0.1, 0.5, 0.7, 0.3, 1.0], rng(1))
        weights.append(torch.cat([p.detach().flatten() for p in agent.parameters()]))
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights[2], weights[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", ["paper", "stratified"])
@pytest.mark.parametrize("optimizer", ["persistent", "per_iteration"])
def test_the_agent_finds_the_known_optimum(schedule, optimizer):
    agent = ToyGenerator()
    config = LearningConfig(
        learning_rate=0.03, schedule=schedule, optimizer=optimizer, timesteps=100, epochs=1, accumulate=5
    )
    learner = Learner(agent, agent.clone(), config)
    draws = rng()
    for _ in range(15):
        crystals = agent.sample(64, draws)
        rewards = [max(0.0, 1 - abs(float(s.density) - 18) / 10) for s in crystals]
        best = sorted(range(64), key=lambda i: -rewards[i])[:8]
        learner.learn(agent.encode([crystals[i] for i in best]), [rewards[i] for i in best], draws)
    density = np.mean([float(s.density) for s in agent.sample(200, draws)])
    heavy = sum(agent.logits.softmax(0)[ELEMENTS.index(e)].item() for e in ("W", "Pt", "Au"))
    assert density == pytest.approx(18, abs=2)
    assert heavy > 0.8


def test_without_reward_the_agent_is_pulled_back_to_the_prior():
    agent = ToyGenerator()
    learner = Learner(agent, agent.clone(), LearningConfig(learning_rate=0.02, sigma=1.0))
    with torch.no_grad():
        agent.mean.add_(1.0)
    items = agent.encode(agent.sample(16, rng()))
    for i in range(20):
        learner.learn(items, [0.0] * 16, rng(i))
    assert abs(agent.mean.item()) < 0.2


def test_the_prior_never_changes():
    agent = ToyGenerator()
    prior = agent.clone()
    before = copy.deepcopy(prior.state_dict())
    Learner(agent, prior, LearningConfig()).learn(agent.encode(agent.sample(4, rng())), [1.0] * 4, rng())
    assert all(torch.equal(before[k], v) for k, v in prior.state_dict().items())


def test_nothing_to_learn_from_is_no_error():
    agent = ToyGenerator()
    assert Learner(agent, agent.clone(), LearningConfig()).learn([], [], rng()) is None


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -0.1, 1.5])
def test_only_rewards_between_zero_and_one_are_learned(reward):
    agent = ToyGenerator()
    learner = Learner(agent, agent.clone(), LearningConfig())
    with pytest.raises(ValueError, match="rewards must lie"):
        learner.learn(agent.encode(agent.sample(1, rng())), [reward], rng())


def test_non_finite_gradients_are_skipped_and_counted():
    agent = ToyGenerator()
    learner = Learner(agent, agent.clone(), LearningConfig(updates=3))
    before = copy.deepcopy(agent.state_dict())
    report = learner.learn([(float("nan"), 0)], [1.0], rng())
    assert report.skipped == 3
    assert all(torch.equal(before[k], v) for k, v in agent.state_dict().items())


def test_learning_resumes_exactly():
    def run(interrupt):
        agent = ToyGenerator()
        learner = Learner(agent, agent.clone(), LearningConfig(learning_rate=0.05))
        for i in range(6):
            if interrupt and i == 3:
                state = copy.deepcopy(learner.state_dict())
                agent = ToyGenerator()
                learner = Learner(agent, agent.clone(), LearningConfig(learning_rate=0.05))
                learner.load_state_dict(state)
            items = agent.encode(agent.sample(5, rng(i)))
            learner.learn(items, [0.2, 0.4, 0.6, 0.8, 1.0], rng(100 + i))
        return torch.cat([p.detach().flatten() for p in agent.parameters()])

    assert torch.equal(run(True), run(False))
