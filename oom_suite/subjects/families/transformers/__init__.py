"""transformers: the file of its caches, loaded alone."""

from __future__ import annotations

from oom_suite.hookspecs import hookimpl
from oom_suite.subjects.families.package import PackageFamily

TRANSFORMERS = PackageFamily(
    name="transformers",
    title="transformers",
    archive="wheel",
    supplies={"transformers.utils": f"{__name__}.caches:utils"},
    absent=("hqq", "optimum"),
    unknown_modules="as released",
)


@hookimpl
def oom_subject_families() -> list[PackageFamily]:
    """The family of transformers."""
    return [TRANSFORMERS]
