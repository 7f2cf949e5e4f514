"""A scan of releases: units are made, each is run by itself, and gives a row of the table."""
