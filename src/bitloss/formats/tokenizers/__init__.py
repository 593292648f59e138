"""Tokenizers of models, and whether two of them mean the same."""
