"""What a method can't do is refused where the file says it."""

from pathlib import Path

import pytest

from pdd_ray.configuration.load import load_sweep
from pdd_ray.core.errors import ConfigError
from tests.planning.builders import FACTS, plan_of

RESNET = "model: {name: resnet}"
BATCH_NORM = "model: {norm: batch}"
TWO_STAGES = "stages: {count: 2, images_per_class: 1}"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a sweep to sweep.yaml in the current folder, and load it."""
    monkeypatch.chdir(tmp_path)

    def of(*lines: str):
        Path("sweep.yaml").write_text("\n".join(["name: demo", *lines, ""]), encoding="utf-8")
        return load_sweep("sweep.yaml")

    return of


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        *(
            ([f"method: {{name: {name}}}", TWO_STAGES],
             f"sweep.yaml:3:1: stages: method '{name}' selects real images in a single stage; "
             "there are 2")
            for name in ("random", "herding", "k_center", "forgetting")
        ),
        *(
            ([f"method: {{name: {name}, conditioning: false, update_previous: {{}}}}"],
             "sweep.yaml:2:{}: method.update_previous: earlier images are updated together with "
             "the new ones: not without conditioning")
            for name in ("mtt", "dm", "idc")
        ),
        *(
            ([f"method: {{name: {name}}}", RESNET],
             f"sweep.yaml:3:1: model: method '{name}' matches outputs of the blocks of a ConvNet; "
             "this is another")
            for name in ("cafe", "cafe_dsa")
        ),
        *(
            ([f"method: {{name: {name}, match: features}}", RESNET],
             f"sweep.yaml:3:1: model: method '{name}' matches outputs of the blocks of a ConvNet; "
             "this is another")
            for name in ("idc", "dream")
        ),
        (["method: {name: dc}", BATCH_NORM, "resources: {class_shards: 2}"],
         "sweep.yaml:4:13: resources.class_shards: norm 'batch' ties the classes together: no 2 "
         "class_shards"),
        (["method: {name: dream, real_batch_size: 10, per_cluster: 4}"],
         "sweep.yaml:2:1: method: real_batch_size 10 is no multiple of per_cluster 4"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_with_its_position(load, lines, problem):
    column = lines[0].find("update_previous") + 1
    with pytest.raises(ConfigError) as caught:
        load(*lines)
    assert str(caught.value).splitlines() == [problem.format(column)]


@pytest.mark.parametrize(
    "lines",
    [
        ["method: {name: herding}"],
        ["method: {name: dm, conditioning: false}", TWO_STAGES],
        ["method: {name: dm, update_previous: {}}", TWO_STAGES],
        ["method: {name: idc}", RESNET],
        ["method: {name: cafe}"],
        ["method: {name: dc}", "resources: {class_shards: 2}"],
        ["method: {name: dc}", BATCH_NORM],
    ],
)
def test_what_a_method_can_do_is_accepted(load, lines):
    assert load(*lines).name == "demo"


def test_a_grid_that_reaches_what_can_t_be_done_is_refused(load):
    with pytest.raises(ConfigError, match=r"^sweep\.yaml:3:\d+: .*single stage; there are 2"):
        load("method: {name: random}", "grid: {stages: [{count: 2, images_per_class: 1}]}")


def dream(size, **changes):
    method = {"name": "dream", "real_batch_size": size, "initialisation": "noise", **changes}
    return {"method": method, "stages": [{"images_per_class": 1}]}


def test_more_clusters_than_images_are_refused_once_the_data_are_known():
    # bee: 20 train images, of which validation takes 2
    assert FACTS.train_counts[1] == 20
    plan_of(**dream(18))
    with pytest.raises(
        ConfigError,
        match=r"makes 19 clusters of every class, class 'bee' has 18 .*lower method\.real_batch",
    ):
        plan_of(**dream(19))


def test_fewer_clusters_than_images_of_a_batch_are_enough():
    plan_of(**dream(36, per_cluster=2))
    with pytest.raises(ConfigError, match="makes 19 clusters"):
        plan_of(**dream(38, per_cluster=2))
