"""Facts of image folders: what is known, what is remembered, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pdd_ray.core.errors import DataError, StoreError
from pdd_ray.data import images
from pdd_ray.data.facts import read_facts, step_config, validation_counts
from pdd_ray.data.spec import DataSpec

Make = Callable[..., Path]


def folder_spec(root: Path, **options: object) -> DataSpec:
    return DataSpec(source="image_folder", root=root, **options)


def test_facts_of_a_folder_are_its_sorted_classes_counts_and_shape(
    make_folder: Make, cache: Path
) -> None:
    root = make_folder({"bee": 3, "ant": 5})
    facts = read_facts(folder_spec(root), cache)
    assert facts.classes == ("ant", "bee")
    assert facts.train_counts == (5, 3)
    assert facts.test_counts == (2, 2)
    assert facts.shape == (3, 6, 8)


def test_validation_counts_follow_the_training_counts(make_folder: Make, cache: Path) -> None:
    facts = read_facts(folder_spec(make_folder({"ant": 10, "bee": 3})), cache)
    assert validation_counts(facts, 0.2) == (2, 1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".PNG"])
def test_suffixes_are_read_in_any_case(make_folder: Make, cache: Path, suffix: str) -> None:
    assert read_facts(folder_spec(make_folder(suffix=suffix)), cache).train_counts == (5, 3)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"channels": "gray"}, (1, 6, 8)),
        ({"pool": 2}, (3, 3, 4)),
        ({"resize": [4, 10]}, (3, 4, 10)),
        ({"resize": [4, 10], "pool": 2, "channels": "gray"}, (1, 2, 5)),
    ],
)
def test_the_shape_is_that_after_preparation(
    make_folder: Make, cache: Path, options: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    assert read_facts(folder_spec(make_folder(), **options), cache).shape == shape


def test_gray_images_have_one_channel_unless_rgb_is_asked_for(
    make_folder: Make, cache: Path
) -> None:
    root = make_folder(mode="L")
    assert read_facts(folder_spec(root), cache).shape == (1, 6, 8)
    assert read_facts(folder_spec(root, channels="rgb"), cache).shape == (3, 6, 8)


def test_the_fingerprint_is_that_of_the_content_and_not_of_its_place(
    make_folder: Make, cache: Path, tmp_path: Path
) -> None:
    root = make_folder()
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    assert (
        read_facts(folder_spec(root), cache).fingerprint
        == read_facts(folder_spec(copy), cache).fingerprint
    )


def test_any_change_of_a_file_or_name_changes_the_fingerprint(
    make_folder: Make, make_image: Make, cache: Path
) -> None:
    root = make_folder()
    found = [read_facts(folder_spec(root), cache).fingerprint]
    make_image(root / "test" / "ant" / "000.png", seed=77)
    found.append(read_facts(folder_spec(root), cache).fingerprint)
    (root / "train" / "ant" / "000.png").rename(root / "train" / "ant" / "zzz.png")
    found.append(read_facts(folder_spec(root), cache).fingerprint)
    assert len(set(found)) == 3


def test_a_file_replaced_with_the_same_size_and_modification_time_is_noticed(
    make_folder: Make, cache: Path
) -> None:
    root = make_folder()
    path = root / "train" / "ant" / "000.png"
    before = read_facts(folder_spec(root), cache).fingerprint
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # in the checksum of the last chunk: the header stays readable
    time.sleep(0.02)  # more than the resolution of change times
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read_facts(folder_spec(root), cache).fingerprint != before


def test_a_second_call_reads_no_image(
    make_folder: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = folder_spec(make_folder())
    first = read_facts(spec, cache)

    def fail(_listing: object) -> None:
        pytest.fail("images were read again")

    monkeypatch.setattr(images, "examine_images", fail)
    assert read_facts(spec, cache) == first


def test_a_damaged_cache_entry_is_made_again(make_folder: Make, cache: Path) -> None:
    spec = folder_spec(make_folder())
    first = read_facts(spec, cache)
    for damage in ("{", "[]", '{"fingerprint": 1}'):
        for entry in (cache / "contents").iterdir():
            entry.write_text(damage)
        assert read_facts(spec, cache) == first


def test_the_place_is_remembered_beside_the_facts_and_not_in_the_step(
    make_folder: Make, cache: Path
) -> None:
    spec = folder_spec(make_folder())
    facts = read_facts(spec, cache)
    location = json.loads((cache / f"{facts.fingerprint}.json").read_text())
    assert location == {"root": str(spec.root), "download": False}
    config = json.dumps(step_config(spec, facts))
    assert str(spec.root) not in config
    assert "download" not in config


def test_facts_need_neither_torch_nor_numpy_for_digits() -> None:
    code = (
        "import sys, pathlib, tempfile; from pdd_ray.data.facts import read_facts; "
        "from pdd_ray.data.spec import DataSpec; "
        "read_facts(DataSpec(), pathlib.Path(tempfile.mkdtemp())); "
        "print([m for m in ('torch', 'ray', 'numpy', 'PIL', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what is refused ---------------------------------------------------------------------------


def error_of(spec: DataSpec, cache: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_facts(spec, cache)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_root_is_named(tmp_path: Path, cache: Path) -> None:
    text = error_of(folder_spec(tmp_path / "nowhere"), cache)
    assert f"{tmp_path / 'nowhere'} does not exist" in text
    assert "train/CLASS" in text


def test_a_file_as_root_is_named(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "images.tar"
    path.touch()
    assert f"{path} is a file, not a folder" in error_of(folder_spec(path), cache)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(make_folder: Make, cache: Path, split: str) -> None:
    root = make_folder()
    shutil.rmtree(root / split)
    text = error_of(folder_spec(root), cache)
    assert f"no folder '{split}'" in text


def test_a_class_missing_from_test_or_train_is_named(make_folder: Make, cache: Path) -> None:
    root = make_folder({"ant": 3, "bee": 3, "cat": 3})
    shutil.rmtree(root / "test" / "bee")
    assert "class 'bee' is in" in error_of(folder_spec(root), cache)
    shutil.rmtree(root / "train" / "bee")
    shutil.rmtree(root / "train" / "cat")
    assert "remove test/cat" in error_of(folder_spec(root), cache)


def test_no_classes_and_empty_classes_are_named(make_folder: Make, cache: Path) -> None:
    root = make_folder()
    for path in (root / "train" / "bee").iterdir():
        path.unlink()
    assert f"{root / 'train' / 'bee'} has no .png" in error_of(folder_spec(root), cache)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            shutil.rmtree(root / split / name)
    assert "has no class folders" in error_of(folder_spec(root), cache)


def test_a_class_with_one_training_image_is_named(make_folder: Make, cache: Path) -> None:
    text = error_of(folder_spec(make_folder({"ant": 3, "bee": 1})), cache)
    assert "class 'bee'" in text
    assert "at least 2" in text


def test_mixed_sizes_name_two_files_with_their_sizes(
    make_folder: Make, make_image: Make, cache: Path
) -> None:
    root = make_folder()
    make_image(root / "test" / "ant" / "odd.png", 5, 4)
    text = error_of(folder_spec(root), cache)
    assert "train/ant/000.png is 6x8, test/ant/odd.png is 5x4" in text
    assert "data.resize" in text
    assert read_facts(folder_spec(root, resize=(4, 4)), cache).shape == (3, 4, 4)


def test_mixed_channels_name_two_files_with_their_channels(
    make_folder: Make, make_image: Make, cache: Path
) -> None:
    root = make_folder()
    make_image(root / "train" / "ant" / "gray.png", mode="L")
    text = error_of(folder_spec(root), cache)
    assert "train/ant/000.png has 3, train/ant/gray.png has 1" in text
    assert "data.channels to rgb or gray" in text
    assert read_facts(folder_spec(root, channels="rgb"), cache).shape == (3, 6, 8)


def test_alpha_is_dropped_only_when_asked(make_folder: Make, cache: Path) -> None:
    root = make_folder(mode="RGBA")
    assert "000.png of" in error_of(folder_spec(root), cache)
    assert read_facts(folder_spec(root, channels="rgb"), cache).shape == (3, 6, 8)


def test_more_than_8_bits_are_refused(make_folder: Make, cache: Path) -> None:
    root = make_folder()
    path = root / "train" / "ant" / "deep.png"
    Image.fromarray(np.full((6, 8), 60000, dtype=np.uint16)).save(path)
    text = error_of(folder_spec(root, channels="rgb"), cache)
    assert f"{path} has pixels of mode" in text


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_named(make_folder: Make, cache: Path, content: bytes) -> None:
    root = make_folder()
    path = root / "train" / "bee" / "001.png"
    path.write_bytes(content)
    assert f"{path} is not a readable PNG or JPEG" in error_of(folder_spec(root), cache)


def test_a_broken_link_is_named(make_folder: Make, cache: Path) -> None:
    root = make_folder()
    (root / "train" / "bee" / "link.png").symlink_to(root / "gone.png")
    assert "link.png can't be read (No such file" in error_of(folder_spec(root), cache)


def test_images_of_other_kinds_are_refused_instead_of_left_out(
    make_folder: Make, cache: Path
) -> None:
    root = make_folder()
    (root / "train" / "bee" / "x.webp").write_bytes(b"")
    assert "x.webp is neither PNG nor JPEG" in error_of(folder_spec(root), cache)


def test_hidden_files_and_notes_are_left_out(make_folder: Make, cache: Path) -> None:
    root = make_folder()
    before = read_facts(folder_spec(root), cache)
    (root / "train" / ".cache").mkdir()
    (root / "train" / "bee" / ".hidden.png").touch()
    (root / "train" / "bee" / "README.txt").touch()
    assert read_facts(folder_spec(root), cache) == before


def test_pool_must_divide_the_size(make_folder: Make, cache: Path) -> None:
    text = error_of(folder_spec(make_folder(), pool=4), cache)
    assert "6x8 images can't be pooled by data.pool = 4" in text


def test_a_cache_that_cannot_be_written_is_named(make_folder: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()
    with pytest.raises(StoreError, match=r"blocked.* can't be written"):
        read_facts(folder_spec(make_folder()), blocked / "facts")
