"""Child processes: code under test runs there, so that whatever happens is an answer."""
