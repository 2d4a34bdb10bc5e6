"""How candidates are screened: valid, relaxed, stable, unique, novel. Part of the schema in config.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from matinvent.config_goals import Count, Finite, Positive, Section


class ValidityConfig(Section):
    """What makes a crystal physically possible at all."""

    min_distance: Positive = Field(0.5, description="Shortest allowed interatomic distance (A).")
    min_volume: Positive = Field(0.1, description="Smallest allowed cell volume (A^3).")
    max_length: Positive = Field(25.0, description="Longest allowed edge of the primitive cell (A).")
    smact: bool = Field(True, description="Require SMACT charge neutrality and electronegativity balance.")


class RelaxationConfig(Section):
    """How structures are relaxed."""

    enabled: bool = True
    potential: str = Field(
        "chgnet",
        description="'chgnet' (many crystals at once), or an ASE calculator (one after the other, slower): 'sevennet', "
        "'mace', a plug-in's name, or 'module:function' returning one.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="On a GPU one process works in large batches.")
    fmax: Positive = Field(0.1, description="Largest residual force (eV/A).")
    max_steps: Count = Field(100, description="Optimizer steps before giving up on convergence.")
    give_up: bool = Field(
        True,
        description="Stop relaxing a crystal that is too far above the hull to come below max_e_above_hull.",
    )
    max_atoms: Count = Field(200, description="A larger crystal is not relaxed but reported as too large.")
    batch_atoms: Count | None = Field(
        None, description="Atoms evaluated in one forward pass; null: 160 on a CPU, 4096 on a GPU."
    )
    max_volume_ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        3.0, description="Relaxations that change the volume by more than this factor have failed."
    )


class ScreeningConfig(Section):
    """Which crystals are worth an evaluation: valid, stable, unique and novel ones."""

    enabled: bool = Field(True, description="Off: every valid crystal is evaluated (ablation).")
    validity: ValidityConfig = ValidityConfig()
    relaxation: RelaxationConfig = RelaxationConfig()
    stability: bool = True
    reference: str = Field("mp", description="Reference set for hull and novelty: 'mp' (shipped) or a file.")
    max_e_above_hull: Finite = Field(0.1, description="Stability threshold (eV/atom).")
    uniqueness: bool = True
    unique_within: Literal["batch", "campaign"] = Field(
        "campaign", description="Unique among the crystals of one iteration, or of all iterations so far."
    )
    skip_twins: bool = Field(
        True,
        description="A crystal that as it is drawn equals one found stable before is a duplicate, without being "
        "relaxed to find that out (never with `exhaustive`).",
    )
    novelty: bool = True
    matcher: Literal["fingerprint", "structure-matcher"] = Field(
        "fingerprint",
        description="What tells crystals apart: fingerprints, or where both structures are at hand (in a batch, and in "
        "reference sets built with --keep-structures) pymatgen's StructureMatcher.",
    )
    disordered: bool = Field(
        False, description="Crystals that differ only in how similar elements share their sites (alloys) are the same."
    )
    exhaustive: bool = Field(
        False, description="Screen every sample, also once enough survivors for the evaluation are found."
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="Relaxation processes; 0: one per CPU core.")

    @property
    def complete(self) -> bool:
        """Whether survivors are stable, unique and novel, and not only some of these."""
        return self.enabled and self.stability and self.uniqueness and self.novelty

    @classmethod
    def for_measuring(cls, **changes: Any) -> ScreeningConfig:
        """Settings under which no verdict hides another: all is relaxed to its end, and SMACT judged apart."""
        settings = cls(
            exhaustive=True, validity=ValidityConfig(smact=False), relaxation=RelaxationConfig(give_up=False)
        )
        return cls.model_validate({**settings.model_dump(), **changes})
