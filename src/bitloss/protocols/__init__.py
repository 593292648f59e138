"""Perplexity protocols: exact ways to cut a corpus into scored windows."""
