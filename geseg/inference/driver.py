"""Whether this machine has a GPU that CUDA could run on."""

import ctypes
import sys


def has_cuda_driver() -> bool:
    """Whether NVIDIA's driver is there; where it is not, there is no need to try CUDA."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
