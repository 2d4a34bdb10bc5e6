"""What a campaign wants: objectives, preferences among them, and constraints. Part of the schema in config.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Aggregation = Literal["weighted_mean", "geometric_mean", "product", "min", "chebyshev"]


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


class ElementsConfig(Section):
    """Elements of crystals: symbols, or groups of them (see elements.py) such as ``radioactive`` or ``rare_earth``."""

    allowed: tuple[str, ...] = Field((), description="Elements that may occur; empty: all.")
    required: tuple[str, ...] = Field((), description="Elements that must occur; of a group, any of it.")
    forbidden: tuple[str, ...] = Field((), description="Elements that must not occur.")


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
        for name in ("range", "hit"):
            low, high = getattr(self, name) or (None, None)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name}: {low} must not exceed {high}")
        return self


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
