"""The code decides on frozen histories as it always did: what is learnt, held, judged and raised.

See ``tests.golden_master.record`` for how a history is made, and how a change that is meant is
written down.
"""

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
    decided = tmp_path / f"{product}.decided.json"

    decided.write_text(dump_history(product), encoding="utf-8")

    expected = expected_file(product)
    assert decided.read_bytes() == expected.read_bytes(), f"compare {decided} with {expected}"
