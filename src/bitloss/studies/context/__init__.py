"""The study of context: loss by position, up to what the model reads at once."""
