"""Kinds of subjects: how each is spelled, fetched and loaded."""
