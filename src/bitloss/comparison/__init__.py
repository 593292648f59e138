"""Paired analysis of stored records."""
