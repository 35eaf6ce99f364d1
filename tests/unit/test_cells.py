"""What each cell of a map shows at each position of the camera."""

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.watch.cells import KNOWN_NIGHTS, known_cells, summarise_cells

LEVELS = {"left": np.array([0.0, 2.0, 5.0]), "right": np.array([4.0, 1.0, 0.0])}
DEVIATIONS = np.array([0.1, 0.1, 0.4])


def table(seed, images=40, positions=("left", "right"), bump=(0.0, 0.0, 0.0)):
    """Maps of three cells; the first image has a bump."""
    random = np.random.default_rng(seed)
    position = [positions[place % len(positions)] for place in range(images)]
    cells = np.stack([LEVELS.get(name, LEVELS["left"]) for name in position])
    cells = cells + DEVIATIONS * random.standard_normal(cells.shape)
    cells[0] += bump
    return pd.DataFrame({"position": position, "map_cells": list(cells.astype(np.float32))})


def test_a_night_is_reduced_to_its_positions():
    """Counts, means and squared deviations of each cell, as by hand."""
    night = pd.DataFrame(
        {"position": ["a", "b", "a"], "map_cells": [[1.0, 5.0], [7.0, 8.0], [3.0, 5.0]]}
    )

    found = summarise_cells(night)

    assert found["position"].tolist() == ["a", "b"]
    assert found["images"].tolist() == [2, 1]
    np.testing.assert_allclose(np.stack(found["means"]), [[2, 5], [7, 8]])
    np.testing.assert_allclose(np.stack(found["squares"]), [[2, 0], [0, 0]])


def test_nights_together_tell_what_all_their_images_tell():
    """Levels and deviations are those of the images themselves, whatever night they came on."""
    nights = [table(seed, images=10 + 2 * seed) for seed in range(5)]
    whole = pd.concat(nights, ignore_index=True)

    known = known_cells([summarise_cells(night) for night in nights])

    cells = np.stack(whole["map_cells"])
    squares, count = 0, 0
    for name in ("left", "right"):
        own = cells[whole["position"] == name]
        np.testing.assert_allclose(known.levels[name], own.mean(0), rtol=1e-5)
        assert known.images[name] == len(own)
        squares, count = squares + np.square(own - own.mean(0)).sum(0), count + len(own) - 1
    deviation = np.sqrt(squares / count)
    np.testing.assert_allclose(known.deviation, np.maximum(deviation, np.median(deviation)), 1e-5)


@pytest.mark.parametrize(("cell", "deviations"), [(0, 8.0), (2, 8.0)])
def test_prominence_is_in_the_deviations_of_the_cell(cell, deviations):
    """The same step is much where normal images agree, and little where they do not."""
    known = known_cells([summarise_cells(table(seed)) for seed in range(20)])
    bump = np.zeros(3)
    bump[cell] = deviations * DEVIATIONS[cell]

    prominences = known.prominences(table(99, bump=bump))

    assert prominences[0] == pytest.approx(deviations, abs=3)
    assert prominences[1:].max() < 5


def test_a_defect_is_seen_where_its_position_shows_nothing_though_another_shows_more():
    """Brighter by ten deviations at the left, and still far below what the right always shows."""
    known = known_cells([summarise_cells(table(seed)) for seed in range(20)])
    tonight = table(99, bump=(1.0, 0.0, 0.0))

    assert known.prominences(tonight)[0] > 7
    assert tonight["map_cells"][0][0] < LEVELS["right"][0] - 2


def test_what_few_images_say_is_less_certain():
    """With one image a night at a position, a step counts for less than with twenty."""
    few = [summarise_cells(table(seed, images=2)) for seed in range(2)]
    many = [summarise_cells(table(seed, images=40)) for seed in range(2)]
    common = known_cells(many).deviation
    prominences = []
    for nights in (few, many):
        known = known_cells(nights)
        level = type(known)(known.images, LEVELS, common)
        prominences.append(level.prominences(table(99, images=1, bump=(1.0, 0.0, 0.0)))[0])

    assert prominences[0] < 0.85 * prominences[1]


def test_positions_that_are_not_known_are_left_out():
    """A position needs two nights; images at others are held against nothing."""
    nights = [summarise_cells(table(seed)) for seed in range(2)]
    nights.append(summarise_cells(table(3, positions=("left", "new"))))
    known = known_cells(nights)

    assert set(known.levels) == {"left", "right"}
    assert len(known.prominences(table(99, positions=("left", "new")))) == 20
    assert len(known.prominences(table(99, positions=("new",)))) == 0


def test_nothing_is_known_of_too_little():
    """No night, one night, and maps that never differ."""
    flat = pd.DataFrame({"position": "a", "map_cells": [[1.0, 1.0]] * 9})

    assert known_cells([]) is None
    assert known_cells([summarise_cells(table(1))]) is None
    assert known_cells([summarise_cells(flat)] * 3) is None


def test_only_the_newest_nights_count():
    """A world that has changed is forgotten after a month."""
    old = [summarise_cells(table(seed, bump=(9.0, 9.0, 9.0))) for seed in range(5)]
    new = [summarise_cells(table(seed)) for seed in range(KNOWN_NIGHTS)]

    np.testing.assert_array_equal(
        known_cells([*old, *new]).levels["left"], known_cells(new).levels["left"]
    )


def test_tables_without_maps_and_without_positions():
    """Without cells nothing can be said; without positions there is one place to stand."""
    with pytest.raises(ValueError, match="map_cells"):
        summarise_cells(pd.DataFrame({"pred_score": [0.1]}))

    found = summarise_cells(table(1).drop(columns="position"))

    assert found["position"].tolist() == [""]
    assert found["images"].tolist() == [40]


def test_nights_survive_parquet(tmp_path):
    """What is kept of a night is what later nights read."""
    nights = [summarise_cells(table(seed)) for seed in range(3)]
    kept = []
    for place, night in enumerate(nights):
        night.to_parquet(tmp_path / f"{place}.parquet")
        kept.append(pd.read_parquet(tmp_path / f"{place}.parquet"))

    before, after = known_cells(nights), known_cells(kept)

    np.testing.assert_array_equal(before.deviation, after.deviation)
    assert before.images == after.images
