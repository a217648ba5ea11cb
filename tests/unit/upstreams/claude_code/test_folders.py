"""Folders of children: closed to others, and gone with whoever made them."""

import fcntl
import os
from pathlib import Path

from proxy.upstreams.claude_code.folders import Folders


def test_a_child_has_folders_of_its_own_that_nobody_else_opens(tmp_path: Path) -> None:
    """Protects transcripts from other users of the machine, and children from each other."""
    folders = Folders(tmp_path / "children")
    one, other = folders.new(), folders.new()
    assert one.root != other.root
    for part in (one.root, one.home, one.configuration, one.temporary, one.work):
        assert part.stat().st_mode & 0o777 == 0o700
    one.remove()
    assert not one.root.exists()
    folders.close()
    assert list((tmp_path / "children").iterdir()) == []
    folders.close()


def test_what_a_dead_server_left_is_removed_and_a_live_ones_stays(tmp_path: Path) -> None:
    """Protects the disk from leftovers, and a second process of the same folder from the first."""
    base = tmp_path / "children"
    for name in ("dead", "alive"):
        (base / name).mkdir(parents=True)
        (base / name / "lock").touch()
    held = os.open(base / "alive" / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    folders = Folders(base)
    folder = folders.new()
    assert sorted(path.name for path in base.iterdir()) == sorted(["alive", folder.root.parent.name])
    folders.close()
    os.close(held)


def test_paths_below_it_are_as_short_as_it_says(tmp_path: Path) -> None:
    """Protects sockets, whose paths may have no more than 107 bytes."""
    folders = Folders(tmp_path / "children")
    assert len(os.fsencode(folders.new().temporary)) == folders.temporary_path_bytes
    folders.close()
