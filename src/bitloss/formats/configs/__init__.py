"""Configs of transformers: parsed by their class, and compared by what they compute."""
