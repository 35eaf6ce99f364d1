"""Calibration files of a camera, as OpenCV writes them."""

from typing import Final

MILD: Final = (-0.1, 0.02, 0.001, -0.0008)  # coefficients that bend a picture a little


def lens_file(width_px: int, height_px: int) -> str:
    """A calibration of a mild lens, in the middle of pictures of this size."""
    focal, values = 0.8 * width_px, ", ".join(map(str, MILD))
    return f"""%YAML:1.0
---
image_width: {width_px}
image_height: {height_px}
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ {focal}, 0., {width_px / 2}, 0., {focal}, {height_px / 2}, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: {len(MILD)}
   dt: d
   data: [ {values} ]
"""
