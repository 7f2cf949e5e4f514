"""The lanes: run a call and record every allocation."""
