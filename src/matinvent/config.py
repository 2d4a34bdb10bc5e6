"""The schema of a campaign: every knob, its default, its bounds, and what it means.

A campaign file is YAML; unknown keys are refused, and ``--set a.b=c`` overrides single values.
``matinvent schema`` prints the JSON schema that editors use for completion.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from matinvent.config_goals import (
    Aggregation,
    ConstraintsConfig,
    Count,
    CrystalKind,
    ElementsConfig,
    Fraction,
    Name,
    Objectives,
    Positive,
    PreferencesConfig,
    Section,
)
from matinvent.config_screening import ScreeningConfig
from matinvent.errors import ConfigError


class TemplateConfig(CrystalKind):
    """Which symmetry templates are sampled; what is null or empty is as in the prior's training data."""

    max_orbits: Count | None = Field(None, description="Most occupied orbits (inequivalent sites).")


class TiltSection(Section):
    """Learning the distribution of symmetry templates, too (see generators/diffcsp/tilt.py)."""

    enabled: bool = Field(True, description="Draw rewarded templates more often; off: draw them as the prior does.")
    rate: Positive = Field(15.0, description="Factor on the learning rate.")
    divergence: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        50.0, description="Factor on the divergence to the prior's distribution."
    )


class GeneratorConfig(Section):
    """Which prior to start from and how to sample it."""

    prior: str = Field("mp-symmetric", description="Shipped prior (see `matinvent priors`) or a checkpoint file.")
    samples: Count = Field(192, description="Crystals sampled per iteration; those that promise most are screened.")
    steps: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="Denoising steps per sample; null: as the prior's card says."
    )
    corrector_steps: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="Langevin steps on the coordinates after each denoising step (predictor-corrector)."
    )
    guidance: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None, description="Classifier-free guidance toward stable crystals; null: as the prior's card says."
    )
    candidates: Annotated[int, Field(ge=1, le=16)] | None = Field(
        None,
        description="Crystals drawn per sample, the critic keeps the best; null: as the prior's card says.",
    )
    balanced: bool | Literal["strictly"] = Field(
        True,
        description="The last element drawn is one with which charges balance (SMACT), if a likely one does; strictly: "
        "also in alloys, as constraints.charge_balanced has it.",
    )
    batch_size: Count | None = Field(None, description="Crystals denoised at once; null: 32 on a CPU, 512 on a GPU.")
    templates: TemplateConfig = TemplateConfig()
    elements: ElementsConfig = ElementsConfig()
    tilt: TiltSection = TiltSection()
    bfloat16: bool | None = Field(None, description="Sample with products in bfloat16; null: as the prior's card says.")
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def within(self, constraints: ConstraintsConfig) -> GeneratorConfig:
        """The same, narrowed so that proposals satisfy a campaign's constraints as well.

        Raises:
            ConfigError: no crystal satisfies both.
        """
        try:
            templates, elements = self.templates.and_kind(constraints), self.elements.and_elements(constraints)
        except ConfigError as error:
            raise ConfigError(f"constraints, together with the settings of generator: {error}") from None
        balanced = "strictly" if constraints.charge_balanced and self.balanced else self.balanced
        return self.model_copy(update={"templates": templates, "elements": elements, "balanced": balanced})


class AcquisitionConfig(Section):
    """Which proposals are screened and evaluated first: those of which a surrogate of the reward expects most."""

    enabled: bool = Field(True, description="Off: evaluated crystals are drawn at random, as in the paper.")
    exploration: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        1.0, description="Standard deviations of the surrogate added to its mean; more: what it knows less of."
    )
    features: Literal["composition", "cell"] = Field(
        "composition",
        description="What the surrogate sees: statistics of the elements, atoms and volume, or (for properties of the "
        "lattice alone) the conventional cell and the space group.",
    )
    min_evaluations: Count = Field(12, description="Evaluations before the surrogate is asked.")
    promise: Fraction = Field(
        0.9,
        description="Where the surrogate's upper bound is below this share of the best rewards so far, crystals are "
        "screened last and fill at most half of the places; 0: all are promising. An agent that repeats itself leaves "
        "room for what is not worth it.",
    )
    surplus: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        1.0,
        description="Survivors of the screening per evaluation. Above 1 more crystals are relaxed, and of these "
        "the surrogate chooses once more, now that their cells are known.",
    )
    from_prior: Fraction = Field(
        0.25,
        description="Share of the proposals that come from the frozen prior, so that the surrogate may choose other "
        "chemistry than the agent's.",
    )
    repeat: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9,
        description="What is expected of a proposal counts times this for each better one of its chemical system in "
        "an iteration, so that evaluations are spread over several systems; 1: they are not.",
    )


class FeasibilityConfig(Section):
    """The chance that a crystal of some kind is stable, learned from all that was screened."""

    enabled: bool = Field(
        True,
        description="Crystals of a kind that is rarely stable are learned with less reward, and screened later "
        "(where a surrogate orders them), so that the agent stays where crystals are stable; off: as in the paper.",
    )
    enough: Annotated[float, Field(gt=0, le=1)] = Field(
        0.75,
        description="Chance to be stable from which a kind keeps all of its reward. At 1 none has enough, and of two "
        "rewards that differ little the one that is stable more often leads.",
    )
    min_screened: Count = Field(24, description="Screened crystals before a chance is estimated.")


class EvaluationConfig(Section):
    """How many survivors are evaluated, and how the evaluations run."""

    per_iteration: Count = Field(16, description="Crystals evaluated per iteration.")
    initial: Annotated[int, Field(ge=0)] = Field(
        64,
        description="Crystals evaluated in the first iteration, if that is more (initial design): what the first finds "
        "are decides on the chemistry of a campaign, so there should be some to choose from.",
    )
    executor: str = Field("serial", description="'serial', 'threads', 'processes', or 'module:function' (a factory).")
    workers: Count = Field(1, description="Parallel evaluations.")
    timeout: Positive = Field(600.0, description="Seconds before one evaluation is given up (not with 'serial').")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        1, description="Further tries after an error, crash or time-out."
    )
    cache: bool = Field(True, description="Never evaluate the same structure twice in a campaign.")

    def wanted(self, iteration: int) -> int:
        """How many crystals an iteration (0-based) of a campaign evaluates at most."""
        return max(self.per_iteration, self.initial) if iteration == 0 else self.per_iteration


class ReplayConfig(Section):
    """Experience replay: the best crystals so far are learned again."""

    size: Annotated[int, Field(ge=0)] = Field(100, description="Crystals kept; 0 turns replay off.")
    sample: Annotated[int, Field(ge=0)] = Field(10, description="Crystals replayed per iteration.")
    min_reward: Fraction = Field(0.1, description="Only rewards above this are remembered.")


class DiversityConfig(Section):
    """Diversity filter: a kind of crystal met too often earns less, then nothing."""

    enabled: bool = True
    by: Literal["composition", "chemical_system"] = Field(
        "chemical_system",
        description="What is counted: sets of elements, which all alloys of one kind share, or reduced formulas, as in "
        "the paper.",
    )
    tolerance: Annotated[int, Field(ge=0)] = Field(6, description="Occurrences that keep the full reward.")
    limit: Count = Field(18, description="Occurrences from which the reward is 0.")

    @model_validator(mode="after")
    def _ordered(self) -> DiversityConfig:
        if self.limit <= self.tolerance:
            raise ValueError(f"limit ({self.limit}) must be greater than tolerance ({self.tolerance})")
        return self


class LearningConfig(Section):
    """How the agent learns from rewards (reward-weighted loss with divergence to the prior)."""

    learning_rate: Positive = 5e-4
    epsilon: Positive = Field(
        1e-5,
        description="Adam's epsilon: gradients not far above it take smaller steps, so that crystals of little "
        "reward move the agent little.",
    )
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.025, description="Weight of the divergence to the frozen prior."
    )
    lambda_: Annotated[float, Field(ge=1, allow_inf_nan=False, alias="lambda")] = Field(
        1.1, description="Divergence weight is sigma * (lambda - reward); just above the largest reward."
    )
    divergence: Literal["paper", "kl"] = Field(
        "paper",
        description="Mean squared difference of the outputs, or Kullback-Leibler divergence of whole trajectories in "
        "nats, which wants a sigma ten times smaller.",
    )
    schedule: Literal["stratified", "paper"] = "stratified"
    optimizer: Literal["persistent", "per_iteration"] = Field(
        "persistent", description="Keep Adam's moments between iterations, or start anew in each (paper)."
    )
    updates: Count = Field(20, description="Optimizer steps per iteration (stratified schedule).")
    pairs: Count = Field(
        144,
        description="(crystal, noise level) pairs per optimizer step, shared evenly by the crystals, of which each has "
        "at least one (stratified schedule).",
    )
    epochs: Count = Field(3, description="Passes over all timesteps (paper schedule).")
    timesteps: Count = Field(1000, description="Timesteps per pass (paper schedule).")
    accumulate: Count = Field(50, description="Timesteps per optimizer step (paper schedule).")
    top_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Share of the scored crystals learned from."
    )
    sharpness: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        1.0,
        description="Lessons count with their reward times exp(-sharpness) for each standard deviation that it is "
        "below the best one; 0 as in the paper: with all of it.",
    )
    grad_clip: Positive = Field(1.0, description="Largest gradient norm.")
    micro_batch: Count | None = Field(
        None, description="(crystal, noise level) pairs per forward pass; null: 16 on a CPU, 512 on a GPU."
    )
    learn_from: Literal["relaxed", "generated"] = Field("relaxed", description="Which form of a crystal is learned.")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class StopConfig(Section):
    """When a campaign, or each of its stages, ends before its last iteration; null: never for this reason."""

    mean_reward: Fraction | None = Field(None, description="Stop once the mean reward of an iteration reaches this.")
    max_evaluations: Count | None = Field(None, description="Stop once this many evaluations are spent.")
    hits: Count | None = Field(None, description="Stop once this many crystals meet all objectives (see their `hit`).")
    plateau: Count | None = Field(
        None,
        description="Stop after this many iterations in which the running mean reward (over five iterations) was not "
        "better than ever before.",
    )


class StageConfig(Section):
    """One stage of a campaign; whatever is left out is as at the top level of the file."""

    name: Name = Field(description="What the stage is called.")
    iterations: Count = Field(description="Iterations of the stage, unless a rule of `stop` ends it before.")
    objectives: Objectives | None = Field(None, description="Objectives of this stage, instead of the others.")
    aggregation: Aggregation | None = Field(None, description="How their scores become a reward.")
    preferences: PreferencesConfig | None = Field(None, description="Whether weights move, where it differs.")
    constraints: ConstraintsConfig | None = Field(None, description="Constraints that differ in this stage.")
    evaluation: EvaluationConfig | None = Field(None, description="Evaluation settings that differ in this stage.")
    stop: StopConfig | None = Field(
        None, description="Rules that differ in this stage; evaluations, hits and plateau are counted in each stage."
    )

    @model_validator(mode="before")
    @classmethod
    def _no_empty_section(cls, data: Any) -> Any:
        empty = [key for key, value in data.items() if value is None] if isinstance(data, dict) else []
        if empty:
            raise ValueError(f"{', '.join(empty)}: null means nothing here; leave it out, or change single settings")
        return data


class StartConfig(Section):
    """What a campaign starts from beside its prior."""

    crystals: Annotated[
        tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
    ] = Field((), description="Files or folders of crystals; evaluated first, they enter the replay buffer.")
    agent: str | None = Field(None, description="Run directory of another campaign, whose trained agent learns on.")
    prior: Literal["pretrained", "agent"] = Field(
        "pretrained", description="What the agent is held near: generator.prior, or `agent` as it was at the start."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.prior == "agent" and self.agent is None:
            raise ValueError("prior 'agent' needs an agent: the run directory of another campaign")
        return self


class LoggingConfig(Section):
    """What is written beside the ledger; metrics.csv is always written."""

    tensorboard: bool = True
    best: Count = Field(20, description="Best candidates written as CIF at the end.")


class CampaignConfig(Section):
    """A whole campaign."""

    name: Name
    description: str = ""
    goal: str = Field("", description="The goal in words, for people.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    iterations: Count = Field(60, description="Iterations; with `stages`, each of these has its own instead.")
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="CPU threads for sampling and learning; 0: one per core."
    )
    generator: GeneratorConfig = GeneratorConfig()
    start: StartConfig = StartConfig()
    constraints: ConstraintsConfig = ConstraintsConfig()
    screening: ScreeningConfig = ScreeningConfig()
    objectives: Objectives
    aggregation: Aggregation = "weighted_mean"
    preferences: PreferencesConfig = PreferencesConfig()
    acquisition: AcquisitionConfig = AcquisitionConfig()
    feasibility: FeasibilityConfig = FeasibilityConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    replay: ReplayConfig = ReplayConfig()
    diversity: DiversityConfig = DiversityConfig()
    learning: LearningConfig = LearningConfig()
    stop: StopConfig = StopConfig()
    stages: tuple[StageConfig, ...] = Field(
        (), description="Stages that follow each other (a curriculum); empty: one, of the settings at the top level."
    )
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        names = [stage.name for stage in self.stages]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"stages name two the same: {', '.join(sorted(repeated))}")
        try:
            self.by_stage()
        except ValidationError as error:
            raise ValueError(
                "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
            ) from None
        return self

    def by_stage(self) -> tuple[CampaignConfig, ...]:
        """The complete settings of each stage, as a campaign of one stage; without stages those of the campaign."""
        return tuple(self._during(stage) for stage in self.stages) or (self,)

    def _during(self, stage: StageConfig) -> CampaignConfig:
        return self.model_copy(
            update={
                "stages": (),
                "iterations": stage.iterations,
                "objectives": stage.objectives or self.objectives,
                "aggregation": stage.aggregation or self.aggregation,
                "preferences": _over(self.preferences, stage.preferences),
                "constraints": _over(self.constraints, stage.constraints),
                "evaluation": _over(self.evaluation, stage.evaluation),
                "stop": _over(self.stop, stage.stop),
            }
        )

    @property
    def total_iterations(self) -> int:
        """Iterations of all stages."""
        return sum(settings.iterations for settings in self.by_stage())

    def properties(self) -> list[str]:
        """Properties of the objectives of all stages, each once, in the order in which they first occur."""
        return list(dict.fromkeys(o.property for settings in self.by_stage() for o in settings.objectives))

    def to_json(self) -> dict[str, Any]:
        """The complete configuration, defaults included, as JSON values that load back to an equal one.

        Of stages only what was given is told: the rest follows the top level, also when that is edited.
        """
        data = self.model_dump(mode="json", by_alias=True)
        data["stages"] = [stage.model_dump(mode="json", by_alias=True, exclude_unset=True) for stage in self.stages]
        return data

    def to_yaml(self) -> str:
        """:meth:`to_json` as YAML."""
        return yaml.safe_dump(self.to_json(), sort_keys=False)


S = TypeVar("S", bound=Section)


def _over(base: S, changes: S | None) -> S:
    """A section with the settings that another one was given."""
    given = {} if changes is None else changes.model_dump(exclude_unset=True)
    return type(base).model_validate({**base.model_dump(), **given})
