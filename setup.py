"""Maps the folders at the top of the repository into one import package, `kerf`; all else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("lab", "generators", "agents", "runs")

setup(
    packages=[
        f"kerf.{name}" for name in find_packages(include=[pattern for top in FOLDERS for pattern in (top, f"{top}.*")])
    ],
    package_dir={f"kerf.{top}": top for top in FOLDERS},
    package_data={"kerf.runs": ["submit/templates/*", "submit/*.json", "recipe/builtin/*.yaml", "revision.txt"]},
)
