"""What `import geseg` promises to Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import geseg
from geseg.data import fov
from geseg.errors import DataError


def test_a_photograph_from_a_path_to_a_mask(run_folder: Path, draw_eye) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    image = draw_eye(3)[0]
    model = geseg.load(str(run_folder))
    assert isinstance(model, geseg.Model)
    probability = model.segment(image)
    assert (probability.shape, probability.dtype) == (image.shape[:2], np.float32)
    np.testing.assert_array_equal(probability, geseg.load(run_folder).segment(image))
    assert geseg.find_fov is fov.find_fov


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)],
)
def test_another_array_is_refused_in_words(run_folder: Path, image: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"expected 8-bit RGB, uint8\[height, width, 3\]"):
        geseg.load(run_folder).segment(image)


def test_importing_it_is_free() -> None:
    code = "import sys, geseg; assert not {'numpy', 'torch', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    assert all(hasattr(geseg, name) for name in geseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'sgement'"):
        geseg.sgement  # noqa: B018
