"""Which campaigns an experiment consists of.

Every experiment is a few *arms* (settings that differ), each run on some tasks with several seeds. Sizes come from a
*scale*. The arm ``prior`` is in all of them: the same campaign whose agent never changes, which tells what a hit costs
without learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.errors import ConfigError
from matinvent.suggestions import nearest

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig


@dataclass(frozen=True, slots=True)
class Judging:
    """How a final agent is judged: by samples all of which are screened, as campaigns screen what they prefer, or none.

    Attributes:
        size: crystals of a sample. They are compared with each other, so that more of an agent that repeats itself are
            less unique: shares of samples of different sizes do not compare.
        samples: how many.
    """

    size: int
    samples: int

    @property
    def crystals(self) -> int:
        """Of all samples together."""
        return self.size * self.samples


#: Of agents, and of the prior, beside which all tasks are set.
JUDGINGS = {"quick": (Judging(64, 2), Judging(64, 4)), "paper": (Judging(1000, 1), Judging(1000, 1))}


@dataclass(frozen=True, slots=True)
class Arm:
    """Settings laid over a task: ``key=value`` as for ``--set``; the name becomes part of directory names."""

    name: str
    title: str
    settings: tuple[str, ...] = ()


#: A learning rate below the resolution of any weight: the agent stays what the prior is, whatever the rewards.
PRIOR = Arm(
    "prior",
    "prior, no learning",
    (
        "learning.learning_rate=1e-30",
        "learning.schedule=stratified",
        "learning.updates=1",
        "learning.pairs=1",
        "replay.size=0",
        "replay.sample=0",
        "acquisition.enabled=false",
        "feasibility.enabled=false",
    ),
)
LEARNED = Arm("learned", "MatInvent")
_UNSCREENED = Arm("unscreened", "without screening", ("screening.enabled=false",))
_NO_REPLAY = Arm("no-replay", "without replay", ("replay.size=0", "replay.sample=0"))
_NO_FILTER = Arm("no-filter", "without diversity filter", ("diversity.enabled=false",))
_PAPERS_FILTER = ("diversity.by=composition", "diversity.tolerance=3", "diversity.limit=6")
_BY_COMPOSITION = Arm("by-composition", "the paper's filter, by composition", _PAPERS_FILTER)
_NO_DIVERGENCE = Arm("none", "no divergence", ("learning.sigma=0",))
_FIXED_TYPES = Arm("fixed-types", "structure types not learned", ("generator.tilt.enabled=false",))
_NO_CHANCE = Arm("no-feasibility", "without feasibility", ("feasibility.enabled=false",))
_NO_SURROGATE = Arm("no-surrogate", "without surrogate", ("acquisition.enabled=false",))
_SURROGATE = Arm("surrogate", "prior and surrogate", (*PRIOR.settings, "acquisition.enabled=true"))
_TWO = (LEARNED, PRIOR)
_CHEBYSHEV = Arm("chebyshev", "fixed Chebyshev weights", ("aggregation=chebyshev",))
_MOVING = Arm("moving", "moving Chebyshev weights", ("aggregation=chebyshev", "preferences.moving=true"))
_FRONTS = (LEARNED, _CHEBYSHEV, _MOVING, PRIOR)


def all_tasks() -> tuple[str, ...]:
    """Shipped tasks."""
    from matinvent.tasks import list_tasks

    return tuple(task.name for task in list_tasks())


def single_tasks() -> tuple[str, ...]:
    """Shipped tasks with one objective."""
    from matinvent.tasks import load_task

    return tuple(name for name in all_tasks() if len(load_task(name).objectives) == 1)


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment of the paper.

    Attributes:
        name: what the command calls it.
        figure: where the paper shows it.
        question: what it asks.
        expected: what the paper found; empty where there is nothing to compare with.
        arms: what is compared, the prior included.
        tasks: names of the tasks on which it runs.
        compared: quantities (see :mod:`~matinvent.experiments.analysis`) in which arms are compared with the arm
            ``learned``.
    """

    name: str
    figure: str
    question: str
    arms: tuple[Arm, ...]
    expected: str = ""
    tasks: Callable[[], tuple[str, ...]] = lambda: ("density",)
    compared: tuple[str, ...] = ()


def _sigma_arms() -> tuple[Arm, ...]:
    """No divergence, then both kinds at several weights; the default is the arm ``learned``."""
    settings = [("paper", 0.1), ("paper", 0.4), ("kl", 0.0025), ("kl", 0.025)]
    arms = [
        Arm(f"{kind}-{sigma:g}", f"{kind}, sigma {sigma:g}", (f"learning.sigma={sigma}", f"learning.divergence={kind}"))
        for kind, sigma in settings
    ]
    default = Arm("learned", "paper, sigma 0.025", ("learning.sigma=0.025", "learning.divergence=paper"))
    return (default, _NO_DIVERGENCE, *arms)


_CATALOGUE = (
    Experiment(
        "ablations",
        "Fig. 1b-d",
        "What do screening, replay, filter, divergence, structure types, surrogate and feasibility each add?",
        (
            LEARNED,
            _UNSCREENED,
            _NO_REPLAY,
            _NO_FILTER,
            _NO_DIVERGENCE,
            _FIXED_TYPES,
            _NO_SURROGATE,
            _NO_CHANCE,
            _SURROGATE,
            PRIOR,
        ),
        expected="screening raises the SUN share and the diversity, replay speeds learning up, the filter raises the "
        "diversity at no cost in reward, and without divergence training can fail",
        compared=("sun_judged", "reward_mean", "reward_last", "compositions_equal", "validity_judged"),
    ),
    Experiment(
        "screening",
        "Fig. 1b",
        "Does learning from stable, unique and novel crystals only pay?",
        (LEARNED, _UNSCREENED, PRIOR),
        expected="screening raises the SUN share and the diversity",
        compared=("sun_judged", "compositions_equal", "reward_last"),
    ),
    Experiment(
        "replay",
        "Fig. 1c",
        "Does replaying the best crystals pay?",
        (LEARNED, _NO_REPLAY, PRIOR),
        expected="replay speeds learning up, and lowers the diversity",
        compared=("reward_mean", "reward_last", "compositions_equal"),
    ),
    Experiment(
        "diversity",
        "Fig. 1d",
        "Does the diversity filter pay, and what should it count?",
        (LEARNED, _BY_COMPOSITION, _NO_FILTER, PRIOR),
        expected="the filter raises the diversity of compositions at no cost in reward",
        compared=("compositions_equal", "systems_equal", "reward_last"),
    ),
    Experiment(
        "divergence",
        "Methods",
        "How strongly should the agent be held near the prior?",
        (*_sigma_arms(), PRIOR),
        expected="without divergence the validity suffers and training can fail",
        compared=("validity_judged", "reward_last", "divergence"),
    ),
    Experiment("single", "Fig. 2", "Is every single-property task learned, and how fast?", _TWO, tasks=single_tasks),
    Experiment(
        "magnet",
        "Fig. 4",
        "Strong magnets of low supply risk: two goals at once; one compromise, or the whole front?",
        _FRONTS,
        tasks=lambda: ("magnet",),
        compared=("hypervolume_equal", "hits_per_100"),
    ),
    Experiment(
        "high_k",
        "Fig. 5",
        "High-k dielectrics: conflicting goals; one compromise, or the whole front?",
        _FRONTS,
        tasks=lambda: ("high_k",),
        compared=("hypervolume_equal", "hits_per_100"),
    ),
    Experiment(
        "tasks",
        "Figs. 2, 4, 5",
        "Is every task of the paper learned, and how fast?",
        _TWO,
        tasks=all_tasks,
    ),
    Experiment("prior", "baseline", "What does a hit cost without learning?", (PRIOR,), tasks=all_tasks),
)

#: Sizes of each scale. Quick: at most 240 evaluations with the quick preset, a quarter of what the paper needs to
#: converge. That takes 17 iterations, more where some of them find fewer than twelve crystals that are worth it.
_QUICK_ITERATIONS = 24
_QUICK_EVALUATIONS = 240
_PAPER_ITERATIONS = {"magnet": 120, "high_k": 240}
_PAPER_SAMPLES = {"dielectric": (128, 32), "high_k": (128, 32)}
_PAPER = (
    "learning.schedule=paper", "learning.divergence=paper", "learning.optimizer=per_iteration", "learning.epsilon=1e-8",
    "learning.sharpness=0", "generator.tilt.enabled=false", "acquisition.enabled=false", "feasibility.enabled=false",
    "screening.unique_within=batch", *_PAPERS_FILTER,
)  # fmt: skip
SCALES = ("quick", "paper")
#: Preset and settings of a scale.
Size = tuple[str | None, list[str]]


def list_experiments() -> tuple[Experiment, ...]:
    """All experiments, in the order of the paper."""
    return _CATALOGUE


def find_experiment(name: str) -> Experiment:
    """An experiment by name.

    Raises:
        ConfigError: there is none; the nearest name is told.
    """
    known = {experiment.name: experiment for experiment in _CATALOGUE}
    if name not in known:
        raise ConfigError(f"unknown experiment '{name}' ({nearest(name, known)})")
    return known[name]


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for.

    Attributes:
        experiment: its name.
        scale: ``quick`` or ``paper``.
        seeds: number of seeds; they are 0, 1, ...
        tasks: shipped tasks or campaign files; empty: those of the experiment.
        settings: ``key=value`` for all campaigns.
        parallel: campaigns that run at the same time; they share the cores.
        arms: names of the arms to run beside the prior; empty: all.
    """

    experiment: str
    scale: str = "quick"
    seeds: int = 3
    tasks: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    parallel: int = 1
    arms: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Request:
        """What :meth:`to_json` gave."""
        several = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        return cls(**{**data, **several})

    def extends(self, earlier: Request) -> bool:
        """Whether the campaigns of an earlier request are among this one's, unchanged but for the cores they run on."""
        same = ("experiment", "scale", "settings")
        return (
            all(getattr(self, name) == getattr(earlier, name) for name in same)
            and self.seeds >= earlier.seeds
            and (self.tasks == earlier.tasks or (bool(earlier.tasks) and set(earlier.tasks) <= set(self.tasks)))
            and (not self.arms or (bool(earlier.arms) and set(earlier.arms) <= set(self.arms)))
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """A campaign of an experiment.

    Attributes:
        name: unique in the experiment.
        task: what it pursues.
        arm: settings that it has beyond those of the task.
        seed: its seed.
        config: its complete settings.
        judging: how its final agent is judged.
        source: the campaign whose crystals it evaluates; empty: it makes its own.
    """

    name: str
    task: str
    arm: Arm
    seed: int
    config: CampaignConfig
    judging: Judging
    source: str = ""


def plan(request: Request) -> list[Planned]:
    """The campaigns of a request, seed after seed, so that a first answer is there early.

    Raises:
        ConfigError: experiment, scale or task is unknown, or a setting does not fit.
    """
    from matinvent.execution.executors import available_cores

    experiment = find_experiment(request.experiment)
    if request.scale not in SCALES:
        raise ConfigError(f"--scale {request.scale}: use {' or '.join(SCALES)}")
    if request.seeds < 1 or request.parallel < 1:
        raise ConfigError("--seeds and --parallel: at least 1")
    arms = _chosen(experiment, request.arms)
    _refuse_fixed(request.settings, arms)
    share = max(1, available_cores() // request.parallel)
    cores = () if request.parallel == 1 else (f"threads={share}", f"screening.workers={share}")
    tasks = request.tasks or experiment.tasks()
    sizes = {task: _size(task, request.scale) for task in tasks}
    planned = [
        campaign
        for seed in range(request.seeds)
        for task in tasks
        for campaign in _distinct(_planned(task, arm, seed, request, sizes[task], cores) for arm in arms)
    ]
    names = [campaign.name for campaign in planned]
    repeated = sorted({campaign.task for campaign in planned if names.count(campaign.name) > 1})
    if repeated:
        raise ConfigError(f"--tasks: {', '.join(repeated)} twice; give each campaign file a name of its own")
    return _sharing(planned)


def _chosen(experiment: Experiment, names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these names, and the prior; all if none is named."""
    known = {arm.name: arm for arm in experiment.arms}
    for name in names:
        if name not in known:
            raise ConfigError(f"--arms: '{experiment.name}' has no arm '{name}' ({nearest(name, known)})")
    return tuple(arm for arm in experiment.arms if not names or arm.name in names or arm is PRIOR)


def _refuse_fixed(settings: Sequence[str], arms: Sequence[Arm]) -> None:
    """Refuse a setting that would change nothing, as every campaign has one of its own."""
    learners = [arm for arm in arms if arm is not PRIOR]
    for key in (setting.partition("=")[0].strip() for setting in settings):
        if key == "seed":
            raise ConfigError("--set seed: an experiment has seeds 0, 1, ...; say how many by --seeds")
        if all(any(own.startswith(f"{key}=") for own in arm.settings) for arm in learners or arms):
            raise ConfigError(f"--set {key}: every arm of the experiment has a value of its own")


def _distinct(arms: Iterable[Planned]) -> list[Planned]:
    """Without arms that a scale makes the same: the paper's knows no surrogate that could be switched off."""
    first: dict[str, Planned] = {}
    for campaign in arms:
        first.setdefault(campaign.config.model_dump_json(), campaign)
    return list(first.values())


def _sharing(planned: Sequence[Planned]) -> list[Planned]:
    """The same campaigns, but crystals of the unchanged prior are made once and evaluated for all tasks."""
    from matinvent.experiments.revaluation import depends_on_the_goal, same_proposals

    first: dict[str, str] = {}
    shared = []
    for campaign in planned:
        source = ""
        if campaign.arm is PRIOR and not depends_on_the_goal(campaign.config):
            source = first.setdefault(same_proposals(campaign.config), campaign.name)
        shared.append(replace(campaign, source=source) if source not in {"", campaign.name} else campaign)
    return shared


def _planned(task: str, arm: Arm, seed: int, request: Request, size: Size, cores: Sequence[str]) -> Planned:
    from matinvent.tasks import load_task

    preset, settings = size
    config = load_task(task, preset, [*settings, *cores, *request.settings, *arm.settings, f"seed={seed}"])
    judging = JUDGINGS[request.scale][arm is PRIOR]
    return Planned(f"{config.name}-{arm.name}-{seed}", config.name, arm, seed, config, judging)


def _size(task: str, scale: str) -> Size:
    """Preset and settings of a scale; stages have iterations of their own."""
    from matinvent.tasks import load_task

    name = Path(task).stem
    iterations = _QUICK_ITERATIONS if scale == "quick" else _PAPER_ITERATIONS.get(name, 100)
    length = [] if load_task(task).stages else [f"iterations={iterations}"]
    if scale == "quick":
        return "quick", [*length, f"stop.max_evaluations={_QUICK_EVALUATIONS}"]
    samples, evaluated = _PAPER_SAMPLES.get(name, (192, 16))
    return None, [
        *length,
        f"generator.samples={samples}",
        f"evaluation.per_iteration={evaluated}",
        "evaluation.initial=0",
        "learning.learning_rate=1e-4",
        *_PAPER,
    ]
