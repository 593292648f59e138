"""Paired analysis of stored records: intervals, verdicts, what lost most, and the answer."""
