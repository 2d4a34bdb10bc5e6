"""Shipped tasks hold the paper's numbers, and layers override each other in the promised order."""

from __future__ import annotations

import re

import pytest

from matinvent.errors import ConfigError
from matinvent.properties.registry import about
from matinvent.tasks import list_presets, list_tasks, load_task, merge

#: The paper's table: task -> property, kind, target, lo, hi.
PAPER = {
    "density": ("density", "target", 18, 0, 10),
    "band_gap": ("band_gap", "target", 3, 0, 2),
    "magnetic_density": ("magnetic_density", "maximize", None, 0, 0.25),
    "heat_capacity": ("heat_capacity", "maximize", None, 0.25, 2),
    "mcia": ("mcia", "minimize", None, 0, 180),
    "bulk_modulus": ("bulk_modulus", "target", 300, 0, 250),
    "dielectric": ("dielectric", "maximize", None, 35, 120),
    "synthesizability": ("synthesizability", "maximize", None, 0.5, 1),
    "hhi": ("hhi", "minimize", None, 750, 3250),
    "shear_modulus": ("shear_modulus", "target", 200, 0, 160),
    "young_modulus": ("young_modulus", "maximize", None, 80, 480),
    "pugh_ratio": ("pugh_ratio", "maximize", None, 1.5, 10),
    "formation_energy": ("formation_energy", "minimize", None, -3.5, -1),
    "log_abundance": ("log_abundance", "maximize", None, 2, 5),
    "price": ("price", "minimize", None, 50, 500),
}
#: Ramps of ours where the paper's give our engines nothing to begin with; the files say why.
OURS = {"band_gap": (0, 3), "dielectric": (5, 60)}


@pytest.mark.parametrize("name", PAPER)
def test_tasks_of_one_property_are_the_papers(name):
    (objective,) = load_task(name).objectives
    *goal, lo, hi = PAPER[name]
    assert [objective.property, objective.kind, objective.target] == goal
    assert (objective.lo, objective.hi) == OURS.get(name, (lo, hi))
    assert objective.hit is not None


@pytest.mark.parametrize("name", [*OURS, "high_k"])
def test_a_task_that_departs_from_the_paper_says_so(name):
    (path,) = [task.path for task in list_tasks() if task.name == name]
    assert re.search(r"the paper('s ramp| wants)", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_the_magnet_is_the_papers():
    config = load_task("magnet")
    strong, supply = config.objectives
    assert (config.aggregation, config.iterations) == ("min", 120)
    assert (strong.lo, strong.hi, strong.hit) == (0, 0.25, (0.2, None))
    assert (supply.lo, supply.hi, supply.hit) == (750, 3250, (None, 1500))


def test_the_high_k_dielectric_weighs_its_goals_as_the_papers():
    config = load_task("high_k")
    assert (config.aggregation, config.iterations) == ("weighted_mean", 240)
    assert [(o.property, o.weight, o.lo, o.hi) for o in config.objectives] == [
        ("figure_of_merit", 0.8, 5, 120),
        ("band_gap", 0.1, 0.5, 3.5),
        ("dielectric", 0.1, 5, 30),
    ]


def test_the_properties_of_all_tasks_are_shipped():
    wanted = {objective.property: objective for task in list_tasks() for objective in load_task(task.name).objectives}
    assert set(PAPER) <= {task.name for task in list_tasks()}
    for name, objective in wanted.items():
        info = about(name)
        lower, upper = info.bounds
        assert lower <= objective.lo < objective.hi <= upper


def test_every_task_says_what_it_is():
    tasks = list_tasks()
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
    with pytest.raises(ConfigError, match=r"mine\.yaml: base: unknown task 'densty' \(did you mean 'density'\?\)"):
        load_task(str(path))


def test_a_file_with_the_name_of_a_task_does_not_shadow_it(tmp_path, monkeypatch):
    (tmp_path / "density").write_text("nonsense", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_task("density").name == "density"


def test_merging_replaces_lists_and_keeps_its_inputs():
    base, over = {"a": {"b": [1, 2], "c": 1}, "d": 4}, {"a": {"b": [3]}, "d": {"e": 5}}
    assert merge(base, over) == {"a": {"b": [3], "c": 1}, "d": {"e": 5}}
    assert base == {"a": {"b": [1, 2], "c": 1}, "d": 4}


@pytest.mark.parametrize("base", ["", "[density]", "3"])
def test_a_base_is_one_name(tmp_path, base):
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: {base}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: 'base' must be the name of one shipped task"):
        load_task(str(path))


def test_another_goal_is_not_called_by_the_old_ones_words(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: density\nobjectives:\n- {property: hhi, kind: minimize, lo: 500, hi: 5000}\n", "utf-8")
    assert (load_task(str(path)).goal, load_task(str(path)).description) == ("low hhi", "")
    assert load_task(str(path), overrides=["goal=no monopolies"]).goal == "no monopolies"
    assert load_task("hhi", overrides=["objectives.0.hit=[null, 2000]"]).goal == "hhi below 2000"
    assert load_task("hhi", "quick", ["iterations=3"]).goal == load_task("hhi").goal


def test_a_goal_in_the_users_own_words_stays(tmp_path):
    path = tmp_path / "mine.yaml"
    objective = "{property: hhi, kind: minimize, lo: 500, hi: 5000}"
    path.write_text(f"name: mine\ngoal: no monopolies\nobjectives: [{objective}]\n", encoding="utf-8")
    assert load_task(str(path), overrides=["objectives.0.hi=4000"]).goal == "no monopolies"
