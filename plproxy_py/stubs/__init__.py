"""Declared functions → the text of a typed Python module."""
