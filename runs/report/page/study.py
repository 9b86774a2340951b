"""Study as the sections of its page see it: manifest, report, measures and conclusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerf.runs.report.conclusion import Conclusion
from kerf.runs.report.effects import Ends
from kerf.runs.report.matched import Courses
from kerf.runs.report.page.figure import Looks
from kerf.runs.report.table import Report


@dataclass(frozen=True)
class Study:
    """What the sections of a study are made from.

    Attributes:
        manifest: Its `study.json`.
        report: Its report.
        courses: Its measures over training.
        conclusion: Its conclusion.
    """

    manifest: Mapping[str, Any]
    report: Report
    courses: Courses
    conclusion: Conclusion

    @property
    def arms(self) -> list[str]:
        return list(self.manifest["arm_order"])

    @property
    def ends(self) -> Ends:
        return self.courses.ends

    @property
    def looks(self) -> Looks:
        """Arms without a penalty that train on the same reward as the control are controls, too."""
        settings, control = self.manifest["arms"], self.manifest["control"]
        usual = None if control is None else settings[control].get("design")
        alike = (arm for arm in self.arms if settings[arm].get("design") == usual or not settings[arm]["train"])
        return Looks(self.arms, frozenset(arm for arm in alike if not settings[arm]["penalty"]))
