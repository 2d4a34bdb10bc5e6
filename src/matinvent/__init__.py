"""MatInvent: inverse design of inorganic crystals by reinforcement learning on diffusion models."""

__version__ = "0.1.0"
