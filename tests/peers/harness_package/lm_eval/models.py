"""The harness registers its own models when this is imported."""
