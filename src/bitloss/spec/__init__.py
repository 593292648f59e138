"""What the user asks for: names parsed and validated, nothing opened yet."""
