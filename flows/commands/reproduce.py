"""``reconad reproduce``: a version trained again from its manifests, and held against itself."""

from math import isfinite

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import ReproduceOptions
from flows.jobs.reproducing import Reproduction, reproduce
from reconad_plugin.errors import NotReproducedError


def run(options: ReproduceOptions) -> None:
    """Train a version again and say whether it comes out the same.

    Raises:
        NotReproducedError: it does not.
    """
    check_writable(options.json)
    found = reproduce(options.product, options.version, options.device)
    write_json(_to_dict(options.product, found), options.json)
    number, weights = found.version.number, found.weights
    for line in _explain(found):
        print(line)
    if found.is_same:
        print(
            f"version {number} was trained again in {found.elapsed_s:.0f} s: the same. "
            f"{weights.tensors} tensors of {weights.numbers:,} numbers are equal, and so are the "
            f"scores of {found.images} held-out images"
        )
        return
    raise NotReproducedError(
        f"version {number}, trained again, differs {_how_much(found)}; "
        f"{found.steps[1]} steps, {found.steps[0]} then"
    )


def _how_much(found: Reproduction) -> str:
    """Write by how much it differs, weights first."""
    before, now = found.thresholds
    scores = (
        f"in scores of {found.images} held-out images by at most {found.score_difference:.3g} "
        f"(image threshold {before:.6g} then, {now:.6g} now)"
    )
    if (worst := found.weights.worst) is None:
        return f"{scores}, and not in its weights"
    name, largest = worst
    apart = f"by at most {largest:.3g}" if isfinite(largest) else "in shape"
    different = len(found.weights.different)
    return f"in {different} of {found.weights.tensors} tensors {apart} ({name}), and {scores}"


def _explain(found: Reproduction) -> list[str]:
    """Write what was not as it was; where nothing is known to be, say so of a version that came out
    otherwise."""
    changed = [f"{name} was {a}, is {b}" for name, (a, b) in found.environment.items()]
    lines = [*found.reasons, *changed]
    if not (lines or found.is_same):
        lines = ["images, settings, libraries and processor are as they were"]
    return lines


def _to_dict(product: str, found: Reproduction) -> dict[str, object]:
    """Return what stands in the JSON; None for a difference in shape."""
    finite = {
        name: largest if isfinite(largest) else None
        for name, largest in found.weights.different.items()
    }
    return {
        "product": product,
        "version": found.version.number,
        "is_same": found.is_same,
        "is_same_fingerprint": found.is_proven,
        "tensors": found.weights.tensors,
        "numbers": found.weights.numbers,
        "different": finite,
        "images": found.images,
        "score_difference": found.score_difference,
        "image_threshold": dict(zip(("then", "now"), found.thresholds, strict=True)),
        "steps": dict(zip(("then", "now"), found.steps, strict=True)),
        "elapsed_s": found.elapsed_s,
        "environment": {
            name: {"then": then, "now": now} for name, (then, now) in found.environment.items()
        },
        "reasons": list(found.reasons),
    }
