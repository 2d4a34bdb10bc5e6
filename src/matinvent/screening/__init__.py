"""Which generated crystals are worth an evaluation: valid, relaxed, stable, unique, novel."""
