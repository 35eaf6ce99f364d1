"""Models that take a minute to learn: a planted square stands out; see ``tests.learning``."""

import pytest

from tests import learning
from tests.learning import *  # noqa: F403  its tests, and the fixtures that they need


@pytest.fixture(scope="module", params=learning.SLOW)
def model(request: pytest.FixtureRequest) -> str:
    """Each such model in turn."""
    return request.param


def test_map_points_at_the_defect(model, learned, make_normal, plant_defect):
    """The map is higher there than elsewhere."""
    learning.check_map_points_at_the_defect(model, learned, make_normal, plant_defect)
