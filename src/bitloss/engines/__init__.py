"""Engines run models."""
