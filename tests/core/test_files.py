"""Files are replaced as a whole, and stores keep what they set aside."""

import pytest

from pdd_ray.core.files import write_atomically, write_json, write_text


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def write(temporary):
        temporary.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_text_is_utf8(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_text(path, "\N{GREEK SMALL LETTER ALPHA}")
    assert path.read_bytes() == b"\xce\xb1"


def test_json_has_one_text(tmp_path):
    write_json(tmp_path / "one", {"b": 1, "a": [2.5, None]})
    write_json(tmp_path / "two", {"a": [2.5, None], "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
