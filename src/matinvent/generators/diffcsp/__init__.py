"""DiffCSP-style diffusion over lattice, coordinates and elements, with and without symmetry templates."""
