"""The records by which the rooms speak to each other: files with a schema, so that no room imports another for them.

What belongs here: what a published extract, a run, a verdict or a release says about itself. What does not: making,
judging or storing any of it. A module a subject; all are imported from here.
"""

from ds_pipelines.evidence.base import Record as Record
from ds_pipelines.evidence.extracts import Column as Column
from ds_pipelines.evidence.extracts import ResidualRisk as ResidualRisk
from ds_pipelines.evidence.extracts import SnapshotManifest as SnapshotManifest
from ds_pipelines.evidence.extracts import SpellingRecall as SpellingRecall
from ds_pipelines.evidence.extracts import Withheld as Withheld
from ds_pipelines.evidence.releases import Acceptance as Acceptance
from ds_pipelines.evidence.releases import ColumnProfile as ColumnProfile
from ds_pipelines.evidence.releases import Drift as Drift
from ds_pipelines.evidence.releases import GateResult as GateResult
from ds_pipelines.evidence.releases import Profile as Profile
from ds_pipelines.evidence.reproductions import Cause as Cause
from ds_pipelines.evidence.reproductions import CauseKind as CauseKind
from ds_pipelines.evidence.reproductions import Closing as Closing
from ds_pipelines.evidence.reproductions import Likeness as Likeness
from ds_pipelines.evidence.reproductions import OutputComparison as OutputComparison
from ds_pipelines.evidence.reproductions import Part as Part
from ds_pipelines.evidence.reproductions import Reproduction as Reproduction
from ds_pipelines.evidence.reproductions import ReproductionAnswer as ReproductionAnswer
from ds_pipelines.evidence.reviews import Assumption as Assumption
from ds_pipelines.evidence.reviews import Review as Review
from ds_pipelines.evidence.runs import DUMMY as DUMMY
from ds_pipelines.evidence.runs import Code as Code
from ds_pipelines.evidence.runs import Feature as Feature
from ds_pipelines.evidence.runs import Limits as Limits
from ds_pipelines.evidence.runs import ModelCard as ModelCard
from ds_pipelines.evidence.runs import ModelFile as ModelFile
from ds_pipelines.evidence.runs import Output as Output
from ds_pipelines.evidence.runs import RunEnvironment as RunEnvironment
from ds_pipelines.evidence.runs import RunInput as RunInput
from ds_pipelines.evidence.runs import RunRecord as RunRecord
from ds_pipelines.evidence.verdicts import Answer as Answer
from ds_pipelines.evidence.verdicts import CalibrationBin as CalibrationBin
from ds_pipelines.evidence.verdicts import Check as Check
from ds_pipelines.evidence.verdicts import ClassResult as ClassResult
from ds_pipelines.evidence.verdicts import DummyBaseline as DummyBaseline
from ds_pipelines.evidence.verdicts import FamilyResult as FamilyResult
from ds_pipelines.evidence.verdicts import LearningPoint as LearningPoint
from ds_pipelines.evidence.verdicts import SimpleBaseline as SimpleBaseline
from ds_pipelines.evidence.verdicts import Standing as Standing
from ds_pipelines.evidence.verdicts import Subgroup as Subgroup
from ds_pipelines.evidence.verdicts import Task as Task
from ds_pipelines.evidence.verdicts import Verdict as Verdict
from ds_pipelines.evidence.watched import Disagreement as Disagreement
from ds_pipelines.evidence.watched import Performance as Performance
from ds_pipelines.evidence.watched import Segment as Segment
