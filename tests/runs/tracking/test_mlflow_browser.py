"""MLflow's own pages in a real browser: arms by name, their curves, and the study's page among the artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import MISSING, WHY_MISSING
from tests.mlflow_pages import Visit, visiting

pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING, reason=WHY_MISSING)]


@pytest.fixture(scope="module")
def visit(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(smoke_study, tmp_path_factory.mktemp("mlflow")) as visit:
        yield visit


def test_the_runs_page_lists_the_arms_by_name(visit: Visit) -> None:
    visit.runs()


def test_the_charts_page_draws_a_curve_for_each_arm(visit: Visit) -> None:
    visit.charts("competence")


def test_the_compare_page_names_both_arms_and_draws_them(visit: Visit) -> None:
    visit.compare("exposure", "penalised")


def test_the_page_of_the_study_draws_its_figures_in_the_artifact_view_without_an_error(visit: Visit) -> None:
    visit.artifact()
