"""The file that `plproxy stubs` writes, and the comparison with one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.fix_cli import Run
from tests.fix_server import Pg


def test_check(cli: Run, pg: Pg, tmp_path: Path) -> None:
    home = pg.connstr("stubs_check")
    path = tmp_path / "made.py"
    command = ["--home", home, "stubs", "--schema", "public", "--output", str(path)]
    assert "is not there yet" in cli(*command, "--check", code=1).stderr
    assert not path.exists()
    cli(*command)
    cli(*command, "--check")
    written = path.read_bytes()
    pg.execute("stubs_check", "CREATE FUNCTION f() RETURNS int RETURN 1")
    cli(*command, "--check")
    pg.execute("stubs_check", "COMMENT ON FUNCTION f IS 'plproxy: CLUSTER ''c'';'")
    assert "is not what the functions are" in cli(*command, "--check", code=1).stderr
    assert path.read_bytes() == written
    assert "--check goes with --output" in cli(*command[:3], "--check", code=2).stderr
    cli("--home", home, "stubs", "--output", str(tmp_path), "--check", code=2)


def test_a_file_is_replaced_as_a_whole(cli: Run, tmp_path: Path, pg: Pg) -> None:
    target = tmp_path / "there" / "made.py"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link.py"
    link.symlink_to(target)
    command = ["--home", pg.connstr("stubs_check"), "stubs", "--output"]
    before = target.open()
    cli(*command, str(link))
    with before:
        assert before.read() == "old"
    assert link.is_symlink()
    assert target.read_text().startswith('"""')
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["made.py"]
    new = tmp_path / "new.py"
    cli(*command, str(new))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~umask
    nowhere = tmp_path / "nowhere" / "made.py"
    assert (
        "can't be written: No such file" in cli(*command, str(nowhere), code=1).stderr
    )


def test_a_file_that_cannot_be_read(cli: Run, tmp_path: Path, pg: Pg) -> None:
    beyond = tmp_path / "file" / "made.py"
    beyond.parent.write_text("")
    command = ["--home", pg.connstr("stubs_check"), "stubs", "--check", "--output"]
    assert "can't be read: Not a directory" in cli(*command, str(beyond), code=1).stderr
