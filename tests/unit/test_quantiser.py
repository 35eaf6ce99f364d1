"""The codebook: nearest codes, what it learns, and what it leaves alone."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from reconad_plugin.networks.quantiser import (
    DEAD_BELOW,
    CodebookUse,
    Quantiser,
    perplexity_of,
)

SIZE, DIM = 12, 3


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


def noise(*shape, seed=1):
    """Normal numbers of a shape."""
    return torch.randn(*shape, generator=seeded(seed))


@pytest.fixture
def quantiser():
    """A codebook of known random codes, about to learn."""
    made = Quantiser(SIZE, DIM)
    made.sums.copy_(noise(SIZE, DIM))
    return made.train()


def state_of(quantiser):
    """A copy of all that it has gathered."""
    return {name: value.clone() for name, value in quantiser.state_dict().items()}


def is_same(state, other):
    """Whether two states are equal bit by bit."""
    return all(torch.equal(value, other[name]) for name, value in state.items())


def test_each_feature_becomes_its_nearest_code(quantiser):
    """Codes are those of an exhaustive search, and vectors are their entries."""
    features = noise(2, DIM, 4, 5, seed=2)

    found = quantiser(features)

    rows = features.movedim(1, -1).reshape(-1, DIM)
    distance = (rows[:, None] - quantiser.codebook[None]).norm(dim=2)
    assert torch.equal(found.codes.flatten(), distance.argmin(1))
    assert found.codes.shape == (2, 4, 5)
    expected = quantiser.codebook[found.codes].movedim(-1, 1)
    torch.testing.assert_close(found.vectors, expected)
    torch.testing.assert_close(quantiser.vectors(found.codes), expected)
    assert torch.equal(found.features, features)


def test_gradients_pass_as_if_nothing_had_been_replaced(quantiser):
    """The gradient at the features is the gradient at the vectors."""
    features = noise(2, DIM, 4, 4).requires_grad_()
    weight = noise(2, DIM, 4, 4, seed=3)

    (quantiser(features).vectors * weight).sum().backward()

    torch.testing.assert_close(features.grad, weight)


def test_low_precision_around_it_changes_no_code(quantiser):
    """Under autocast distances are still measured in float32."""
    features = noise(4, DIM, 16, 16)

    with torch.autocast("cpu", torch.bfloat16):
        inside = quantiser(features)

    assert torch.equal(inside.codes, quantiser(features).codes)
    assert inside.vectors.dtype == torch.float32


@pytest.mark.parametrize(
    ("training", "generator"),
    [
        pytest.param(False, seeded(), id="in eval mode"),
        pytest.param(True, None, id="without a generator"),
    ],
)
def test_nothing_is_gathered(quantiser, training, generator):
    """A codebook that does not learn is the same afterwards."""
    before = state_of(quantiser)

    quantiser.train(training)(noise(2, DIM, 4, 4), generator)

    assert is_same(state_of(quantiser), before)


def test_first_batch_gives_the_codes():
    """Codes start on features, each on another where there are enough."""
    features = noise(1, DIM, 4, 5)
    fresh = Quantiser(SIZE, DIM).train()

    found = fresh(features, seeded())

    rows = features.movedim(1, -1).reshape(-1, DIM)
    used = found.vectors.movedim(1, -1).reshape(-1, DIM)
    distance = (used[:, None] - rows[None]).norm(dim=2).amin(1)
    assert distance.max() < 1e-5
    assert len(found.codes.unique()) == SIZE


def test_codes_follow_the_mean_of_their_features(quantiser):
    """One batch moves sums and counts by the running mean's share, by hand."""
    quantiser.batches.fill_(1000)
    quantiser.counts.fill_(2.0)
    features = noise(2, DIM, 8, 8)
    sums, counts = quantiser.sums.clone(), quantiser.counts.clone()

    found = quantiser(features, seeded())

    rows = features.movedim(1, -1).reshape(-1, DIM)
    fell = torch.nn.functional.one_hot(found.codes.flatten(), SIZE).float()
    torch.testing.assert_close(quantiser.counts, 0.99 * counts + 0.01 * fell.sum(0))
    torch.testing.assert_close(quantiser.sums, 0.99 * sums + 0.01 * fell.T @ rows)


def test_early_batches_weigh_more():
    """While features still change quickly, codes forget where they started."""
    fresh = Quantiser(SIZE, DIM).train()
    for seed in range(40):
        fresh(noise(2, DIM, 8, 8, seed=seed), seeded())
    for seed in range(40):
        fresh(noise(2, DIM, 8, 8, seed=seed) + 10, seeded())

    assert fresh.codebook.mean() > 9


def test_dead_codes_move_to_features(quantiser):
    """A code that nothing falls to is taken away to a feature of the batch."""
    quantiser.batches.fill_(1000)
    quantiser.counts[3] = 0.5 * DEAD_BELOW
    quantiser.sums[3] = 100 * quantiser.counts[3]
    features = noise(2, DIM, 8, 8)

    quantiser(features, seeded())

    rows = features.movedim(1, -1).reshape(-1, DIM)
    assert (rows - quantiser.codebook[3]).norm(dim=1).min() < 1e-4
    assert quantiser.counts[3] >= DEAD_BELOW * quantiser.counts.mean()


def test_codes_in_use_are_not_moved(quantiser):
    """Only dead codes move: with all alive nothing is drawn."""
    quantiser.batches.fill_(1000)
    generator = seeded()
    before = generator.get_state()

    quantiser(noise(2, DIM, 8, 8), generator)

    assert torch.equal(generator.get_state(), before)


def test_state_is_all_there_is():
    """A codebook from a state dict goes on as the first one, bit by bit."""
    first, second = Quantiser(SIZE, DIM).train(), Quantiser(SIZE, DIM).train()
    generator = seeded()
    for seed in range(5):
        first(noise(1, DIM, 4, 4, seed=seed), generator)
    second.load_state_dict(first.state_dict())
    resumed = seeded()
    resumed.set_state(generator.get_state())

    for seed in range(5, 10):
        first(noise(1, DIM, 4, 4, seed=seed), generator)
        second(noise(1, DIM, 4, 4, seed=seed), resumed)

    assert is_same(first.state_dict(), second.state_dict())


def test_same_features_all_over_collapse():
    """Where there is one feature only, the perplexity tells."""
    collapsed = Quantiser(64, DIM).train()
    generator = seeded()

    for _ in range(300):
        collapsed(torch.ones(2, DIM, 8, 8), generator)

    assert collapsed.perplexity < 4


def test_varied_features_use_the_whole_codebook():
    """On spread features nearly all codes are in use."""
    spread = Quantiser(64, DIM).train()
    generator = seeded()

    for seed in range(100):
        spread(noise(2, DIM, 16, 16, seed=seed), generator)

    use = CodebookUse.of(spread(noise(8, DIM, 16, 16, seed=200)).codes, spread.size)
    assert use.used >= 60
    assert use.perplexity > 32
    assert spread.perplexity > 32


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([5.0, 5.0, 5.0, 5.0], 4.0, id="all alike"),
        pytest.param([7.0, 0.0, 0.0], 1.0, id="one has all"),
        pytest.param([2.0, 1.0, 1.0], 2**1.5, id="a half and two quarters"),
    ],
)
def test_perplexity_by_hand(counts, expected):
    """The exponential of the entropy."""
    assert perplexity_of(torch.tensor(counts)) == pytest.approx(expected)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any))
def test_perplexity_is_between_one_and_the_number_in_use(counts):
    """However codes are used."""
    found = perplexity_of(torch.tensor(counts))

    assert 1 - 1e-9 <= found <= sum(count > 0 for count in counts) + 1e-9


def test_use_counts_codes():
    """Size, codes that occur, and their perplexity."""
    use = CodebookUse.of(torch.tensor([[0, 0], [2, 2]]), 5)

    assert (use.size, use.used) == (5, 2)
    assert use.perplexity == pytest.approx(2.0)


def test_ranking_is_by_distance(quantiser):
    """Each row begins with the code itself, and distances never fall along it."""
    ranking = quantiser.ranking().long()

    assert ranking[:, 0].tolist() == list(range(SIZE))
    assert torch.equal(ranking.sort(1).values, torch.arange(SIZE).expand(SIZE, SIZE))
    distance = torch.cdist(quantiser.codebook, quantiser.codebook).gather(1, ranking)
    assert (distance.diff(dim=1) >= -1e-5).all()
    assert math.isclose(float(distance[:, 0].max()), 0, abs_tol=1e-3)
