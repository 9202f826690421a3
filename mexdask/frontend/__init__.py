"""Text to IR: parse, validate, lower."""
