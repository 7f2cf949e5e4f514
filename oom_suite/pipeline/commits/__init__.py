"""Judging the commits of a repository: one at a time for `git bisect run`, or the whole search."""
