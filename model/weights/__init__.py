"""Installed weights: NAME.safetensors beside its card NAME.json."""
