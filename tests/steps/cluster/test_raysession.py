"""Clusters to join and to start, and those who are not let in."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from geseg.errors import ConfigError, ProcessError
from geseg.steps.raysession import BOUND, LOCAL, session

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"no Ray cluster answers at 127\.0\.0\.1:1 \(.*refused\); start one with ray start --head"),
        ("nonsense", r"the Ray cluster 'nonsense' cannot be joined: Invalid address format: nonsense"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(address: str, said: str) -> None:
    with pytest.raises(ProcessError, match=said), session(address):
        pass


@pytest.fixture
def open_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_token_that_is_missing_is_one_line(open_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with (
        pytest.raises(ProcessError, match=r"cannot be joined: .*no authentication token was found") as caught,
        session(open_port),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_cluster_that_fails_later_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its head dies; what goes wrong in a worker is told by the worker, or is a mistake of ours."""
    monkeypatch.setattr(ray, "init", lambda **_: None)
    said = "the Ray cluster 'auto' has failed: System error: the head has gone; the same command goes on"
    with pytest.raises(ProcessError) as caught, session("auto"):
        raise ray.exceptions.RaySystemError("the\nhead has gone")
    assert str(caught.value) == said
    mistake = ray.exceptions.RayTaskError("do", "Traceback", KeyError("x"))
    with pytest.raises(ray.exceptions.RayTaskError), session("auto"):
        raise mistake


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = f"--ray needs Ray, which is not installed; get it with: pip install '{BOUND}'"
    with pytest.raises(ConfigError) as caught, session(LOCAL):
        pass
    assert str(caught.value) == said
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"{BOUND}",' in project


def variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def joins(address: str, more: dict[str, str]) -> bool:
    """Whether another process is let in, asked in the way that `ray.init` asks, but once instead of 20 times."""
    code = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", code, address], env=others | more, capture_output=True, text=True)
    assert done.returncode == 0 or "AuthenticationError" in done.stderr, done.stderr
    return done.returncode == 0


def test_a_cluster_made_here_lets_nobody_in_without_its_token(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next session of the process takes the token of its own cluster."""
    with monkeypatch.context() as user:
        user.setenv("RAY_AUTH_MODE", "disabled")
        user.delenv("RAY_AUTH_TOKEN")
        user.setenv("HOME", str(tmp_path))
        before = variables()
        with session(LOCAL) as ray:
            here, inside = ray.get_runtime_context().gcs_address, variables()
            assert joins(here, inside)
            assert not joins(here, {})
            assert not joins(here, inside | {"RAY_AUTH_TOKEN": "f" * 64})
        assert variables() == before
        assert not list(tmp_path.iterdir()), "no token stays in the home folder"
    with session(address) as ray:
        assert ray.cluster_resources()["CPU"] == 2


def test_variables_are_as_they_were_when_no_cluster_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        assert os.environ["RAY_AUTH_MODE"] == "token"
        raise OSError("no memory")

    monkeypatch.setattr(ray, "init", init)
    before = variables()
    with suppress(ProcessError), session(LOCAL):
        pass
    assert variables() == before
