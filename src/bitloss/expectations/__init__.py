"""What formats lose as a rule, and how much loss is acceptable: data that a user may override."""
