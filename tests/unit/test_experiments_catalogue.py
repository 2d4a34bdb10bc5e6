"""Which campaigns an experiment consists of, and what they are said to cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from matinvent.errors import ConfigError
from matinvent.experiments.catalogue import PRIOR, Request, find_experiment, list_experiments, plan, single_tasks
from matinvent.experiments.cost import campaign_seconds, duration, estimated_seconds, most_evaluations
from matinvent.experiments.figures import _arms, _legend, _panels
from matinvent.tasks import load_task


def arms(request: Request) -> dict[str, object]:
    return {p.arm.name: p.config for p in plan(request) if p.seed == 0}


@pytest.mark.parametrize("name", [experiment.name for experiment in list_experiments()])
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_experiment_makes_valid_campaigns_of_distinct_names(name, scale):
    planned = plan(Request(name, scale, seeds=2))
    assert len({p.name for p in planned}) == len(planned)
    assert {p.config.seed for p in planned} == {0, 1}
    assert any(p.arm is PRIOR for p in planned)
    assert estimated_seconds(planned) > 0


@pytest.mark.parametrize("experiment", list_experiments(), ids=lambda experiment: experiment.name)
def test_every_arm_of_an_experiment_has_a_colour_of_its_own(experiment):
    campaigns = [SimpleNamespace(planned=planned) for planned in plan(Request(experiment.name, seeds=1))]
    colours = [colour for _, colour in _arms(campaigns)]
    assert len(colours) == len(set(colours)) == len(experiment.arms)


@pytest.mark.parametrize("experiment", list_experiments(), ids=lambda experiment: experiment.name)
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_no_campaign_is_run_twice(experiment, scale):
    planned = plan(Request(experiment.name, scale, seeds=1))
    assert len({p.config.model_dump_json() for p in planned}) == len(planned)
    names = {p.arm.name for p in planned}
    assert names >= {"prior"} | ({"learned"} if len(experiment.arms) > 1 else set())
    if scale == "quick":
        assert names == {arm.name for arm in experiment.arms}


def test_ablations_change_what_they_are_named_after():
    screening, replay = arms(Request("screening")), arms(Request("replay"))
    assert screening["learned"].screening.enabled
    assert not screening["unscreened"].screening.enabled
    assert (replay["learned"].replay.size, replay["no-replay"].replay.size) == (24, 0)
    diversity, sweep = arms(Request("diversity")), arms(Request("divergence"))
    assert not diversity["no-filter"].diversity.enabled
    found = {(c.learning.sigma, c.learning.divergence) for name, c in sweep.items() if name != "prior"}
    assert {(0.0, "paper"), (0.025, "paper"), (0.1, "paper"), (0.0025, "kl"), (0.025, "kl")} <= found


def test_arms_differ_in_nothing_else():
    chosen = arms(Request("replay"))
    restored = chosen["no-replay"].model_copy(update={"replay": chosen["learned"].replay})
    assert restored == chosen["learned"]


def test_quick_campaigns_spend_a_fifth_of_the_papers_evaluations():
    for planned in plan(Request("single", seeds=1)):
        assert 180 <= most_evaluations(planned.config) <= 251


def test_the_prior_makes_its_crystals_once_for_all_tasks():
    planned = plan(Request("tasks", seeds=2))
    own = [p.name for p in planned if p.arm is PRIOR and not p.source]
    assert len(own) == 2
    assert {p.source for p in planned if p.arm is PRIOR} == {"", *own}
    assert not any(p.source for p in planned if p.arm is not PRIOR)


def test_a_prior_that_proposes_otherwise_makes_its_own_crystals(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: density\nname: mine\nconstraints: {allowed: [Mg, O]}\n", encoding="utf-8")
    assert not any(p.source for p in plan(Request("prior", seeds=1, tasks=("density", str(file)))))


def test_the_papers_sizes():
    def sizes(name: str, task: str) -> tuple[int, int, int]:
        config = plan(Request(name, "paper", 1, (task,)))[0].config
        return config.iterations, config.generator.samples, config.evaluation.per_iteration

    assert sizes("single", "density") == (100, 192, 16)
    assert sizes("magnet", "magnet") == (120, 192, 16)
    assert sizes("high_k", "high_k") == (240, 128, 32)


def test_single_tasks_are_those_of_one_objective():
    assert {"density", "hhi", "bulk_modulus", "mcia"} <= set(single_tasks())
    assert not {"magnet", "high_k"} & set(single_tasks())
    assert {p.task for p in plan(Request("single", seeds=1))} == set(single_tasks())


def test_tasks_files_and_settings_of_the_user(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: density\nname: mine\n", encoding="utf-8")
    planned = plan(Request("replay", seeds=1, tasks=("hhi", str(file)), settings=("learning.sigma=0.5",)))
    assert [p.name for p in planned[:2]] == ["hhi-learned-0", "hhi-no-replay-0"]
    assert {p.task for p in planned} == {"hhi", "mine"}
    assert {p.config.learning.sigma for p in planned} == {0.5}


def test_parallel_campaigns_share_the_cores():
    config = plan(Request("replay", seeds=1, parallel=64))[0].config
    assert (config.threads, config.screening.workers) == (1, 1)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("repaly"), "did you mean 'replay'"),
        (Request("replay", "small"), "use quick or paper"),
        (Request("replay", seeds=0), "at least 1"),
        (Request("replay", tasks=("densty",)), "did you mean 'density'"),
        (Request("replay", tasks=("density", "density")), "density twice"),
        (Request("replay", settings=("learning.sigm=1",)), "unknown key"),
        (Request("replay", settings=("seed=4",)), "say how many by --seeds"),
        (Request("divergence", settings=("learning.sigma=1",)), "every arm of the experiment has a value"),
    ],
)
def test_faults_are_named(request_, said):
    with pytest.raises(ConfigError, match=said):
        plan(request_)


def test_which_requests_go_on_with_others():
    earlier = Request("single", seeds=2, tasks=("density",))
    assert earlier.extends(earlier)
    assert Request("single", seeds=3, tasks=("hhi", "density")).extends(earlier)
    assert not Request("single", seeds=1, tasks=("density",)).extends(earlier)
    assert not Request("single", seeds=2, tasks=("hhi",)).extends(earlier)
    assert not Request("single", "paper", 2, ("density",)).extends(earlier)
    assert Request("single", seeds=2, tasks=("density",), parallel=8).extends(earlier), "a machine with more cores"
    assert Request.from_json(earlier.to_json()) == earlier


def test_cost_grows_with_what_is_done():
    density, modulus = load_task("density", "quick"), load_task("bulk_modulus", "quick")
    assert campaign_seconds(modulus) > campaign_seconds(density)
    unscreened = load_task("density", "quick", ["screening.enabled=false"])
    assert campaign_seconds(unscreened) < campaign_seconds(density)
    planned = plan(Request("replay", seeds=2))
    assert estimated_seconds(planned, parallel=2, cores=4) < estimated_seconds(planned, cores=2)


def test_a_budget_is_overspent_by_less_than_an_iteration():
    sizes = ["iterations=10", "evaluation.per_iteration=12", "evaluation.initial=0"]
    assert most_evaluations(load_task("density", "quick", sizes)) == 120
    assert most_evaluations(load_task("density", "quick", [*sizes, "stop.max_evaluations=50"])) == 61
    assert most_evaluations(load_task("density", "quick", [*sizes, "evaluation.initial=40"])) == 40 + 9 * 12
    assert (
        most_evaluations(load_task("density", "quick", [*sizes, "evaluation.initial=40", "stop.max_evaluations=9"]))
        == 40
    )


def test_times_for_people():
    assert [duration(s) for s in (40, 600, 9000, 3 * 86400)] == ["40 s", "10 min", "2.5 h", "3.0 days"]


def test_arms_can_be_chosen_and_added():
    some = Request("ablations", seeds=1, arms=("learned", "no-replay"))
    assert [p.arm.name for p in plan(some)] == ["learned", "no-replay", "prior"]
    assert Request("ablations", seeds=1, arms=("no-replay", "learned", "none")).extends(some)
    assert Request("ablations", seeds=1).extends(some)
    assert not some.extends(Request("ablations", seeds=1))
    assert Request.from_json(some.to_json()) == some
    with pytest.raises(ConfigError, match=r"has no arm 'no_replay' \(did you mean 'no-replay'\?\)"):
        plan(Request("ablations", arms=("no_replay",)))


def test_a_campaign_of_stages_keeps_their_lengths(tmp_path):
    file = tmp_path / "staged.yaml"
    file.write_text(
        "base: density\nname: staged\nstages: [{name: a, iterations: 2}, {name: b, iterations: 3}]\n", "utf-8"
    )
    assert {p.config.total_iterations for p in plan(Request("single", seeds=1, tasks=(str(file),)))} == {5}


def test_settings_reach_the_prior_alone():
    assert plan(Request("prior", seeds=1, settings=("iterations=3",)))[0].config.iterations == 3
    with pytest.raises(ConfigError, match="every arm"):
        plan(Request("prior", seeds=1, settings=("learning.updates=3",)))


def test_the_arms_of_a_scale_keep_their_order():
    arms = [p.arm.name for p in plan(Request("ablations", "paper", seeds=1))]
    assert arms == ["learned", "unscreened", "no-replay", "no-filter", "none", "surrogate", "prior"]


@pytest.mark.parametrize("panels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", [experiment.name for experiment in list_experiments()])
def test_no_name_of_an_arm_is_cut_off(name, panels):
    figure, axes = _panels(panels)
    for arm in find_experiment(name).arms:
        axes[0].plot([0], [0], label=arm.title)
    _legend(figure, axes)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
