"""Models that learn within seconds: a planted square stands out; see ``tests.learning``."""

import pytest

from reconad_plugin.networks.registry import MODELS
from tests import learning
from tests.learning import *  # noqa: F403  its tests, and the fixtures that they need
from tests.unit.conftest import DESCENDING

QUICK = [name for name in MODELS if name not in learning.SLOW]


@pytest.fixture(scope="module", params=QUICK)
def model(request: pytest.FixtureRequest) -> str:
    """Each such model in turn."""
    return request.param


# what the maps of features show is in test_fre.py
@pytest.mark.parametrize("model", [name for name in QUICK if name in DESCENDING], indirect=True)
def test_map_points_at_the_defect(model, learned, make_normal, plant_defect):
    """The map of a model that learns by descent is higher there than elsewhere."""
    learning.check_map_points_at_the_defect(model, learned, make_normal, plant_defect)
