"""A lens's distortion is taken out as OpenCV does it, and put back; what is no calibration is
refused."""

import json

import numpy as np
import pytest

from reconad_plugin.errors import ConfigError, InvalidImageError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.lens import Lens, limits_with, seen_at
from reconad_plugin.images.lens_file import parse_lens
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.lens import read_lens

# as OpenCV 4 writes it; OpenCV 5 begins with "%YAML 1.2"
FILE = """%YAML:1.0
---
calibration_time: "Mon 30 Nov"
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.2029999999999995e+02, 0., 331.69999999999999, 0.,
       518.89999999999998, 228.40000000000001, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: {count}
   cols: 1
   dt: d
   data: [ {values} ]
avg_reprojection_error: 0.31
"""
FOUR = (-0.28, 0.09, 0.001, -0.0008)
# coefficients -> corners of the least frame, and where its map (initUndistortRectifyMap) leads from
# pixels (0, 0), (500, 100) and (320, 479); by OpenCV 5.0.0
BY_OPENCV = [
    pytest.param(
        FOUR,
        [-0.78091, -0.53763, 0.71671, 0.5914],
        [(-1.986, 0.168), (521.67, 82.213), (316.839, 508.632)],
        id="4 coefficients",
    ),
    pytest.param(
        (*FOUR, -0.012),
        [-0.79632, -0.546, 0.72643, 0.60305],
        [(-3.007, 0.43), (523.407, 80.435), (315.55, 513.04)],
        id="5 coefficients",
    ),
    pytest.param(
        (0.1, 0.02, 0.001, -0.0008, 0.003, 0.35, 0.04, 0.001),
        [-0.78231, -0.53608, 0.71324, 0.59246],
        [(-3.127, 0.457), (521.515, 81.9), (315.559, 511.275)],
        id="8 coefficients",
    ),
    pytest.param(
        (-0.2, 0.05, 0.001, 0.002, -0.01, 0.01, 0.002, 0.001, 0.003, -0.001, 0.002, 0.0005),
        [-0.76458, -0.52423, 0.67853, 0.57237],
        [(-2.482, 0.31), (513.5, 82.427), (312.069, 506.699)],
        id="12 coefficients",
    ),
]


def written(values=FOUR):
    """A calibration file."""
    text = FILE.format(count=len(values), values=", ".join(map(str, values)))
    return text.encode()


def lens_of(*values):
    return parse_lens(written(values), "camera.yml")


@pytest.mark.parametrize(("coefficients", "frame", "seen"), BY_OPENCV)
def test_points_are_where_opencv_has_them(coefficients, frame, seen):
    """Its own calls, on the same file, are the oracle."""
    lens = parse_lens(written(coefficients), "camera.yml")

    found = seen_at(lens, ImageSize(480, 640))

    np.testing.assert_allclose(np.concatenate(lens.frame), frame, atol=1e-5)
    at = [found[0, 0], found[100, 500], found[479, 320]]
    np.testing.assert_allclose(at, seen, atol=1e-3)


def test_fourteen_coefficients_without_a_tilt_are_twelve():
    """OpenCV writes as many as its flags ask for."""
    twelve = BY_OPENCV[3].values[0]

    assert lens_of(*twelve, 0, 0).coefficients == lens_of(*twelve).coefficients == twelve


def test_json_and_opencv_5_are_read_as_yaml():
    """One lens, in three spellings."""
    matrices = [
        {"type_id": "opencv-matrix", "rows": rows, "cols": columns, "dt": "d", "data": data}
        for rows, columns, data in (
            (3, 3, [520.3, 0.0, 331.7, 0.0, 518.9, 228.4, 0.0, 0.0, 1.0]),
            (1, 4, FOUR),
        )
    ]
    names = ("image_width", "image_height", "camera_matrix", "distortion_coefficients")
    spelt = json.dumps(dict(zip(names, (640, 480, *matrices), strict=True)), indent=4).encode()

    told = [
        (each.focal, each.centre, each.coefficients, each.shape)
        for each in (
            parse_lens(content, "camera")
            for content in (written(), spelt, written().replace(b"YAML:1.0", b"YAML 1.2"))
        )
    ]

    assert told[0] == told[1] == told[2]


def test_a_straight_lens_changes_nothing(speckle):
    """Not a single level."""
    images = speckle.transpose(2, 0, 1)[None]
    lens = Lens(64, 40, (50.0, 50.0), (31.5, 19.5), (0.0,) * 12, "")

    np.testing.assert_array_equal(lens.straighten(images), images)
    maps = images[:, 0].astype(np.float32)
    np.testing.assert_allclose(lens.bend(maps), maps, atol=1e-3)


@pytest.fixture(scope="module")
def bent_line():
    """What the camera shows of a straight line: white pixels of a (96, 128) picture."""
    lens = lens_of(*FOUR)
    low, high = lens.frame
    x = np.linspace(low[0], high[0], 2000)
    bent = lens._bent(np.stack([x, np.full_like(x, 0.75 * low[1])], -1))
    u, v = ((bent * lens.focal + lens.centre) / 5).T
    picture = np.zeros((96, 128), np.uint8)
    inside = (u >= 0) & (u < 128) & (v >= 0) & (v < 95)
    for thick in (0, 1):
        picture[v[inside].astype(int) + thick, u[inside].astype(int)] = 255
    return picture


def rows_of(picture):
    """Mean row of what is bright, by column, but for the edges."""
    weights = picture[:, 6:-6].astype(float)
    return (weights * np.arange(96)[:, None]).sum(0) / weights.sum(0)


def test_a_line_becomes_straight_and_bends_again(bent_line):
    """A picture of a fifth of the calibrated size, in which the line is bent by four pixels."""
    lens = lens_of(*FOUR)

    straight = lens.straighten(np.stack([bent_line] * 3)[None])[0, 0]
    again = lens.bend(straight[None].astype(np.float32))[0]

    assert np.ptp(rows_of(bent_line)) > 3
    assert np.ptp(rows_of(straight)) < 1
    assert np.abs(rows_of(again) - rows_of(bent_line)).max() < 0.6


def test_all_that_the_camera_shows_is_still_seen():
    """A mark in each corner and at each edge of its picture is in the straight one."""
    lens, marks = lens_of(*FOUR), []
    for row in (1, 24, 46):
        for column in (1, 32, 62):
            picture = np.zeros((1, 3, 48, 64), np.uint8)
            picture[..., row - 1 : row + 2, column - 1 : column + 2] = 255
            marks.append(lens.straighten(picture).max())

    assert min(marks) > 200


def test_masks_are_straightened_to_the_nearest_pixel():
    """Of any number of leading dimensions; a region that vanishes is refused."""
    lens, mask = lens_of(*FOUR), np.zeros((48, 64), np.bool_)
    mask[10:30, 20:50] = True

    both = lens.straighten_mask(np.stack([mask, ~mask]))

    assert (both[0] == ~both[1]).all()
    assert lens.straighten_region(Region({"": mask})).masks[""].tolist() == both[0].tolist()
    levels = lens.straighten(np.stack([mask.astype(np.uint8) * 255] * 3)[None])[0, 0]
    assert ((levels > 127) == both[0]).mean() > 0.98


def test_a_picture_of_another_shape_is_refused(encode):
    """It is named with both shapes; the same shape in another resolution is none of them."""
    limits = limits_with(lens_of(*FOUR), ImageLimits(min_side_px=3))
    fits, upright = np.zeros((48, 64, 3), np.uint8), np.zeros((64, 48, 3), np.uint8)

    assert decode_image(encode(fits, "PNG"), limits).shape == fits.shape
    with pytest.raises(
        InvalidImageError, match="640 x 480 in any resolution; got 48 x 64"
    ) as error:
        decode_image(encode(upright, "PNG"), limits)
    assert error.value.reason == "other_shape"
    turned = encode(
        upright,
        "JPEG",
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
    )
    assert decode_image(turned, limits).shape == fits.shape


BROKEN = [
    pytest.param(b"\xff\xd8\xff\xe0 jpeg", "must be YAML or JSON as OpenCV", id="JPEG"),
    pytest.param(b"[1, 2", "must be YAML or JSON as OpenCV's FileStorage", id="cut off"),
    pytest.param(b"", "must have the keys image_width, .* it has none", id="empty"),
    pytest.param(b"a: !!python/object:os.system {}", "must be YAML or JSON", id="an object"),
    pytest.param(
        written().replace(b"camera_matrix", b"K"), "camera_matrix is missing", id="no such key"
    ),
    pytest.param(
        written((0.1, 0.1)), "distortion_coefficients must be a matrix of .*; got 2 x 1", id="two"
    ),
    pytest.param(
        written().replace(b"rows: 3", b"rows: 2"), "of 3 x 3; got 2 x 3 with 9", id="2 x 3"
    ),
    pytest.param(
        written().replace(b", 0., 1. ]", b", 1. ]"),
        "of 3 x 3; got 3 x 3 with 8",
        id="eight numbers",
    ),
    pytest.param(written().replace(b"-0.28", b".Nan"), "finite numbers alone; got .Nan", id="NaN"),
    pytest.param(written().replace(b"-0.28", b".inf"), "finite numbers alone; got inf", id="inf"),
    pytest.param(
        written().replace(b"5.2029999999999995e+02", b"0."), "above 0; got", id="no focus"
    ),
    pytest.param(written().replace(b": 640", b": 640.5"), "whole number of pixels", id="half"),
    pytest.param(written().replace(b": 640", b": 0"), "from 1 to 100,000; got 0", id="no width"),
    pytest.param(
        written().replace(b": !!opencv-matrix", b": none #", 1), "YAML or JSON", id="no matrix"
    ),
    pytest.param(written((*FOUR, *[0] * 9, 0.1)), "last two of 14 .* must be 0", id="tilt"),
    pytest.param(written() + b"fisheye_model: 1\n", "of a fisheye", id="fisheye"),
    pytest.param(written((-1.0, 0, 0, 0)), "bend the picture and not fold it over", id="folds"),
    pytest.param(
        written((0, 0, 9.0, 0)), "bend the picture and not fold it over", id="folds aside"
    ),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_what_is_no_calibration_is_refused(content, message):
    """The message names the file and the rule."""
    with pytest.raises(ConfigError, match=rf"lens camera.yml: .*{message}"):
        parse_lens(content, "camera.yml")


def test_a_setting_leads_to_a_file(tmp_path):
    """None to none; the hash is that of the file."""
    file = tmp_path / "camera.yml"
    file.write_bytes(written())

    assert read_lens(None) is None
    assert read_lens(str(file)) == lens_of(*FOUR)
    file.write_bytes(written() + b"# again\n")
    assert read_lens(str(file)).sha256 != lens_of(*FOUR).sha256
    for address in (str(tmp_path / "none.yml"), str(tmp_path)):
        with pytest.raises(ConfigError, match="must be a file that can be read"):
            read_lens(address)
    with pytest.raises(ConfigError, match=r"an S3 address of a file is s3://bucket/key"):
        read_lens("s3://bucket")
