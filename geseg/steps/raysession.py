"""A Ray cluster to work on for a while: one that is there, or one that is started here and leaves nothing behind."""

import importlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from geseg.cores import count_cores
from geseg.errors import ConfigError, ProcessError

Ray: TypeAlias = Any
"""The module or an object of it, which is there with the extra `ray` alone."""
BOUND = "ray>=2.52"
"""The first release that knows tokens; as in pyproject.toml."""
LOCAL = "local"
"""The address of a cluster that is started here, and ends with the work."""
SHORT = Path("/tmp")
"""Where a local cluster has its files: names of sockets end at 107 bytes, which other temporary folders may use up."""
STORE_BYTES = 100 << 20
"""Memory for what goes over the cluster, which is nothing but rows; Ray would take 30 % of the machine's."""


@contextmanager
def session(address: str) -> Iterator[Ray]:
    """Join the cluster at "auto", host:port or ray://host:port, or start one at "local"; gives the module `ray`.

    Raises:
        ConfigError: Ray is not installed.
        ProcessError: no cluster answers, it does not let us in, or it fails while it is used.
    """
    with ExitStack() as stack:
        if address == LOCAL:
            stack.enter_context(_variables())  # before Ray is imported, which reads them
        ray = _import()
        settings: dict[str, Any] = {"address": address, "logging_level": logging.CRITICAL, "log_to_driver": False}
        if address == LOCAL:
            settings |= {"num_cpus": count_cores(), "include_dashboard": False, "object_store_memory": STORE_BYTES}
            settings |= {"_temp_dir": stack.enter_context(_folder())}
        else:
            _knock(address)
        stack.callback(ray.shutdown)
        try:
            with _own_signals():
                ray.init(**settings)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise ProcessError(f"the Ray cluster {address!r} cannot be joined: {one_line(error)}") from error
        try:
            yield ray
        except ray.exceptions.RayTaskError:  # a mistake of ours in a worker
            raise
        except ray.exceptions.RayError as error:
            raise ProcessError(
                f"the Ray cluster {address!r} has failed: {one_line(error)}; the same command goes on"
            ) from error


def one_line(error: Exception) -> str:
    """What an error of Ray says, which is often several lines."""
    return " ".join(str(error).split())


@contextmanager
def _variables() -> Iterator[None]:
    """What Ray and its processes read from the environment, while there is a cluster of our own.

    It listens on the network: whoever wants to join has to know a token, which Ray demands by itself from 2.59 on.
    """
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # else one stays in the home folder
    ours |= {"RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0")}  # it would tell its makers
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _import() -> Ray:
    """Ray, with mode and token as the environment has them now: it keeps what it has read at an earlier time."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(f"--ray needs Ray, which is not installed; get it with: pip install '{BOUND}'") from error
    with suppress(ImportError, AttributeError):  # not public; only a second session in one process is in need of it
        raylet = importlib.import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
    return ray


def _folder() -> tempfile.TemporaryDirectory[str]:
    place = SHORT if SHORT.is_dir() else None
    return tempfile.TemporaryDirectory(prefix="geseg-", dir=place, ignore_cleanup_errors=True)


def _knock(address: str) -> None:
    """Raise ProcessError if nobody listens at host:port, as Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ProcessError(
            f"no Ray cluster answers at {address} ({error}); start one with ray start --head, or leave out the address"
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put off SIGTERM to the end of the block, and keep what it does, which Ray decides anew where it starts.

    Processes that are started in the block never hear of it. A scheduler sends it to all processes of a job, and these
    are needed until the photographs under way are done; in the end Ray kills them, which takes it some seconds more.
    """
    kept = signal.getsignal(signal.SIGTERM)
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]) if masks else set()
    try:
        yield
    finally:
        if kept is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, kept)
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
