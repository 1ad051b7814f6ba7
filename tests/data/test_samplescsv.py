"""A list in the folder says what belongs together; each mistake in it is named with its line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from geseg.data.layouts import find_source
from geseg.errors import LayoutError

Make = Callable[..., Path]
FILES = ("a.png", "b.png", "c.JPG", "a_l.png", "b_l.png", "view.png", "deep/er/a.png", "Åse, 2.png")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the lines of a list into a folder with some files, all empty, and returns the folder."""

    def make(*lines: str, encoding: str = "utf-8", newline: str = "\n") -> Path:
        root = tmp_path / "mine"
        for name in FILES:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        (root / "samples.csv").write_bytes(newline.join(lines).encode(encoding))
        return root

    return make


def test_the_shortest_list(write: Make) -> None:
    source = find_source(write("image,label", "b.png,b_l.png", "deep/er/a.png,a_l.png"))
    assert (source.dataset, source.layout, source.unknown_persons) == ("mine", "samples.csv", 2)
    assert (source.protocol, source.protocols) == (None, ())
    first, second = source.samples
    assert (first.dataset, first.id, first.split, first.fov, first.second) == ("mine", "b", "train", None, None)
    assert (first.image, first.label) == (source.root / "b.png", source.root / "b_l.png")
    assert (second.id, second.person) == ("deep/er/a", "deep/er/a.png")


def test_all_columns_in_any_order(write: Make) -> None:
    source = find_source(
        write(
            "split,person,second,fov,label,image",
            "test,Ann,b_l.png,view.png,a_l.png,a.png",
            "val,,,,b_l.png,b.png",
            "test,Ann,,,,c.JPG",
        )
    )
    a, b, c = source.samples
    assert (a.split, a.person, a.second, a.fov) == ("test", "Ann", source.root / "b_l.png", source.root / "view.png")
    assert (b.split, b.person, b.second, b.fov) == ("val", "b.png", None, None)
    assert (c.split, c.person, c.label, c.id) == ("test", "Ann", None, "c")
    assert source.unknown_persons == 1


def test_columns_that_were_not_filled(write: Make) -> None:
    assert [sample.id for sample in find_source(write("image,label,,", "b.png,b_l.png,,")).samples] == ["b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write(write: Make, encoding: str, newline: str) -> None:
    """A byte order mark, ends of lines of all kinds, quotes, spaces, empty lines and missing last cells."""
    lines = "image, label ,person", '"Åse, 2.png",a_l.png,"Å "', "", ",,", " b.png , b_l.png", ""
    source = find_source(write(*lines, encoding=encoding, newline=newline))
    assert [(sample.id, sample.person) for sample in source.samples] == [("Åse, 2", "Å"), ("b", "b.png")]


def test_a_list_overrides_recognition(make_drive: Make) -> None:
    root = make_drive()
    (root / "samples.csv").write_text(
        "image,label\ntraining/images/25_training.tif,training/1st_manual/25_manual1.gif\n"
    )
    source = find_source(root)
    assert (source.dataset, source.layout, len(source.samples)) == ("DRIVE", "samples.csv", 1)


def test_paths_may_be_roundabout_but_stay_inside(write: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write("image,label", "./deep/../a.png,deep/er/../../a_l.png")
    for folder in (root, root / "deep" / ".."):
        assert find_source(folder).samples[0].image.samefile(root / "a.png")
    monkeypatch.chdir(root)
    (sample,) = find_source(Path()).samples
    assert (sample.dataset, sample.id, sample.image) == ("mine", "a", Path("a.png"))


def test_folders_inside_may_be_links(write: Make, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").touch()
    root = write("image,label", "linked/x.png,a_l.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert find_source(root).samples[0].image == root / "linked" / "x.png"


EXPECTED = "expected image and label, and perhaps fov, second, person, split"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,label,mask", "a.png,a_l.png,"], f"line 1: the column 'mask' is unknown; {EXPECTED}"),
        (["", "image,label,image", "a.png,,"], f"line 2: the column 'image' is there twice; {EXPECTED}"),
        (["image,fov", "a.png,"], f"line 1: the column 'label' is missing; {EXPECTED}"),
        (
            ["image;label", "a.png;a_l.png"],
            "line 1: its columns are parted by ';'; expected commas: save it as CSV with commas",
        ),
        (["image,label,,", "a.png,a_l.png,,x"], "line 2: it has 4 cells for 2 columns: quote text that has commas"),
        (["label,person", "a_l.png,"], f"line 1: the column 'image' is missing; {EXPECTED}"),
        (
            ["image,label", "a.png,a_l.png", "", "z.png,b_l.png"],
            "line 4: the image 'z.png' is no file in {root}; expected a path relative to this folder",
        ),
        (
            ["image,label,second", "a.png,a_l.png,deep"],
            "line 2: the second 'deep' is no file in {root}; expected a path relative to this folder",
        ),
        (
            ["image,label", "a.png," + "x" * 5000],
            f"line 2: the label '{'x' * 5000}' is no file in {{root}}; expected a path relative to this folder",
        ),
        (
            ["image,label", "a.png,a_l.png", "b.png,b_l.png", "deep/../a.png,b_l.png"],
            "line 4: the image 'deep/../a.png' is that of line 2, 'a.png', or differs in its suffix only: list each "
            "image once and rename those that share a name",
        ),
        (
            ["image,label,split", "a.png,a_l.png,Train"],
            "line 2: the split 'Train' is unknown; expected train, val, test, or nothing for train",
        ),
        (
            ["image,label", "a.png,../outside.png"],
            "line 2: the label '../outside.png' is outside of {root}; expected a path inside: move or copy the file",
        ),
        (
            ["image,label", "/etc/hostname,a_l.png"],
            "line 2: the image '/etc/hostname' is outside of {root}; expected a path inside: move or copy the file",
        ),
        (
            ["image,label,fov", "a.png,a_l.png,../mine2/view.png"],
            "line 2: the fov '../mine2/view.png' is outside of {root}; expected a path inside: move or copy the file",
        ),
        (["image,label", "a.png,"], "line 2: the train image 'a.png' has no label; only test images may go without"),
        (
            ["image,label,split", "a.png,a_l.png,", "b.png,,val"],
            "line 3: the val image 'b.png' has no label; only test images may go without",
        ),
        (["image,label", ",a_l.png"], "line 2: the image is missing; expected its path"),
        (
            ["image,label", "Åse, 2.png,a_l.png"],
            "line 2: it has 3 cells for 2 columns: quote text that has commas",
        ),
    ],
)
def test_mistakes_are_named_with_their_line(write: Make, tmp_path: Path, lines: list[str], message: str) -> None:
    for name in ("outside.png", "mine2/view.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    root = write(*lines)
    with pytest.raises(LayoutError) as caught:
        find_source(root)
    assert str(caught.value) == f"{root}/samples.csv {message.format(root=root)}"


def test_images_that_share_a_name(write: Make) -> None:
    root = write("image,label", "a.png,a_l.png", "a.jpg,b_l.png")
    (root / "a.jpg").touch()
    with pytest.raises(
        LayoutError, match=re.escape("line 3: the image 'a.jpg' is that of line 2, 'a.png', or differs")
    ):
        find_source(root)


@pytest.mark.parametrize("lines", [[], ["", ""], ["image,label"], ["image,label", ",", ""]])
def test_a_list_of_nothing(write: Make, lines: list[str]) -> None:
    root = write(*lines)
    with pytest.raises(LayoutError) as caught:
        find_source(root)
    assert str(caught.value) == (
        f"{root}/samples.csv lists no image; expected a line of columns (image,label,fov,second,person,split) and one "
        "per image"
    )


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (["image,label", "Åse.png,a_l.png"], "latin-1"),
        (["image,label", "a.png,a_l.png"], "utf-16"),
        (['"image,label'], "ascii"),
    ],
)
def test_a_list_that_is_no_text_with_commas(write: Make, lines: list[str], encoding: str) -> None:
    root = write(*lines, encoding=encoding)
    with pytest.raises(LayoutError) as caught:
        find_source(root)
    message = str(caught.value)
    assert message.startswith(f"{root}/samples.csv cannot be read as UTF-8 text with commas: ")
    assert message.endswith("; save it as such")
    assert "\n" not in message
