"""Text and data, from local files or a hub."""
