"""A local folder of images: which files are read, as what, and how masks are resized."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reconad_plugin.errors import ConfigError, InvalidImageError, NotEnoughImagesError
from reconad_plugin.images.folder import (
    ImageFile,
    check_masks,
    describe_masks,
    has_masks,
    load_masks,
    read_folder,
)
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.textures import texture_files


def touch(root, *names):
    """Listing opens no picture, so that empty files will do."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_mask(path, pixels, mode=None):
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return ImageFile(path.with_name("picture.png"), "scratch", (path,))


def names(paths):
    return [path.name for path in paths]


def test_the_usual_layout_is_read(tmp_path):
    """Normal images to train on; labelled ones to test on, each defect with its mask."""
    touch(
        tmp_path,
        *("train/good/001.png", "train/good/000.png", "train/notes.txt"),
        *("test/good/000.png", "test/scratch/001.png", "test/scratch/000.png", "test/dent/5.jpg"),
        *("ground_truth/scratch/000_mask.png", "ground_truth/scratch/001.png"),
        "ground_truth/dent/5_mask.png",
    )

    folder = read_folder(tmp_path)

    truth = tmp_path / "ground_truth"
    assert folder.root == tmp_path
    assert names(folder.train) == ["000.png", "001.png"]
    assert folder.test == (
        ImageFile(tmp_path / "test/dent/5.jpg", "dent", (truth / "dent/5_mask.png",)),
        ImageFile(tmp_path / "test/good/000.png", "good"),
        ImageFile(tmp_path / "test/scratch/000.png", "scratch", (truth / "scratch/000_mask.png",)),
        ImageFile(tmp_path / "test/scratch/001.png", "scratch", (truth / "scratch/001.png",)),
    )
    assert has_masks(folder.test)
    assert describe_masks(folder) is None


@pytest.mark.parametrize(
    "masks",
    [
        pytest.param(["7_mask.PNG"], id="capitals"),
        pytest.param(["7.bmp"], id="another format"),
        pytest.param(["7/0.png", "7/1.TIF"], id="a folder a picture"),
        pytest.param(["7_mask/left.png"], id="a folder of a mask"),
        pytest.param(["7_mask.png", "7_mask.bmp"], id="two files"),
    ],
)
def test_masks_are_found_however_they_are_stored(tmp_path, masks):
    """The suffix may be of any picture, and several masks of a picture are all its masks."""
    touch(tmp_path, "train/good/0.png", "test/good/0.png", "test/dent/7.png", "test/dent/7.txt")
    touch(tmp_path, *(f"ground_truth/dent/{mask}" for mask in masks))

    folder = read_folder(tmp_path)

    (defect,) = [file for file in folder.test if not file.is_normal]
    assert {str(path.relative_to(tmp_path)) for path in defect.mask_paths} == {
        f"ground_truth/dent/{mask}" for mask in masks
    }
    assert describe_masks(folder) is None


def test_masks_that_do_not_fit_are_named(tmp_path):
    """Pictures without a mask and masks without a picture are counted, with the first names."""
    touch(
        tmp_path, "train/good/0.png", "test/good/0.png", *(f"test/dent/{n}.png" for n in range(6))
    )
    touch(tmp_path, "ground_truth/dent/0.png", "ground_truth/dent/one.png")
    touch(tmp_path, "ground_truth/scratch/1.png", "ground_truth/stray.png", "ground_truth/a.txt")

    said = describe_masks(read_folder(tmp_path))

    assert said == (
        "5 of 6 defect images have no mask, so there are no pixel figures: test/dent/1.png, "
        "test/dent/2.png, test/dent/3.png, ...; 3 masks belong to no test image by their name: "
        "ground_truth/stray.png, ground_truth/dent/one.png, ground_truth/scratch/1.png"
    )


def test_a_folder_without_any_mask_needs_no_word(tmp_path):
    """Nobody who drew no masks expects figures of pixels."""
    touch(tmp_path, "train/good/0.png", "test/good/0.png", "test/dent/1.png")

    assert describe_masks(read_folder(tmp_path)) is None


def test_masks_of_a_picture_are_united(tmp_path):
    """Each marks a part of what is wrong."""
    parts = [np.eye(4)[index] * np.ones((4, 1)) for index in (0, 3)]
    paths = [write_mask(tmp_path / f"{n}.png", part).mask_paths[0] for n, part in enumerate(parts)]

    masks = load_masks([ImageFile(tmp_path / "p.png", "dent", tuple(paths))], ImageSize.square(4))

    np.testing.assert_array_equal(masks[0], np.tile([True, False, False, True], (4, 1)))


@pytest.mark.parametrize(
    ("mask", "picture", "tag", "said"),
    [
        pytest.param((64, 48), (64, 48), 1, None, id="alike"),
        pytest.param((32, 24), (64, 48), 1, None, id="coarser"),
        pytest.param((33, 25), (64, 48), 1, None, id="rounded"),
        pytest.param((48, 64), (64, 48), 6, None, id="drawn on the upright picture"),
        pytest.param(
            (64, 48), (64, 48), 6, "it is 64 x 48, the picture 48 x 64", id="drawn on its side"
        ),
        pytest.param((64, 64), (64, 48), 1, "it is 64 x 64, the picture 64 x 48", id="a square"),
    ],
)
def test_a_mask_has_the_shape_of_its_picture(tmp_path, mask, picture, tag, said):
    """Otherwise its defects would be looked for in another place."""
    tags = Image.Exif()
    tags[0x0112] = tag  # how the camera was held
    Image.new("RGB", picture).save(tmp_path / "p.jpg", exif=tags)
    Image.new("L", mask, 255).save(tmp_path / "m.png")
    file = ImageFile(tmp_path / "p.jpg", "dent", (tmp_path / "m.png",))

    if said is None:
        check_masks([file])
    else:
        with pytest.raises(InvalidImageError, match=rf"m\.png: a mask must .*; {said}") as caught:
            check_masks([file])
        assert caught.value.reason == "mask_shape"


def test_the_grey_around_the_defect_of_a_jpeg_is_no_defect(tmp_path):
    """A JPEG's black is seldom 0."""
    pixels = np.full((16, 16), 9)
    pixels[:8, :8] = 250

    file = write_mask(tmp_path / "m.jpg", pixels)

    assert load_masks([file], ImageSize.square(16)).sum() == 64


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
    good = ImageFile(tmp_path / "0.png", "good")
    masked = ImageFile(tmp_path / "1.png", "dent", (tmp_path / "1_mask.png",))
    unmasked = ImageFile(tmp_path / "2.png", "dent")

    assert has_masks([good, masked])
    assert not has_masks([good, masked, unmasked])
    assert not has_masks([good])
    assert not has_masks([])


def test_masks_are_loaded_in_the_order_of_the_files(tmp_path):
    """A normal image has an empty mask; a defect has its own."""
    pixels = np.zeros((4, 4))
    pixels[3, 0] = 255
    defect = write_mask(tmp_path / "mask.png", pixels)

    masks = load_masks([ImageFile(tmp_path / "0.png", "good"), defect], ImageSize.square(4))

    assert masks.dtype == np.bool_
    assert not masks[0].any()
    np.testing.assert_array_equal(masks[1], pixels > 0)


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        pytest.param([0, 1, 85, 255], None, [False, True, True, True], id="grey levels"),
        pytest.param([0, 2, 0, 0], "P", [False, True, False, False], id="numbers of a palette"),
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

    np.testing.assert_array_equal(
        load_masks([file], ImageSize.square(4))[0], np.tile(expected, (4, 1))
    )


def test_a_mask_smaller_than_the_square_repeats_its_pixels(tmp_path):
    """Without holes between them."""
    file = write_mask(tmp_path / "mask.png", [[0, 255], [255, 0]])

    np.testing.assert_array_equal(
        load_masks([file], ImageSize.square(4))[0], np.kron([[0, 1], [1, 0]], np.ones((2, 2)))
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

    mask = load_masks([write_mask(mask_path, pixels)], ImageSize.square(size_px))[0]

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
    file = ImageFile(tmp_path / "test/dent/7.png", "dent")

    with pytest.raises(
        ConfigError, match=r"mask in ground_truth/dent/; got none for .*7\.png: bring 7_mask\.png"
    ):
        load_masks([file], ImageSize.square(4))


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
        load_masks([ImageFile(tmp_path / "0.png", "dent", (path,))], ImageSize.square(4))

    assert caught.value.reason == reason


def test_a_mask_that_marks_nothing_is_an_error(tmp_path):
    """A defect must not be scored as a normal image without a word."""
    file = write_mask(tmp_path / "0_mask.png", np.zeros((4, 4)))

    with pytest.raises(
        InvalidImageError, match=r"0_mask\.png: .*its largest value is 0: mark the defect in white"
    ):
        load_masks([file], ImageSize.square(4))


def test_what_is_no_file_is_passed_over_and_named(tmp_path, caplog):
    """A folder with a picture's name, and a link that leads nowhere; so it is for textures."""
    touch(tmp_path, "0.png", "x.png/1.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing.png")

    assert names(read_folder(tmp_path).train) == ["0.png"]
    assert names(texture_files(tmp_path)) == ["0.png", "1.png"]
    assert caplog.text.count("link.png is passed over: its link leads to no file") == 1
    assert caplog.text.count("x.png is passed over: it is no file") == 1
