"""Shipped tasks hold the paper's numbers, and layers override each other in the promised order."""

from __future__ import annotations

import pytest

from matinvent.errors import ConfigError
from matinvent.tasks import list_presets, list_tasks, load_task, merge


def test_the_density_task_is_the_papers():
    (objective,) = load_task("density").objectives
    assert (objective.property, objective.kind) == ("density", "target")
    assert (objective.target, objective.lo, objective.hi) == (18.0, 0.0, 10.0)


def test_the_hhi_task_is_the_papers():
    (objective,) = load_task("hhi").objectives
    assert (objective.property, objective.kind) == ("hhi", "minimize")
    assert (objective.lo, objective.hi) == (750.0, 3250.0)


def test_the_bulk_modulus_task_is_the_papers():
    (objective,) = load_task("bulk_modulus").objectives
    assert (objective.property, objective.kind) == ("bulk_modulus", "target")
    assert (objective.target, objective.lo, objective.hi) == (300.0, 0.0, 250.0)


def test_every_task_says_what_it_is():
    tasks = list_tasks()
    assert {"bulk_modulus", "density", "hhi"} <= {task.name for task in tasks}
    assert all(task.summary and task.goal and task.path.is_file() for task in tasks)
    assert all(load_task(task.name).name == task.name for task in tasks)


@pytest.mark.parametrize("preset", list_presets())
@pytest.mark.parametrize("task", [task.name for task in list_tasks()])
def test_every_preset_fits_every_task(task, preset):
    assert load_task(task, preset).objectives == load_task(task).objectives


def test_the_quick_preset_is_smaller_than_the_task():
    quick, full = load_task("density", "quick"), load_task("density")
    cost = [c.iterations * c.evaluation.per_iteration for c in (quick, full)]
    assert cost[0] < cost[1]


@pytest.mark.parametrize(
    ("name", "preset", "said"),
    [
        ("denisty", None, r"unknown task 'denisty' \(did you mean 'density'\?\); or name a YAML file"),
        ("zzzz", None, r"unknown task 'zzzz' \(known: band_gap, bulk_modulus, density"),
        ("density", "quik", r"unknown preset 'quik' \(did you mean 'quick'\?\)"),
        ("no/such/file.yaml", None, r"no/such/file\.yaml: no such file"),
        ("no/such/file.yml", None, "no such file"),
    ],
)
def test_unknown_names_are_errors_with_the_nearest_one(name, preset, said):
    with pytest.raises(ConfigError, match=said):
        load_task(name, preset)


def test_a_file_may_start_from_a_shipped_task(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: density\nname: mine\nlearning: {sigma: 0.5}\niterations: 7\n", encoding="utf-8")
    config = load_task(str(path))
    assert config.name == "mine"
    assert config.objectives == load_task("density").objectives
    assert (config.learning.sigma, config.learning.updates) == (0.5, load_task("density").learning.updates)


def test_later_layers_win(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: density\niterations: 7\nstop: {max_evaluations: 3}\n", encoding="utf-8")
    quick = load_task("density", "quick").iterations
    assert load_task(str(path)).iterations == 7
    assert load_task(str(path), "quick").iterations == quick
    assert load_task(str(path), "quick", ["iterations=9"]).iterations == 9
    assert load_task(str(path), "quick", ["iterations=9"]).stop.max_evaluations == 3


def test_an_unknown_base_names_file_and_nearest(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: densty\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: base task 'densty' \(did you mean 'density'\?\)"):
        load_task(str(path))


def test_a_file_with_the_name_of_a_task_does_not_shadow_it(tmp_path, monkeypatch):
    (tmp_path / "density").write_text("nonsense", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_task("density").name == "density"


def test_merging_replaces_lists_and_keeps_its_inputs():
    base, over = {"a": {"b": [1, 2], "c": 1}, "d": 4}, {"a": {"b": [3]}, "d": {"e": 5}}
    assert merge(base, over) == {"a": {"b": [3], "c": 1}, "d": {"e": 5}}
    assert base == {"a": {"b": [1, 2], "c": 1}, "d": 4}
