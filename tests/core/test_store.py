"""The store: what is committed stays, what is damaged is noticed."""

import json
import os

import pytest

from pdd_ray.core.errors import DamagedArtifactError, StoreError
from pdd_ray.core.store import Store

KEY = "expert-0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store").open()


def commit(store, key=KEY, content="content"):
    folder = store.begin(key)
    (folder / "part").mkdir()
    (folder / "part" / "file.txt").write_text(content)
    store.commit(key, folder, {"seconds": 1.0})


def test_an_artifact_exists_once_it_is_committed(store):
    assert not store.exists(KEY)
    commit(store)
    assert store.exists(KEY)
    assert (store.folder(KEY) / "part" / "file.txt").read_text() == "content"
    assert store.manifest(KEY)["seconds"] == 1.0
    store.verify(KEY)
    assert not list((store.root / "tmp").iterdir())


def test_the_first_commit_stays(store):
    commit(store)
    commit(store, content="other")
    assert (store.folder(KEY) / "part" / "file.txt").read_text() == "content"
    assert not list((store.root / "tmp").iterdir())


def test_discarded_work_leaves_nothing(store):
    store.discard(store.begin(KEY))
    assert not store.exists(KEY)
    assert not list((store.root / "tmp").iterdir())


@pytest.mark.parametrize("quick", [True, False])
def test_changed_content_is_noticed(store, quick):
    commit(store)
    (store.folder(KEY) / "part" / "file.txt").write_text("CONTENT")
    with pytest.raises(DamagedArtifactError, match="committed content"):
        store.verify(KEY, quick=quick)


def test_a_full_check_does_not_trust_modification_times(store):
    commit(store)
    path = store.folder(KEY) / "part" / "file.txt"
    times = path.stat()
    path.write_text("CONTENT")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DamagedArtifactError, match="committed content"):
        store.verify(KEY)


def test_a_missing_or_shortened_file_is_noticed(store):
    commit(store)
    path = store.folder(KEY) / "part" / "file.txt"
    path.write_text("short")
    with pytest.raises(DamagedArtifactError, match="5 bytes instead of 7"):
        store.verify(KEY, quick=True)
    path.unlink()
    with pytest.raises(DamagedArtifactError, match="missing"):
        store.verify(KEY, quick=True)


def test_a_damaged_artifact_is_set_aside_and_not_deleted(store):
    commit(store)
    where = store.set_aside(KEY)
    assert not store.exists(KEY)
    assert (where / "part" / "file.txt").exists()


def test_a_commit_clears_progress_and_failure(store):
    (store.partial(KEY) / "state").write_text("half")
    assert store.record_failure(KEY, "no").attempts == 1
    assert store.record_failure(KEY, "no").attempts == 2
    commit(store)
    assert store.failure(KEY) is None
    assert not (store.root / "partial" / KEY).exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StoreError, match="--store or PDD_RAY_STORE"):
        Store(blocker / "store").open()


def test_another_format_is_refused(store):
    (store.root / "store.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        store.open()


def test_an_artifact_can_be_set_aside_twice_at_once(store):
    commit(store)
    first = store.set_aside(KEY)
    commit(store, content="other")
    second = store.set_aside(KEY)
    assert first != second
    assert (first / "part" / "file.txt").read_text() == "content"
    assert (second / "part" / "file.txt").read_text() == "other"


def test_setting_aside_what_is_not_there_is_nothing(store):
    store.set_aside(KEY)
    assert not store.exists(KEY)
