"""DisWOT: find a student for a teacher without training, by how alike they are at initialisation.

Two similarities to the teacher, of classes and of samples, on one batch under random weights make a score; evolution
searches the space on it. The student that it finds is trained, and random students beside it.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies import Evolution, Mutate
from mimar.tasks import Task

PAPER = Paper(
    "Dong, Peijie and Li, Lujun and Wei, Zimian",
    2023,
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    "DisWOT: Student Architecture Search for Distillation WithOut Training",
    "https://arxiv.org/abs/2303.15678",
)
DIFFERS = (
    "the student is trained from scratch without distillation, like every network of mimar",
    "gradients of the classifier are correlated between classes (there between channels), so that widths may differ",
    "the teacher is the largest network of the space (from Python any: Untrained(TeacherSimilarity(teacher=module)))",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    population: Count = 30,
    sample: Count = 10,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="diswot",
        strategy=Evolution(population=population, sample=sample, death="oldest", variation=Mutate()),
        retrain=retrain,
        queries=queries,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        trials=trials.by("proxy:diswot:batch=64"),
    )
