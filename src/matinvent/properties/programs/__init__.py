"""Programs that run beside MatInvent, each by the Python of its own environment; they import nothing of MatInvent."""
