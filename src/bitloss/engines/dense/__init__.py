"""The dense engine: every format decoded into one module graph."""
