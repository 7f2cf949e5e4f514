"""Subjects: the code under test, built in or from elsewhere."""
