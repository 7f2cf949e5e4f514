"""What there is to run: the units of every suite, and the cases of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.pipeline.conformance.cases import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oom_suite.pipeline.conformance.cases import Case, Cases


def cases_of(unit: Unit) -> Iterator[Case]:
    """The cases of a unit.

    Raises:
        TorchChangedError: this torch has no such database.
    """
    yield from _makers(unit.suite)[unit.name](unit)


def units_of(suite: str, device_type: str) -> list[Unit]:
    """The units of a suite, with the types that they take on a device of this process.

    Raises:
        TorchChangedError: this torch has no such database.
    """
    if suite == "operators":
        from oom_suite.pipeline.conformance.databases import operator_dtypes

        taken = operator_dtypes(device_type)
        return [Unit(suite, name, device_type, dtypes) for name, dtypes in taken.items()]
    return [Unit(suite, name, device_type) for name in _makers(suite)]


def _makers(suite: str) -> Mapping[str, Cases]:
    if suite == "operators":
        from oom_suite.pipeline.conformance.databases import OPERATORS

        return OPERATORS
    if suite == "modules":
        from oom_suite.pipeline.conformance.databases import MODULES

        return MODULES
    if suite == "scaled":
        from oom_suite.pipeline.conformance.scaled import SCALED

        return SCALED
    from oom_suite.pipeline.conformance.models import MODELS

    return MODELS
