"""An exported model as a plain function from tiles to probabilities, run by onnxruntime: neither torch nor onnx."""

import contextlib
import io
import os
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
from jaxtyping import Float, Float32

from geseg.cores import count_cores
from geseg.errors import ConfigError, DeviceError, ModelFileError
from geseg.inference.driver import has_cuda_driver
from geseg.inference.memory import is_out_of_memory
from geseg.inference.onnxfile import INPUT, OUTPUT, open_session, read_header, start_session

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxEngine:
    """Runs the model of an ONNX file.

    Attributes:
        header: what the file says about itself.
        device: what really runs it, in words: "cpu (onnxruntime CPUExecutionProvider)".

    Args:
        path: a file written by `geseg export`.
        device: "auto" takes a GPU where one works and the CPU elsewhere; "cpu"; "cuda" or "cuda:N".
        threads: CPU threads of the network; None is one per core, as far as this process may use them.

    Raises:
        ModelFileError: `path` is no model that geseg exported; also when it is called, if its graph cannot be run.
        DeviceError: a GPU was asked for, but would not be used; also when it is called, if the GPU fails.
        ConfigError: `device` is none of the above.

    Shapes:
        input:  float[b, 3, h, w], a normalised image; h and w are multiples of `header.divisor`
        output: float32[b, h, w], probabilities in [0, 1]
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        index = _gpu_index(device)
        session, reason = None, ""
        if index is not None and (device != "auto" or _cuda_may_work()):
            session, reason = _cuda_session(path, _options(threads), index)
        if session is None:
            session = open_session(path, _options(threads), [CPU])  # first: a broken file is the better message
            if device not in ("auto", "cpu"):
                raise DeviceError(
                    f"device {device} was asked for, but onnxruntime would run on the CPU ({reason}); "
                    "install a driver and CUDA and cuDNN libraries that fit onnxruntime-gpu, or use --device cpu"
                )
        self.header = read_header(path)
        provider = session.get_providers()[0]
        self.device = f"{f'cuda:{index}' if provider == CUDA else 'cpu'} (onnxruntime {provider})"
        self._session, self._path = session, path

    def __call__(self, tiles: Float[np.ndarray, "b c h w"]) -> Float32[np.ndarray, "b h w"]:
        try:
            (probability,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(tiles, np.float32)})
        except Exception as error:  # the exceptions of onnxruntime have no base class of their own
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())
            if not self.device.startswith("cpu"):
                raise DeviceError(f"onnxruntime failed on {self.device}: {reason}; try --device cpu") from error
            raise ModelFileError(f"onnxruntime cannot run {self._path}: {reason}; export it again") from error
        result: np.ndarray = probability[:, 0]
        return result


def _gpu_index(device: str) -> int | None:
    """The number of the GPU in the name of a device, 0 unless it has one; None for the CPU."""
    if device == "cpu":
        return None
    found = re.fullmatch(r"auto|cuda(?::(\d+))?", device)
    if found is None:
        raise ConfigError(f"device {device!r} is not known; expected auto, cpu, cuda or cuda:N")
    return int(found[1] or 0)


def _options(threads: int | None) -> ort.SessionOptions:
    """Only what differs from the defaults, which optimise the graph fully and run its nodes one after the other.

    Measured with the shipped weights on a core of an AMD EPYC: without an arena a tile of 560x576 takes 1.6 times as
    long, as its memory comes from the system anew; flushing denormal numbers to zero changes nothing.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors: warnings about the graph are of no use to someone who segments images
    options.enable_mem_pattern = False  # as fast, in 1.1 instead of 1.5 GB per megapixel of a tile
    options.intra_op_num_threads = _allowed_cores() if threads is None else threads
    return options


def _allowed_cores() -> int:
    """How many cores a scheduler or a container has given to this process; 0, onnxruntime's choice, if it is all.

    onnxruntime counts the cores of the machine, and threads that share one wait for each other.
    """
    allowed = count_cores()
    return allowed if allowed < (os.cpu_count() or 1) else 0


def _cuda_may_work() -> bool:
    """Whether it is worth a try, without a sound: onnxruntime lists CUDA even where there is no driver."""
    return CUDA in ort.get_available_providers() and has_cuda_driver()


def _cuda_session(path: Path, options: ort.SessionOptions, index: int) -> tuple[ort.InferenceSession | None, str]:
    """A session that really runs on the GPU, or None and why there is none."""
    settings = {
        "device_id": index,
        "cudnn_conv_algo_search": "HEURISTIC",  # the default tries out all algorithms for each new shape of a batch
        "use_tf32": 0,  # the default rounds float32 to 11 bits in convolutions: too coarse for the 1e-4 we promise
    }
    printed = io.StringIO()
    ort.set_default_logger_severity(4)  # what fails is told by the exception, or is no failure under "auto"
    try:
        with contextlib.redirect_stdout(printed):  # preload_dlls prints which libraries it misses
            if hasattr(ort, "preload_dlls"):  # finds CUDA in the wheels of pip; only in wheels for GPUs
                ort.preload_dlls()
            session = start_session(path, options, [(CUDA, settings), CPU])
    except Exception as error:  # the exceptions of onnxruntime have no base class of their own
        return None, " ".join(str(error).split())
    finally:
        ort.set_default_logger_severity(2)  # its default
    if session.get_providers()[0] != CUDA:
        missing = printed.getvalue().partition("\n")[0]
        return None, missing or f"its providers are {', '.join(ort.get_available_providers())}"
    session.disable_fallback()  # else a GPU that fails in the middle is replaced by the CPU without a word
    return session, ""
