"""MatInvent: inverse design of inorganic crystals by reinforcement learning on diffusion models."""

import logging

__version__ = "0.1.0"

# moyo logs a warning for every supercell it is given and every atom that it moves onto its site;
# both are the everyday business of encoding crystals.
logging.getLogger("moyo").setLevel(logging.ERROR)
