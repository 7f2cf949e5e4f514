"""The detectors, tried on planted faults and on healthy twins: what they catch and miss.

`oom_suite.selfcheck.run` runs it. What is exported here declares faults and twins of any workload
beside their functions.
"""

from oom_suite.selfcheck.faults.declare import declared_in, mutant, twin
from oom_suite.selfcheck.faults.record import LAW, Mutant, Promised, Subject, Twin

__all__ = ["LAW", "Mutant", "Promised", "Subject", "Twin", "declared_in", "mutant", "twin"]
