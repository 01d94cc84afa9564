"""The README runs as it stands: its files are written, checked by mypy and run, its commands are given to a shell. Only ports are replaced."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from undoubt import Client

from processes import Coordinator, free_port, program

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
CACHE = README.with_name(".mypy_cache")
PORTS = ("7480", "9001", "9002")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Returns a folder with the README's files."""
    for language, text in BLOCKS:
        if language == "python":
            name = text.split("\n", 1)[0].removeprefix("# ")
            assert name.endswith(".py"), f"this block has no name: {text}"
            (tmp_path / name).write_text(text)
    return tmp_path


def replaced(text: str, ports: dict[str, int]) -> str:
    for port, other in ports.items():
        text = text.replace(f":{port}", f":{other}").replace(f"--port {port}", f"--port {other}")
    return text


@pytest.fixture
def ports(page: Path) -> dict[str, int]:
    ports = {port: free_port() for port in PORTS}
    for path in page.glob("*.py"):
        path.write_text(replaced(path.read_text(), ports))
    return ports


def test_its_files_have_types(page: Path) -> None:
    files = [str(path) for path in page.glob("*.py")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(CACHE), *files],
        cwd=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
def printed(page: Path, ports: dict[str, int]) -> str:
    """Runs the commands of the first page. Hands back what they print."""
    commands = [text for language, text in BLOCKS if language == "console"]
    assert "pip install" in commands[0]
    lines = [line.removeprefix("$ ") for text in commands[1:] for line in text.splitlines()]
    # Each command is given once the services that it needs are up, as a person does who reads on meanwhile.
    up = " ".join(f"http://127.0.0.1:{port}" for port in ports.values())
    wait = f"for at in {up}; do for i in $(seq 100); do curl -s -o /dev/null $at && break; sleep 0.1; done; done; sleep 0.5"
    lines.insert(next(at for at, line in enumerate(lines) if line == "serve") + 1, wait)
    script = replaced("\n".join(lines), ports)
    # No gRPC port of its own, so that others may run beside it.
    listen = f"--listen 127.0.0.1:0 --set gateway.listen=127.0.0.1:{ports['7480']}"
    script = script.replace("--data-dir data", f"--data-dir data {listen}")
    paths = [str(Path(program("undoubt")).parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": ":".join(paths)}
    with (page / "printed").open("w+") as printed:
        # A group of its own, with which all that the commands left running ends.
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=page, env=environment, stdout=printed, stderr=printed, start_new_session=True
        )
        try:
            shell.wait(60)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return (page / "printed").read_text()


def test_its_first_page_runs(printed: str) -> None:
    print(printed)
    assert len(re.findall(r"^\S+ is booked for 60$", printed, re.MULTILINE)) == 2
    assert len(re.findall(r"^\S+ is undone: .*12 is taken", printed, re.MULTILINE)) == 1
    assert '["7A"]["12"]' in printed
    assert '"state":"aborted"' in printed
    assert printed.rstrip().endswith('["7A","7C"]["12","13"]')


def test_its_programs_run(page: Path, ports: dict[str, int], coordinator: Coordinator) -> None:
    for name in ("both.py", "transactions.py", "bare.py"):
        text = (page / name).read_text().replace(f":{ports['7480']}", f":{coordinator.port}")
        (page / name).write_text(text)
        done = subprocess.run([sys.executable, name], cwd=page, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_its_own_transaction_has_what_follows(page: Path, ports: dict[str, int], coordinator: Coordinator) -> None:
    text = (page / "orders.py").read_text().replace(f":{ports['7480']}", f":{coordinator.port}")
    (page / "orders.py").write_text(text + "\n\norder()\n")
    environment = {**os.environ, "SERVICE_DB": "orders.db"}
    done = subprocess.run(
        [sys.executable, "orders.py"],
        cwd=page,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = httpx.get(f"{coordinator.url}/v1/transactions?state=committed&limit=1").json()["transactions"]
    assert listed[0]["state"] == "committed"


def test_its_participant_takes_part(page: Path, tmp_path: Path) -> None:
    port = free_port()
    (page / "stock.py").write_text((page / "stock.py").read_text().replace(":7411", f":{port}"))
    stock = subprocess.Popen([sys.executable, "stock.py", "stock.db"], cwd=page)
    try:
        coordinator = Coordinator(tmp_path, [], {"stock": f"http://127.0.0.1:{port}"})
        with Client(coordinator.url) as client:
            work = {more: {"raw": "0x" + f'["bolts", {more}]'.encode().hex()} for more in (5, -5, -9)}
            filled = client.submit({"branches": {"stock": work[5], "store": ["add bolts 5"]}})
            assert filled.results["stock"].raw == {"raw": "0x35"}
            step = {"name": "take", "at": "stock", "do": work[-5], "undo": work[5]}
            assert client.submit({"mode": "saga", "steps": [step]}).state == "committed"
            refused = client.submit({"branches": {"stock": work[-9], "store": ["add bolts -9"]}})
            assert refused.abort is not None
            assert refused.abort.reason == "condition"
        coordinator.kill()
    finally:
        stock.kill()
        stock.wait()


def test_its_subscription_handles_each_event_once(page: Path, ports: dict[str, int], tmp_path: Path) -> None:
    coordinator = Coordinator(tmp_path, [], topics=["orders"])
    try:
        text = (page / "mailer.py").read_text().replace(f":{ports['7480']}", f":{coordinator.port}")
        (page / "mailer.py").write_text(text)
        with Client(coordinator.url) as client:
            work = ["add orders 1", 'emit orders order.placed key=ann json={"item":"book"}']
            assert client.submit({"branches": {"store": work}}).state == "committed"
        for handled in (1, 0):
            command = [sys.executable, "mailer.py", "--once"]
            done = subprocess.run(command, cwd=page, capture_output=True, text=True, timeout=30, check=False)
            assert (done.returncode, done.stdout) == (0, f"{handled} events were handled\n"), done.stderr
    finally:
        coordinator.kill()
