"""The safety check: which detectors run where, and what their answers come to."""
