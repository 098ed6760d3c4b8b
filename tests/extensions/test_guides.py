"""The code of the guides in docs/extending is code that is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pdd_ray.configuration.load import sweep_from
from pdd_ray.core.steps import run_serially
from pdd_ray.core.store import Store
from pdd_ray.data.facts import read_facts
from pdd_ray.planning.stage_steps import StagePlanner
from tests.extensions.conftest import PACKAGE
from tests.extensions.diversity import DIVERSITY_FILE
from tests.extensions.diversity_planning import diversity

HERE = Path(__file__).parent
GUIDES = Path(__file__).parents[2] / "docs/extending"
FILES = {
    "pyproject.toml": PACKAGE / "pyproject.toml",
    "pdd_example/class_means.py": PACKAGE / "pdd_example/class_means.py",
    "test_class_means.py": PACKAGE / "test_class_means.py",
    "pdd_example/wide_mlp.py": PACKAGE / "pdd_example/wide_mlp.py",
    "pdd_example/stripes.py": PACKAGE / "pdd_example/stripes.py",
    "pdd_ray/training/diversity.py": HERE / "diversity.py",
    "diversity_planning.py": HERE / "diversity_planning.py",
}
"""What a guide shows, and where it is run from."""


def shown_blocks() -> dict[str, str]:
    """Return the code that the guides show, by the name that stands before it."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(GUIDES.glob("*.md"))]
    pattern = r"^`([\w./]+)`:\n\n```(?:python|toml)\n(.*?)\n```$"
    return dict(re.findall(pattern, "\n".join(texts), flags=re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", FILES)
def test_a_guide_shows_the_code_that_is_run(name):
    assert shown_blocks()[name] == FILES[name].read_text(encoding="utf-8").rstrip()


def test_all_code_of_the_guides_is_run():
    assert shown_blocks().keys() == FILES.keys()
    texts = [path.read_text(encoding="utf-8") for path in GUIDES.glob("*.md")]
    assert sum(text.count("```python") + text.count("```toml") for text in texts) == len(FILES)


def test_a_kind_of_step_is_planned_and_made(tmp_path):
    sweep = sweep_from(
        {"name": "measured", "method": "random", "stages": {"count": 1, "images_per_class": 2}}
    )
    store = Store(tmp_path / "store").open()
    (experiment,) = sweep.experiments
    facts = read_facts(sweep.spec.data, store.facts)
    step = diversity(StagePlanner(experiment, facts, sweep.spec.resources), 1)
    assert step.key.startswith("diversity-")
    assert (step.label, step.runs_as) == ("base/seed0/diversity1", "task")
    run_serially([step], store)
    result = json.loads((store.folder(step.key) / DIVERSITY_FILE).read_text())
    assert list(result) == sorted(facts.classes)
    assert all(distance > 0 for distance in result.values())
