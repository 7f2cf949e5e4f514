"""`@memory_law`: the memory law of anyone's tensor code, as a pytest test. No torch is imported.

The folder is not called ``memory_law``: importing it would then put a module where
``from oom_suite import memory_law`` has to find the decorator.
"""

from oom_suite.pipeline.law_tests.decorator import declaration_of, memory_law
from oom_suite.pipeline.law_tests.promise import Promise, promise
from oom_suite.pipeline.law_tests.sizes import Sizes

__all__ = ["Promise", "Sizes", "declaration_of", "memory_law", "promise"]
