"""The tables of a report, as plain text cells that any page or terminal can show."""
