"""Generative models of crystals behind one protocol."""
