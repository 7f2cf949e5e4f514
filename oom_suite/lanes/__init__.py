"""The lanes: each runs a call and yields its trace; none knows what the call is for."""
