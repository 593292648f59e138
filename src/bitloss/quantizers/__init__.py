"""Recipes carried out: from a reference to quantized files."""
