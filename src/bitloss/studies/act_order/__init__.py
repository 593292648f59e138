"""The study of act-order: what reordering columns gains, and the time that it costs."""
