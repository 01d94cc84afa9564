"""The types of session.proto that are checked in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from undoubt.session import session_pb2


def test_they_are_current(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "stubs.sh"
    subprocess.run([str(script), str(tmp_path)], check=True, env={**os.environ, "PYTHON": sys.executable})
    kept = Path(session_pb2.__file__).parent
    for name in ("session_pb2.py", "session_pb2.pyi"):
        assert (tmp_path / name).read_text() == (kept / name).read_text(), f"run {script} and commit what it makes"
