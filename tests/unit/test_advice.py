"""Which model is advised for what is known, and what pictures tell of themselves."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.advice.facts import (
    Facts,
    Machine,
    PictureFacts,
    defect_share,
    look_at,
    smallest_share,
    spread_evenly,
    summarise,
)
from reconad_plugin.advice.rules import COSTS, RULES, advise
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.networks.registry import MODELS

SMOOTH = PictureFacts(images=500, width_px=512, height_px=512, grain=0.2, alike=0.4)
TWO_CORES = Machine(cores=2, memory_bytes=8 * 10**9, has_cuda=False)
USUAL = Facts(pictures=SMOOTH, machine=TWO_CORES, has_features=True)


def facts(images=500, grain=0.2, alike=0.4, **others):
    """Facts of smooth parts that lie any way, on two cores, without a budget."""
    pictures = replace(SMOOTH, images=images, grain=grain, alike=alike)
    return replace(USUAL, pictures=pictures, **others)


def test_every_rule_names_a_model_that_has_a_cost():
    """And none names the baseline."""
    assert {rule.model for rule in RULES} == set(COSTS) <= set(MODELS)
    assert "ganomaly" not in COSTS


@pytest.mark.parametrize(
    ("images", "smooth", "grainy", "alike"),
    [
        pytest.param(9, None, None, None, id="9: none"),
        pytest.param(10, "fre", "fre", "fre", id="10"),
        pytest.param(19, "fre", "fre", "fre", id="19"),
        pytest.param(20, "fre", "fre", "fre", id="20"),
        pytest.param(49, "fre", "fre", "fre", id="49"),
        pytest.param(50, "fre", "dsr", "fre", id="50: dsr from here on"),
        pytest.param(99, "fre", "dsr", "fre", id="99"),
        pytest.param(100, "fre", "dsr", "ae", id="100: ae from here on"),
    ],
)
def test_number_of_images_leads_to_the_model(images, smooth, grainy, alike):
    """For smooth parts, for natural textures, and for a fixed camera."""
    assert advise(facts(images)).model == smooth
    assert advise(facts(images, grain=0.5)).model == grainy
    assert advise(facts(images, grain=0.5, alike=0.9)).model == alike


@pytest.mark.parametrize(
    ("images", "model"), [pytest.param(19, "fre", id="19"), pytest.param(20, "draem", id="20")]
)
def test_small_defects_are_for_draem_from_twenty_images_on(images, model):
    """A defect of 5 px of 512 spans 2.5 px of what fre sees."""
    advice = advise(facts(images, smallest_defect_px=5))

    assert advice.model == model
    assert ("uncertain" in " ".join(advice.remarks)) == (images < 20)


def test_under_ten_images_it_says_what_fits():
    """And gives no size and no minutes."""
    advice = advise(facts(9))

    assert (advice.model, advice.image_size_px, advice.minutes) == (None, None, None)
    assert advice.model_reason.startswith("9 normal images are too few")
    assert "zero-shot method, which needs none, such as WinCLIP" in advice.model_reason


@pytest.mark.parametrize(
    ("defects", "is_said"), [pytest.param(99, False, id="99"), pytest.param(100, True, id="100")]
)
def test_many_labelled_defects_are_for_a_classifier(defects, is_said):
    """A model is advised all the same."""
    advice = advise(facts(labelled_defects=defects))

    assert advice.model == "fre"
    assert ("supervised classifier" in " ".join(advice.remarks)) == is_said


@pytest.mark.parametrize(
    ("defect_px", "size_px"),
    [
        pytest.param(64, 128, id="large: the usual size"),
        pytest.param(16, 128, id="4 px at the usual size"),
        pytest.param(15, 256, id="less than 4 px there"),
        pytest.param(4, 512, id="the pictures' own size"),
        pytest.param(1, 512, id="and never more than that"),
    ],
)
def test_a_defect_spans_four_pixels_of_the_input(defect_px, size_px):
    """Of pictures 512 px wide, as a fixed camera takes them."""
    advice = advise(facts(alike=0.9, smallest_defect_px=defect_px))

    assert (advice.model, advice.image_size_px) == ("ae", size_px)
    assert f"spans {defect_px * size_px / 512:.1f} px" in advice.size_reason
    assert ("bring pictures from nearer" in advice.size_reason) == (defect_px < 4)


@pytest.mark.parametrize(
    ("scarce", "said"),
    [
        pytest.param({"budget_s": 300}, "512 px need more time", id="time"),
        pytest.param(
            {"machine": replace(TWO_CORES, memory_bytes=2 * 10**9)},
            "512 px need more memory",
            id="memory",
        ),
    ],
)
def test_what_a_size_lacks_is_said(scarce, said):
    """The largest size that fits is advised."""
    advice = advise(facts(alike=0.9, smallest_defect_px=4, **scarce))

    assert (advice.model, advice.image_size_px) == ("ae", 256)
    assert said in advice.size_reason


def test_what_a_model_lacks_is_said():
    """Where the first choice does not fit, the next does, and it is told why."""
    advice = advise(facts(grain=0.5, budget_s=300))

    assert advice.model == "fre"
    assert advice.remarks == (
        "dsr would be the choice, but at 128 px it needs 16 min, and may take 5 min",
    )


def test_a_budget_that_fits_nothing_is_said():
    """The quickest is advised then."""
    advice = advise(facts(budget_s=1))

    said = "at 256 px it needs 13 s, and may take 1 s"
    assert advice.model == "fre"
    assert advice.remarks == (f"none fits at its usual size, and fre is nearest: {said}",)


def test_more_hardware_takes_less_time():
    """Minutes are an estimate, and say so."""
    slow, quick, cuda = (
        advise(facts(alike=0.9, machine=machine))
        for machine in (
            TWO_CORES,
            replace(TWO_CORES, cores=4),
            replace(TWO_CORES, has_cuda=True),
        )
    )

    assert slow.minutes == 2 * quick.minutes > 10 * cuda.minutes > 0
    assert slow.minutes_reason == "an estimate: 5,000 steps of 0.14 s on 2 cores"
    assert cuda.minutes_reason.endswith("on a GPU")


def test_a_budget_ends_a_training():
    """It is then the time."""
    advice = advise(facts(alike=0.9, budget_s=120))

    assert (advice.model, advice.minutes) == ("ae", 2)
    assert advice.minutes_reason.endswith("ended by the budget")


def test_weights_that_are_missing_are_named():
    """And what is taken until they are there."""
    without = facts(50, has_features=False)

    advice, ready = advise(without), advise(without, is_ready_only=True)

    assert (advice.model, ready.model) == ("fre", "draem")
    assert "pip install 'reconad[features]'" in advice.remarks[0]
    assert advice.remarks[0].endswith('model = "auto" takes draem')
    assert advise(replace(without, budget_s=300), is_ready_only=True).model == "ae"


def test_pictures_tell_grain_and_size(encode):
    """Noise is grainier than a ramp, whatever its brightness."""
    source = np.random.default_rng(0)
    noise = source.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, 60, dtype=np.uint8)[None, :, None], (40, 60, 3))

    looks = [look_at(encode(each, "PNG"), ImageLimits()) for each in (noise, ramp, ramp // 3)]

    assert looks[0].size_px == (60, 40)
    assert looks[0].grain > 0.3 > 0.1 > looks[1].grain
    assert looks[2].grain == pytest.approx(looks[1].grain, rel=0.05)


def test_pictures_tell_whether_they_are_alike(encode):
    """One part in noise is alike at its position; parts of all kinds are not; one says nothing."""
    source = np.random.default_rng(0)
    parts = source.integers(0, 200, (2, 16, 16, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)

    def look(part):
        noisy = (part + source.integers(0, 30, part.shape)).astype(np.uint8)
        return look_at(encode(noisy, "PNG"), ImageLimits())

    looks = [look(parts[number % 2]) for number in range(12)]
    others = [
        look(source.integers(0, 200, (16, 16, 3)).repeat(8, 0).repeat(8, 1)) for _ in range(12)
    ]

    assert summarise(looks, ["left", "right"] * 6, 12).alike > 0.9
    assert 0.2 < summarise(looks, [""] * 12, 12).alike < 0.7
    assert abs(summarise(others, [""] * 12, 12).alike) < 0.2
    assert summarise(looks[:1], [""], 1).alike is None


def test_masks_tell_the_smallest_defect(encode):
    """A square of 8 px is a fifth of a picture as large as one of 40; one speck among ten does not
    count."""
    mask = np.zeros((20, 80), np.uint8)
    mask[2:10, 5:13] = 255

    assert defect_share(encode(mask, "PNG")) == pytest.approx(0.2)
    assert smallest_share([0.01] + [0.2] * 19) == pytest.approx(0.2)
    assert smallest_share([]) is None


def test_many_pictures_are_looked_at_evenly():
    """First and last are among them."""
    chosen = spread_evenly(1000)

    assert (chosen[0], chosen[-1], len(chosen)) == (0, 999, 200)
    assert spread_evenly(0) == []
