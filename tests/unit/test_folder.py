"""A local folder of images: which files are read, as what, and how masks are resized."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reconad_plugin.errors import ConfigError, InvalidImageError, NotEnoughImagesError
from reconad_plugin.images.folder import ImageFile, has_masks, load_masks, read_folder


def touch(root, *names):
    """Listing opens no picture, so that empty files will do."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_mask(path, pixels, mode=None):
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return ImageFile(path.with_name("picture.png"), "scratch", path)


def names(paths):
    return [path.name for path in paths]


def test_the_usual_layout_is_read(tmp_path):
    """Normal images to train on; labelled ones to test on, each defect with its mask."""
    touch(
        tmp_path,
        *("train/good/001.png", "train/good/000.png", "train/notes.txt"),
        *("test/good/000.png", "test/scratch/001.png", "test/scratch/000.png", "test/dent/5.jpg"),
        *("ground_truth/scratch/000_mask.png", "ground_truth/scratch/001.png"),
        *("ground_truth/dent/5_mask.png", "ground_truth/dent/5.png"),
    )

    folder = read_folder(tmp_path)

    truth = tmp_path / "ground_truth"
    assert folder.root == tmp_path
    assert names(folder.train) == ["000.png", "001.png"]
    assert folder.test == (
        ImageFile(tmp_path / "test/dent/5.jpg", "dent", truth / "dent/5_mask.png"),
        ImageFile(tmp_path / "test/good/000.png", "good", None),
        ImageFile(tmp_path / "test/scratch/000.png", "scratch", truth / "scratch/000_mask.png"),
        ImageFile(tmp_path / "test/scratch/001.png", "scratch", truth / "scratch/001.png"),
    )
    assert has_masks(folder.test)


def test_test_images_are_optional(tmp_path):
    """Normal images alone can be trained on."""
    touch(tmp_path, "train/good/0.png")

    assert read_folder(tmp_path).test == ()


@pytest.mark.parametrize(
    "under", [pytest.param("", id="directly"), pytest.param("good/", id="in good")]
)
def test_a_flat_folder_is_all_training_images(tmp_path, under):
    """Pictures without a split are normal images."""
    touch(tmp_path, f"{under}b.png", f"{under}a.png")

    folder = read_folder(tmp_path)

    assert names(folder.train) == ["a.png", "b.png"]
    assert folder.test == ()


def test_only_visible_pictures_are_read(tmp_path):
    """Suffixes count in any case; hidden files, other files and folders do not."""
    pictures = ["a.PNG", "b.jpg", "c.JPEG", "d.bmp", "e.tif", "f.Tiff", "g.webp"]
    touch(tmp_path, *pictures, ".hidden.png", "notes.txt", "png", "folder.png/inner.txt")

    assert names(read_folder(tmp_path).train) == pictures


def test_hidden_folders_of_defects_are_passed_over(tmp_path):
    """What a desktop leaves behind is no defect."""
    touch(tmp_path, "train/good/0.png", "test/.cache/0.png", "test/dent/0.png", "test/1.png")

    assert [file.label for file in read_folder(tmp_path).test] == ["dent"]


def test_a_wrong_path_is_an_error(tmp_path):
    """The message repeats the path."""
    with pytest.raises(ConfigError, match=r"must exist; got .*nowhere: check the path"):
        read_folder(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path):
    """A picture in place of its folder is refused."""
    touch(tmp_path, "a.png")

    with pytest.raises(ConfigError, match=r"must be a folder; got the file .*a\.png"):
        read_folder(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            ["b.txt", "a.txt", "c.txt"], r"holds 3 other file\(s\) such as 'a\.txt'", id="text"
        ),
        pytest.param([".hidden.png"], "holds nothing", id="hidden alone"),
        pytest.param(["line/1.png"], r"holds 1 folder\(s\) such as 'line'", id="one level up"),
        pytest.param(
            ["a.csv", "line/1.png"],
            r"holds 1 other file\(s\) such as 'a\.csv' and 1 folder\(s\) such as 'line'",
            id="both",
        ),
        pytest.param(
            ["train/good/a.txt", "test/good/a.png"],
            r"train.good holds 1 other file\(s\) such as 'a\.txt'",
            id="nothing to train on",
        ),
    ],
)
def test_a_folder_without_pictures_is_an_error(tmp_path, files, said):
    """The rule, what came, and what to do."""
    touch(tmp_path, *files)

    with pytest.raises(
        NotEnoughImagesError, match=rf"must hold pictures \(\.png, .*\); .*{said}: bring pictures"
    ):
        read_folder(tmp_path)


def test_pixel_figures_need_a_mask_for_every_defect(tmp_path):
    """Normal images need none; one defect without a mask is one too many."""
    good = ImageFile(tmp_path / "0.png", "good", None)
    masked = ImageFile(tmp_path / "1.png", "dent", tmp_path / "1_mask.png")
    unmasked = ImageFile(tmp_path / "2.png", "dent", None)

    assert has_masks([good, masked])
    assert not has_masks([good, masked, unmasked])
    assert not has_masks([good])
    assert not has_masks([])


def test_masks_are_loaded_in_the_order_of_the_files(tmp_path):
    """A normal image has an empty mask; a defect has its own."""
    pixels = np.zeros((4, 4))
    pixels[3, 0] = 255
    defect = write_mask(tmp_path / "mask.png", pixels)

    masks = load_masks([ImageFile(tmp_path / "0.png", "good", None), defect], 4)

    assert masks.dtype == np.bool_
    assert not masks[0].any()
    np.testing.assert_array_equal(masks[1], pixels > 0)


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        pytest.param([0, 127, 128, 255], None, [False, False, True, True], id="grey"),
        pytest.param([0, 1, 0, 1], None, [False, True, False, True], id="zeros and ones"),
        pytest.param([0, 255, 0, 255], "1", [False, True, False, True], id="one bit"),
        pytest.param([0, 255, 0, 255], "RGB", [False, True, False, True], id="colour"),
        pytest.param([255] * 4, None, [True] * 4, id="everywhere"),
        pytest.param([1] * 4, None, [True] * 4, id="ones everywhere"),
    ],
)
def test_a_mask_is_anomalous_where_it_is_bright(tmp_path, values, mode, expected):
    """The ways in which masks are saved."""
    file = write_mask(tmp_path / "mask.png", np.tile(values, (4, 1)), mode)

    np.testing.assert_array_equal(load_masks([file], 4)[0], np.tile(expected, (4, 1)))


def test_a_mask_smaller_than_the_square_repeats_its_pixels(tmp_path):
    """Without holes between them."""
    file = write_mask(tmp_path / "mask.png", [[0, 255], [255, 0]])

    np.testing.assert_array_equal(
        load_masks([file], 4)[0], np.kron([[0, 1], [1, 0]], np.ones((2, 2)))
    )


@pytest.fixture(scope="module")
def mask_path(tmp_path_factory):
    return tmp_path_factory.mktemp("masks") / "mask.png"


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_no_pixel_of_a_defect_vanishes(mask_path, data, height, width, size_px):
    """A single pixel, wherever it is, sets the cell it falls into."""
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    pixels = np.zeros((height, width))
    pixels[row, column] = 255

    mask = load_masks([write_mask(mask_path, pixels)], size_px)[0]

    assert mask.shape == (size_px, size_px)
    if min(height, width) >= size_px:
        assert np.argwhere(mask).tolist() == [
            [
                max(cell for cell in range(size_px) if cell * height // size_px <= row),
                max(cell for cell in range(size_px) if cell * width // size_px <= column),
            ]
        ]
    else:
        assert mask.any()


def test_a_defect_without_a_mask_is_an_error(tmp_path):
    """It is not taken for a normal image."""
    file = ImageFile(tmp_path / "test/dent/7.png", "dent", None)

    with pytest.raises(
        ConfigError, match=r"mask in ground_truth/dent/; got none for .*7\.png: bring 7_mask\.png"
    ):
        load_masks([file], 4)


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        pytest.param(b"", "empty", "got a 0-byte object", id="empty"),
        pytest.param(b"no picture", "not_an_image", "must be one of PNG", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "not_an_image", "begin with", id="cut off"),
    ],
)
def test_an_unreadable_mask_is_an_error(tmp_path, content, reason, said):
    """The message names the file among many."""
    path = tmp_path / "0_mask.png"
    path.write_bytes(content)

    with pytest.raises(InvalidImageError, match=f"mask {re.escape(str(path))}: .*{said}") as caught:
        load_masks([ImageFile(tmp_path / "0.png", "dent", path)], 4)

    assert caught.value.reason == reason


def test_a_mask_that_marks_nothing_is_an_error(tmp_path):
    """A defect must not be scored as a normal image without a word."""
    file = write_mask(tmp_path / "0_mask.png", np.full((4, 4), 3))

    with pytest.raises(
        InvalidImageError, match=r"0_mask\.png: .*its largest value is 3: mark the defect in white"
    ):
        load_masks([file], 4)
