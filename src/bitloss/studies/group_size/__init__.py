"""The study of group size: which one pays."""
