"""Files that come to be together or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from p2ptun.daemon.new_files import NewFiles
from p2ptun.errors import ConfigError, P2ptunError, PrivilegeError


def everything(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.is_dir() else []


def test_they_have_their_names_when_they_are_kept(tmp_path: Path) -> None:
    files = NewFiles(tmp_path / "a" / "b")
    files.check("key", "toml")
    files.prepare("key", "secret\n")
    files.prepare("toml", "text ü\n")
    assert not {"key", "toml"} & set(everything(tmp_path / "a" / "b"))
    files.keep()
    assert everything(tmp_path / "a" / "b") == ["key", "toml"]
    assert files.paths == (tmp_path / "a/b/key", tmp_path / "a/b/toml")
    assert (tmp_path / "a/b/toml").read_text("utf-8") == "text ü\n"
    for path in files.paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_nlink == 1


@pytest.mark.parametrize("is_kept", [False, True])
def test_what_is_discarded_leaves_no_trace(tmp_path: Path, is_kept: bool) -> None:
    (tmp_path / "other").touch()
    for directory in (tmp_path, tmp_path / "new"):
        files = NewFiles(directory)
        files.prepare("key", "secret")
        if is_kept:
            files.keep()
        files.discard()
        files.discard()
        assert files.paths == ()
        assert everything(tmp_path) == ["other"]


def test_a_file_that_exists_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "toml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="exists already") as caught:
        NewFiles(tmp_path).check("key", "toml")
    assert caught.value.remedy.endswith(f"rm {tmp_path / 'toml'}")
    (tmp_path / "key").touch()
    with pytest.raises(ConfigError, match="exists already") as caught:
        NewFiles(tmp_path).check("key", "toml")
    assert caught.value.remedy.endswith(f"rm {tmp_path / 'key'} {tmp_path / 'toml'}"), "all at once"


def test_a_file_that_comes_in_between_stays_as_it_is_and_nothing_else_is_left(tmp_path: Path) -> None:
    files = NewFiles(tmp_path)
    files.check("key", "toml")
    files.prepare("key", "ours")
    files.prepare("toml", "ours")
    (tmp_path / "toml").write_text("theirs")
    with pytest.raises(P2ptunError, match="can't be written"):
        files.keep()
    assert everything(tmp_path) == ["toml"]
    assert (tmp_path / "toml").read_text() == "theirs"


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no directory"):
        NewFiles(tmp_path / "file").check("key")
    with pytest.raises(ConfigError, match="no directory"):
        NewFiles(tmp_path / "file" / "below").check("key")


def test_what_can_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PrivilegeError, match="can't be written") as caught:
        NewFiles(tmp_path).check("key")
    assert "--directory" in caught.value.remedy


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = NewFiles(tmp_path)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(P2ptunError, match="No space left on device"):
        files.prepare("key", "secret")
    files.discard()
    assert everything(tmp_path) == []
