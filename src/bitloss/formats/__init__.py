"""Model files of every format, opened as dense weights."""
