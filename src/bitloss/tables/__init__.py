"""Results as plain tables, for terminals, Markdown and notebooks."""
