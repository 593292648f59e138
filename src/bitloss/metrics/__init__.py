"""Pure numpy: from per-token numbers to statistics."""
