"""Whether a law is nowhere above a number of bytes over a box of sizes: a proof or a witness."""

from oom_suite.laws.covering.pieces import Known, Piece, piece_of
from oom_suite.laws.covering.search import Search, covering

__all__ = ["Known", "Piece", "Search", "covering", "piece_of"]
