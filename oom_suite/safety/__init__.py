"""Memory safety of a step beyond its peak: reach, indices, addresses, capture, creep, precision."""
