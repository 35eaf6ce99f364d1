"""A version carries a picture and its score, and says where it scores otherwise."""

from dataclasses import replace

import pytest

from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.errors import ModelFormatError
from reconad_plugin.images.size import ImageSize


@pytest.fixture
def tested(tiny_detector, make_normal):
    """A detector with its self-test."""
    return tiny_detector.with_self_test(make_normal(1, 5)[0].numpy())


def test_a_version_that_is_read_back_scores_as_before(tested, tmp_path):
    """Picture and score travel with the files."""
    save_detector(tested, tmp_path)

    loaded = load_detector(tmp_path)

    loaded.check_itself()
    assert loaded.self_test.pred_score == tested.self_test.pred_score
    assert (loaded.self_test.image == tested.self_test.image).all()


def test_other_weights_are_found_out(tested):
    """A network that scores otherwise is refused; so is a score that is no number."""
    for network_of in (lambda weight: weight.mul_(1.5), lambda weight: weight.fill_(float("nan"))):
        for weight in tested.engine.network.parameters():
            network_of(weight.data)

        with pytest.raises(ModelFormatError, match="must score its self-test image as when"):
            tested.check_itself()


def test_a_version_without_one_is_taken_as_it_is(tiny_detector, make_normal):
    """Versions of before have none, nor have large pictures."""
    tiny_detector.check_itself()

    large = replace(tiny_detector, image_size_px=ImageSize.parse("2048x2048"))
    assert large.with_self_test(make_normal(1, 5)[0].numpy()).self_test is None
