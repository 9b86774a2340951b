"""Maps the folders at the top of the repository into one import package, `kerf`; all else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("lab", "generators", "agents", "runs")

setup(
    packages=[f"kerf.{name}" for top in FOLDERS for name in find_packages(include=[top, f"{top}.*"])],
    package_dir={f"kerf.{top}": top for top in FOLDERS},
    package_data={
        **{f"kerf.{top}": ["py.typed"] for top in FOLDERS},
        "kerf.runs": ["py.typed", "revision.txt"],
        "kerf.runs.recipe": ["builtin/*.yaml", "collections/*.yaml"],
        "kerf.runs.report.page": ["templates/*"],
        "kerf.runs.new": ["templates/*.j2", "templates/*/*.j2"],
        "kerf.runs.submit": ["templates/*", "*.json"],
    },
)
