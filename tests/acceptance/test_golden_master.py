"""The code decides on frozen histories as it always did: what is learnt, held, judged and raised.

The histories were played with the code of commit 90429d5: the fourteen nights of the demo, and
thirty nights of a made-up part with a rollback, reviews, late images, a rerun night, a night that
died, and versions that were put back by hand. ``EXPECTED=write`` in the environment takes what is
decided now as what is expected from then on; a page of docs/decisions explains every such change.
"""

import os
from pathlib import Path

import pytest

from flows.platform.servers import EmbeddedPlatform
from tests.golden_master.dump import dump_history
from tests.golden_master.history import PRODUCTS, expected_file, write_settings


@pytest.mark.parametrize("product", PRODUCTS)
def test_decisions_are_as_before(
    product: str, platform: EmbeddedPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte; what was decided is left beside, to be compared."""
    monkeypatch.setenv("RECONAD_CONFIG", str(write_settings(product, tmp_path)))
    decided, expected = tmp_path / f"{product}.decided.json", expected_file(product)

    decided.write_text(dump_history(product), encoding="utf-8")
    if os.environ.get("EXPECTED") == "write":
        expected.write_bytes(decided.read_bytes())

    assert decided.read_bytes() == expected.read_bytes(), f"compare {decided} with {expected}"
