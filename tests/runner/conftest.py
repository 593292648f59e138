"""Tiny random models, their variants, and text."""

from __future__ import annotations

from peers.random_models import models, random_model, windows

__all__ = ["models", "random_model", "windows"]
