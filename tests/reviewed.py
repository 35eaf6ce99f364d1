"""A bucket with nights that wait for a person, for the tests of the review page."""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import uvicorn

from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.errors import ConfigError
from reconad_plugin.gate.threshold_trial import Trial, gather_trial
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.manifest import (
    IntakeRules,
    accepted_rows,
    build_manifest,
    write_manifest,
)
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from tests.night_tables import record

QUIET, HELD = date(2026, 5, 3), date(2026, 5, 4)
TOKEN = "token-of-the-tests"
NOW = "2026-05-05T06:12:00+00:00"
PAGE = f"/products/bolt/nights/{HELD}"
VERSION = "1"
CALIBRATED = 0.75
EXPLANATION = (
    "Many images show what normal images do not: 25 of 30 are suspects, usually 1 of 30. Look at "
    "them. Nothing of this night is learnt until a person decides on its images."
)


def no_version(number):
    """What loading a version ends with where it is gone."""
    raise ConfigError(f"a version must be one of reconad-bolt; got {number}")


@dataclass
class ReviewBucket:
    """One product's side of a bucket, with what reconad wrote of it."""

    store: ObjectStore
    put: Callable[[str, bytes], None]  # writes an object, as only the factory may
    folder: Path  # of the cache
    product: str = "bolt"
    position_pattern: str | None = None
    load_detector: Callable = no_version
    settings: tuple = ()  # thresholds that persons set

    def __post_init__(self):
        self.layout = ProductLayout(self.product)
        self.records = NightRecords(self.store, self.layout)
        self.cache = ContentCache(self.folder)

    @property
    def reviewed(self):
        """The product as the page opens it."""
        return ReviewedProduct(
            self.product, self.store, self.cache, self.layout, self.records, ImageLimits(),
            lambda number: self.load_detector(number), self.open_trial, self.set_threshold,
        )  # fmt: skip

    def open_trial(self):
        """What tells which threshold is right, of the images that have a score."""
        ledger = read_ledger(self.store, self.layout, self.records, History())
        golden = read_golden_images(self.store, self.cache, self.layout, ImageLimits())
        images = gather_trial(ledger, golden, VERSION).dropna(subset="score")
        nights = {str(QUIET): CALIBRATED, str(HELD): 2 * CALIBRATED}
        return Trial(VERSION, CALIBRATED, self.settings, images, nights)

    def set_threshold(self, version, setting, seen):
        """Set one where so many were seen."""
        assert version == VERSION
        if seen != len(self.settings):
            raise ConfigError("somebody was faster: look again")
        self.settings = (*self.settings, setting)
        return self.settings

    def ingest(self, night: date, pictures: Mapping[str, bytes]):
        """Deliver pictures by name, and write the night's manifest; its accepted rows."""
        for name, content in pictures.items():
            self.put(f"{self.layout.incoming(night)}{name}", content)
        rules = IntakeRules(ImageLimits(), self.position_pattern)
        manifest = build_manifest(self.store, self.cache, self.layout, night, rules)
        write_manifest(self.store, self.layout, night, manifest)
        return accepted_rows([manifest])

    def watch(self, night: date, rows, cause="none", scored=None):
        """Write scores, record and review of a night that was taken in.

        Without a table of scores they rise with the names, and the highest tenth are suspects.
        """
        if scored is None:
            scores = np.linspace(0.1, 1.1, len(rows))
            scored = rows.assign(
                pred_score=scores, matched_score=scores, pred_label=scores > 1, p_value=0.2,
                is_suspect=scores > 1, model_version=VERSION,
            )  # fmt: skip
        kept = scored.drop(columns="map_cells", errors="ignore")
        self.records.write_scores(night, kept)
        said = record(night, cause, model_version=VERSION, explanation=EXPLANATION)
        self.records.write_record(night, said)
        waiting = scored if said.is_holding else scored[scored["is_suspect"]]
        otherwise = f"night held: {cause}" if said.is_holding else "scored anomalous"
        why = waiting["is_suspect"].map({True: "suspect", False: otherwise})
        self.records.ask_for_review(night, waiting.assign(why=why))


@contextmanager
def served(app):
    """The page on a port of this machine; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
