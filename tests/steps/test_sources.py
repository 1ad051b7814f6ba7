"""Sources fit together, protocols are theirs, and samples are read whole, each fault with its names."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.fov import find_fov
from geseg.data.images import read_image, read_mask
from geseg.data.layouts import find_source
from geseg.data.samples import Sample
from geseg.errors import ConfigError, ImageError, LayoutError
from geseg.steps.sources import find_sources, read_whole

Make = Callable[..., Path]
Known = Callable[[str], Path]


def test_each_source_follows_its_own_protocol(known_dataset: Known) -> None:
    roots = [known_dataset(name) for name in ("chasedb1", "primefp20", "hrf", "drive")]
    assert [source.protocol for source in find_sources(roots)] == ["8/20", "fold1", "15/30", None]
    chosen = find_sources(roots, ["fold3", "20/8"])
    assert [source.protocol for source in chosen] == ["20/8", "fold3", "15/30", None]


def test_a_protocol_of_no_source(known_dataset: Known) -> None:
    with pytest.raises(ConfigError) as caught:
        find_sources([known_dataset(name) for name in ("chasedb1", "drive", "hrf")], ["20/8", "fold3"])
    assert str(caught.value) == (
        "chasedb1, drive, hrf can follow no protocol 'fold3'; expected 8/20, 20/8 (chasedb1); 15/30 (hrf)"
    )


def test_a_protocol_where_there_is_nothing_to_choose(known_dataset: Known) -> None:
    with pytest.raises(ConfigError) as caught:
        find_sources([known_dataset("fives")], ["8/20"])
    assert str(caught.value) == (
        "fives can follow no protocol '8/20'; there is nothing to choose: leave out --protocol"
    )


def test_two_protocols_of_one_source(known_dataset: Known) -> None:
    root = known_dataset("chasedb1")
    with pytest.raises(ConfigError) as caught:
        find_sources([root], ["8/20", "20/8"])
    assert str(caught.value) == (f"{root} (chasedb1) can follow one protocol only; got 8/20, 20/8: leave all but one")


def test_a_copy_of_a_data_set(make_drive: Make, tmp_path: Path) -> None:
    first = make_drive()
    second = Path(shutil.copytree(first, tmp_path / "copy"))
    with pytest.raises(LayoutError) as caught:
        find_sources([first, second])
    assert str(caught.value) == (
        f"{first}/test/images/01_test.tif and {second}/test/images/01_test.tif are both 01 of drive: give each "
        "data set once, and different names to folders with different data"
    )


@pytest.mark.parametrize("name", ["drive", "chasedb1", "hrf", "fives"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_sample_of_any_split_is_read_whole(known_dataset: Known, name: str, split: str) -> None:
    sample = next(sample for sample in find_source(known_dataset(name)).samples if sample.split == split)
    whole, label = read_whole(sample), sample.label
    assert label is not None
    np.testing.assert_array_equal(whole.image, read_image(sample.image))
    np.testing.assert_array_equal(whole.label, read_mask(label))
    np.testing.assert_array_equal(whole.fov, read_mask(sample.fov) if sample.fov else find_fov(whole.image))
    record = whole.record
    assert (record.id, record.split, record.stem) == (sample.id, split, sample.image.stem)
    assert record.label_sha256 == hashlib.sha256(label.read_bytes()).hexdigest()
    if sample.second is None:
        assert (whole.second, record.second_sha256) == (None, None)
    else:
        np.testing.assert_array_equal(whole.second, read_mask(sample.second))
        assert record.second_sha256 == hashlib.sha256(sample.second.read_bytes()).hexdigest()


def test_the_second_observer_of_drive_is_not_empty(known_dataset: Known) -> None:
    """A GIF with the indices 0 and 1, of which a threshold at 127 would leave nothing."""
    for sample in find_source(known_dataset("drive")).samples[:2]:
        whole = read_whole(sample)
        assert whole.label is not None
        assert whole.second is not None
        half = len(whole.label) // 2
        assert not whole.second[:half].any()
        np.testing.assert_array_equal(whole.second[half:], whole.label[half:])


@pytest.fixture
def sample(make_drive: Make) -> Sample:
    """A training sample with label, field of view and a second observer, which may be changed."""
    found = find_source(make_drive()).samples[-1]
    return dataclasses.replace(found, second=found.label)


def error_of(sample: Sample) -> str:
    with pytest.raises(ImageError) as caught:
        read_whole(sample)
    return str(caught.value)


@pytest.mark.parametrize(("part", "words"), [("label", "label"), ("fov", "FOV"), ("second", "second label")])
def test_a_mask_of_another_size(sample: Sample, tmp_path: Path, part: str, words: str) -> None:
    path = tmp_path / "turned.gif"
    Image.new("L", (72, 68)).save(path)
    assert error_of(dataclasses.replace(sample, **{part: path})) == (
        f"the {words} {path} has 72x68 pixels, but its image {sample.image} has 68x72: expected the same"
    )


def test_an_empty_field_of_view(sample: Sample) -> None:
    assert sample.fov is not None
    Image.new("L", (68, 72)).save(sample.fov)
    assert error_of(sample) == (
        f"the FOV {sample.fov} is empty; expected the part that shows retina, or no file: remove it"
    )


def test_an_inverted_field_of_view(sample: Sample) -> None:
    assert sample.fov is not None
    Image.fromarray(~read_mask(sample.fov)).save(sample.fov)
    assert error_of(sample) == (
        f"the FOV {sample.fov} holds 0% of what the label {sample.label} marks; expected nearly all: is the FOV "
        "inverted, or does one of them belong to another image?"
    )


def test_an_unreadable_image(sample: Sample) -> None:
    sample.image.write_text("not an image")
    assert error_of(sample) == (
        f"{sample.image} cannot be read as an image: it has no known format; replace or remove it"
    )
