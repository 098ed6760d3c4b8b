"""Facts about ray_cluster.yaml that can be checked without a cloud."""

from __future__ import annotations

import copy
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError

ROOT = Path(__file__).parents[1]
FILE = ROOT / "ray_cluster.yaml"
MAX_LINES = 80


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """Return the file as the cluster launcher reads it."""
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def validate(cluster: dict[str, Any]) -> None:
    """Check ``cluster`` as `ray up` does before it asks the cloud for anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Ray announces its own changes
        from ray.autoscaler._private.util import prepare_config, validate_config
    validate_config(prepare_config(copy.deepcopy(cluster)))


def commands(cluster: dict[str, Any], *kinds: str) -> str:
    return "\n".join(command for kind in kinds for command in cluster[kind])


def test_the_launcher_accepts_it(cluster: dict[str, Any]):
    validate(cluster)


def test_the_launcher_would_refuse_a_misspelt_key(cluster: dict[str, Any]):
    with pytest.raises(ValidationError, match="initial_workers"):
        validate(cluster | {"initial_workers": 1})


def test_no_step_runs_on_the_head(cluster: dict[str, Any]):
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    start = commands(cluster, "head_start_ray_commands")
    assert "--num-cpus=0 --num-gpus=0" in start


def test_head_workers_and_drivers_authenticate_with_the_same_token(cluster: dict[str, Any]):
    token = "~/.ray/auth_token"
    assert cluster["file_mounts"][token] == token
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "RAY_AUTH_MODE=token ~/venv/bin/ray start" in commands(cluster, kind)
    assert "export RAY_AUTH_MODE=token" in commands(cluster, "setup_commands")


def test_local_files_it_mounts_exist(cluster: dict[str, Any]):
    mounted = [path for path in cluster["file_mounts"].values() if not path.startswith("~")]
    assert mounted == ["."]
    assert all((ROOT / path).exists() for path in mounted)


def test_files_its_commands_read_from_the_repository_exist(cluster: dict[str, Any]):
    text = commands(cluster, "initialization_commands", "setup_commands")
    paths = re.findall(r"~/pdd-ray/([\w./-]+)", text)
    assert paths == ["constraints.txt"]
    assert all((ROOT / path).is_file() for path in paths)


def test_it_can_be_read_at_a_glance():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
