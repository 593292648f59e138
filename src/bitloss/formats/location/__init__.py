"""Where models come from: what the user wrote, the hub, and bundled models."""
