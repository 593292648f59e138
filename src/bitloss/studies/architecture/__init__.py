"""The study of architectures: several models under the same recipes."""
