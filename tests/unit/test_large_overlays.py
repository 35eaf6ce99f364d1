"""Overlays of large pictures, which take memory at their full size."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from mlflow_models.serving import pyfunc
from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector import prediction

CLIENTS = 4


@pytest.mark.parametrize(
    ("large_px", "waits"),
    [pytest.param(1, True, id="large"), pytest.param(2**22, False, id="small")],
)
def test_overlays_of_large_pictures_are_drawn_one_by_one(
    tiny_detector, encode, make_normal, monkeypatch, large_px, waits
):
    """Though as many requests ask for one as the server has threads."""
    monkeypatch.setattr(prediction, "SIDE_BY_SIDE_PIXELS", large_px)
    at_work, drawn_at_once = [], []

    def draw(*args):
        at_work.append(args)
        time.sleep(0.3)  # others come meanwhile, if they may
        drawn_at_once.append(len(at_work))
        at_work.pop()
        return b"drawn"

    monkeypatch.setattr(pyfunc, "draw_overlay", draw)
    served = pyfunc.DetectorPyfunc(ServedVersion(tiny_detector, "1"))
    picture = encode(np.asarray(make_normal(1, 5)[0].permute(1, 2, 0)), "PNG")
    rows = pd.DataFrame({"image": [base64.b64encode(picture).decode()]})

    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(served.predict, rows, {"overlay": True}) for _ in range(CLIENTS)]
        answers = [each.result() for each in asked]

    assert {answer["overlay"][0] for answer in answers} == {base64.b64encode(b"drawn").decode()}
    assert (max(drawn_at_once) == 1) is waits
