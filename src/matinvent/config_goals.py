"""What a campaign wants: objectives, preferences among them, and constraints. Part of the schema in config.py."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from matinvent.errors import ConfigError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Aggregation = Literal["weighted_mean", "geometric_mean", "product", "min", "chebyshev"]

#: Score from which an objective without bounds of its own counts as met.
GOOD = 0.9


class Section(BaseModel):
    """A group of settings; refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


CrystalSystem = Literal["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"]


class CrystalKind(Section):
    """Crystals of some size and symmetry; what is null or empty does not matter."""

    min_atoms: Count | None = Field(None, description="Fewest atoms in the primitive cell.")
    max_atoms: Count | None = Field(None, description="Most atoms in the primitive cell.")
    min_elements: Count | None = Field(None, description="Fewest distinct elements.")
    max_elements: Count | None = Field(None, description="Most distinct elements.")
    space_groups: tuple[Annotated[int, Field(ge=1, le=230)], ...] = Field(
        (), description="International numbers of the space groups; empty: all."
    )
    crystal_systems: tuple[CrystalSystem, ...] = Field((), description="Crystal systems; empty: all.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for kind in ("atoms", "elements"):
            low, high = getattr(self, f"min_{kind}"), getattr(self, f"max_{kind}")
            if low and high and low > high:
                raise ValueError(f"min_{kind} ({low}) must not exceed max_{kind} ({high})")
        return self

    def and_kind(self, other: CrystalKind) -> Self:
        """Crystals that are of both kinds.

        Raises:
            ConfigError: there are none.
        """
        both: dict[str, Any] = {}
        for kind in ("atoms", "elements"):
            names = f"min_{kind}", f"max_{kind}"
            low, high = ([v for v in (getattr(self, name), getattr(other, name)) if v] for name in names)
            both |= {names[0]: max(low, default=None), names[1]: min(high, default=None)}
            if low and high and max(low) > min(high):
                raise ConfigError(f"{names[0]} {max(low)} exceeds {names[1]} {min(high)}")
        for name in ("space_groups", "crystal_systems"):
            both[name] = _common(getattr(self, name), getattr(other, name), name)
        return self.model_copy(update=both)


class ElementsConfig(Section):
    """Elements of crystals: symbols, or groups of them (see elements.py) such as ``radioactive`` or ``rare_earth``."""

    allowed: tuple[str, ...] = Field((), description="Elements that may occur; empty: all.")
    required: tuple[str, ...] = Field((), description="Elements that must occur; of a group, any of it.")
    forbidden: tuple[str, ...] = Field((), description="Elements that must not occur.")

    def and_elements(self, other: ElementsConfig) -> Self:
        """What satisfies both.

        Raises:
            ConfigError: no element is allowed by both, or one is unknown.
        """
        from matinvent.elements import resolve_elements

        allowed = self.allowed or other.allowed
        if self.allowed and other.allowed and self.allowed != other.allowed:
            mine, theirs = (resolve_elements(names, "allowed") for names in (self.allowed, other.allowed))
            allowed = _common(tuple(sorted(mine)), tuple(sorted(theirs)), "allowed elements")
        merged = {name: (*getattr(self, name), *getattr(other, name)) for name in ("required", "forbidden")}
        unique = {name: tuple(dict.fromkeys(names)) for name, names in merged.items()}
        return self.model_copy(update={"allowed": allowed, **unique})


def _common(one: tuple[Any, ...], other: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    """What two selections have in common, of which an empty one means all."""
    common = tuple(item for item in one if item in other) if one and other else one or other
    if not common and one:
        raise ConfigError(f"{what} {', '.join(map(str, one))} exclude {', '.join(map(str, other))}")
    return common


class ObjectiveConfig(Section):
    """One property and what is wanted of it."""

    property: str = Field(description="Name of the property, see `matinvent properties`.")
    kind: Literal["maximize", "minimize", "target", "range"] = Field(
        description="maximize: 0 at lo, 1 at hi; minimize: 1 at lo, 0 at hi; target and range: 1 up to the distance lo "
        "from the target or range, 0 from the distance hi on."
    )
    target: Finite | None = Field(None, description="Wanted value, in the property's unit (kind: target).")
    range: tuple[Finite, Finite] | None = Field(
        None, description="Smallest and largest wanted value, in the property's unit (kind: range)."
    )
    lo: Finite = Field(description="Lower bound of the desirability ramp; may be left out for target and range (0).")
    hi: Finite = Field(description="Upper bound of the desirability ramp.")
    shape: Literal["linear", "sigmoid", "step"] = Field(
        "linear",
        description="Of the ramp: linear; sigmoid: smooth, 1/2 in its middle, never quite 0 or 1; step: 1 where linear "
        "is 1, else 0.",
    )
    steepness: Positive = Field(10.0, description="Of the sigmoid: its slope in the middle is a quarter of this.")
    exponent: Positive = Field(
        1.0,
        description="The linear ramp is raised to it: above 1 half-way is worth less than half, below 1 more. Other "
        "shapes do not have it.",
    )
    role: Literal["objective", "penalty"] = Field(
        "objective", description="A penalty is not aggregated with the objectives: its score multiplies the reward."
    )
    hit: tuple[Finite | None, Finite | None] | None = Field(
        None,
        description="Smallest and largest value (null: no bound) with which a crystal counts as a hit; null: a score "
        "of at least 0.9, where an exponent counts.",
    )
    weight: Positive = 1.0
    confidence: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0,
        description="Score the worst value within so many standard deviations; for properties with an uncertainty.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the evaluator.")

    @model_validator(mode="before")
    @classmethod
    def _starts_at_zero_distance(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("kind") in {"target", "range"}:
            return {"lo": 0.0, **data}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> ObjectiveConfig:
        if self.hi <= self.lo:
            raise ValueError(f"hi ({self.hi}) must be greater than lo ({self.lo})")
        if (self.kind == "target") != (self.target is not None):
            raise ValueError("'target' must be given exactly when kind is 'target'")
        if (self.kind == "range") != (self.range is not None):
            raise ValueError("'range' must be given exactly when kind is 'range'")
        if self.exponent != 1 and self.shape != "linear":
            raise ValueError(f"'exponent' is one of the linear shape; leave it out with shape '{self.shape}'")
        if self.role == "penalty" and (self.hit is not None or self.weight != 1):
            raise ValueError("a penalty is no goal: it has neither 'hit' nor 'weight'")
        for name in ("range", "hit"):
            low, high = getattr(self, name) or (None, None)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name}: {low} must not exceed {high}")
        if self.kind in {"target", "range"} and self.lo < 0:
            raise ValueError(f"lo ({self.lo}) is a distance from the {self.kind} and cannot be negative")
        if self.kind == "target" and self.shape == "step" and self.lo == 0:
            raise ValueError("a step at the target itself is never met; 'lo' says how far from it the score is still 1")
        return self

    @model_validator(mode="after")
    def _hits_possible(self) -> ObjectiveConfig:
        """What scores best must be a hit, else an agent is led away from what is counted."""
        low, high = self.ideal()
        if self.hit == (None, None):
            raise ValueError("hit: [null, null] makes a hit of every crystal; give a bound, or leave it out")
        if self.hit is None:
            best = 1 + self.lo / (self.hi - self.lo) if self.kind in {"target", "range"} else math.inf
            if self.shape == "sigmoid" and self.steepness * (best - 0.5) < math.log(GOOD / (1 - GOOD)):
                raise ValueError(f"no value scores {GOOD}, as a hit must: give 'hit', or a larger 'steepness' or 'lo'")
        elif (self.hit[0] is not None and self.hit[0] > high) or (self.hit[1] is not None and self.hit[1] < low):
            raise ValueError(f"hit: no value within {list(self.hit)} scores 1; those from {low:g} to {high:g} do")
        return self

    def in_words(self) -> str:
        """What is wanted, for people."""
        if self.kind == "target":
            return f"{self.property} of {self.target:g}"
        if self.range is not None:
            return f"{self.property} from {self.range[0]:g} to {self.range[1]:g}"
        low, high = self.hit or (None, None)
        bounds = [f"{word} {end:g}" for word, end in (("above", low), ("below", high)) if end is not None]
        if bounds:
            return f"{self.property} {' and '.join(bounds)}"
        return f"{'high' if self.kind == 'maximize' else 'low'} {self.property}"

    def ideal(self) -> tuple[float, float]:
        """Smallest and largest value of score 1 (of a sigmoid: where the ramp ends), infinite where there is no end."""
        if self.kind == "maximize":
            return self.hi, math.inf
        if self.kind == "minimize":
            return -math.inf, self.lo
        low, high = self.wanted()
        return low - self.lo, high + self.lo

    def wanted(self) -> tuple[float, float]:
        """The range, or the target as one (kinds range and target)."""
        low, high = self.range or (self.target, self.target)
        assert low is not None, "the schema demands a target or a range"
        assert high is not None, "the schema demands a target or a range"
        return low, high

    def within_hit(self, value: float, score: float) -> bool:
        """Whether a value of some score counts as a hit."""
        if self.hit is None:
            return score >= GOOD
        low, high = self.hit
        return (low is None or value >= low) and (high is None or value <= high)


def _distinct(objectives: tuple[ObjectiveConfig, ...]) -> tuple[ObjectiveConfig, ...]:
    names = [objective.property for objective in objectives]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"objectives name a property twice: {', '.join(sorted(repeated))}")
    return objectives


Objectives = Annotated[tuple[ObjectiveConfig, ...], Field(min_length=1), AfterValidator(_distinct)]


class PreferencesConfig(Section):
    """Several goals without a fixed compromise: weights that move, so that a whole front is found.

    What the agent learns from moves (the credit); rewards, and with them metrics and stop rules, keep the weights of
    the objectives. See rewards/preferences.py.
    """

    moving: bool = Field(False, description="Move the weights of the objectives over all compromises.")
    per_iteration: Count = Field(4, description="Compromises per iteration; a crystal counts by what suits it best.")


class ConstraintsConfig(ElementsConfig, CrystalKind):
    """What a crystal must be, whatever its properties; checked before anything is computed.

    Space groups and crystal systems are those before and after relaxation. The shipped generator proposes accordingly.
    """

    charge_balanced: bool = Field(
        False, description="Common oxidation states must balance, also where SMACT sees an alloy."
    )
