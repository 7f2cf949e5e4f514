"""Conformance: torch's own operators and modules, predicted and held against a device."""
