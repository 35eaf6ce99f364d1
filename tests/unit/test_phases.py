"""Trainings in phases: how the budget is split, and how they go on after a kill."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.errors import CodebookCollapsedError, ConfigError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import hash_weights
from reconad_plugin.networks.registry import MODELS, model_spec
from reconad_plugin.networks.vq import build_vq
from reconad_plugin.networks.vq_weights import read_vq
from reconad_plugin.training import loop, phases
from reconad_plugin.training.checkpoint import CHECKPOINT_FILE, remove_checkpoint
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.phases import train_phases
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.report import TrainingReport

pytestmark = pytest.mark.usefixtures("tiny_models")

DSR = ProductSettings(model="dsr", image_size_px=32)
STEPS = TrainingSettings(steps=20, batch_size=4)
SHARES = {"vq": 7, "subspaces": 10, "upsampler": 3}  # of 20 steps


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def images(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(8, 1), make_normal(4, 2), make_normal(2, 3))


@pytest.fixture(scope="module", autouse=True)
def one_validation():
    """One validation a phase, and a checkpoint after each step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "VALIDATIONS", 1)
        patch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
        patch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
        yield


@pytest.fixture(scope="module")
def whole(images, tiny_models, one_validation):
    """A detector, and its report, of a training that nothing interrupts."""
    return fit_detector(images, DSR, STEPS)


@pytest.fixture
def vq():
    """An untrained autoencoder that is larger than the product's width says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build_vq(ImageSize.square(32), width=24, code_dim=12, codes=40).eval()


def assert_same(detector, other):
    """Two detectors with the same weights."""
    state = other.engine.network.state_dict()
    for name, value in detector.engine.network.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_steps_are_split_by_the_shares(whole):
    """Each phase takes its share, and the report counts them all."""
    _, report = whole

    assert report.phases == SHARES
    assert report.steps == report.planned_steps == 20
    assert (report.ended_by, report.resumed_step) == ("steps", 0)
    assert 17 < report.best_step <= 20
    steps = [point.step for point in report.curve]
    assert steps == sorted(steps)
    assert [point.phase for point in report.curve] == list(SHARES)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(100, (35, 50, 15), id="100"),
        pytest.param(5, (2, 2, 1), id="5"),
        pytest.param(3, (1, 1, 1), id="3"),
        pytest.param(1, (1, 1, 1), id="fewer than phases"),
    ],
)
def test_every_phase_has_a_step(monkeypatch, images, steps, expected):
    """However few steps there are, none is left out."""
    asked = note_settings(monkeypatch)

    fit_detector(images, DSR, STEPS.model_copy(update={"steps": steps}))

    assert tuple(each.steps for each in asked) == expected


def note_settings(monkeypatch, elapsed_s=(), steps=()):
    """Lets each phase say at once that it took these seconds and steps; what it was asked for."""
    asked, seconds, taken = [], iter(elapsed_s), iter(steps)

    def note(recipe, images, held_out, settings, *others, **options):
        asked.append(settings)
        count = next(taken, settings.steps or 1)
        return TrainingReport(count, count, next(seconds, 0.0), "steps", count, 0, [])

    monkeypatch.setattr(phases, "train", note)
    return asked


def test_time_is_split_and_what_is_left_goes_on(monkeypatch, images):
    """A phase that ends early leaves its time to the others by their shares."""
    asked = note_settings(monkeypatch, elapsed_s=(10.0, 50.0))

    fit_detector(images, DSR, TrainingSettings(budget_s=100, batch_size=4))

    assert [each.budget_s for each in asked] == pytest.approx([35, 90 * 0.5 / 0.65, 40])
    assert [each.steps for each in asked] == [None] * 3


def test_time_that_was_overrun_leaves_a_moment(monkeypatch, images):
    """A phase whose time is used up takes a step all the same."""
    asked = note_settings(monkeypatch, elapsed_s=(150.0,))

    fit_detector(images, DSR, TrainingSettings(budget_s=100, batch_size=4))

    assert all(each.budget_s > 0 for each in asked)


def test_without_steps_and_budget_the_natural_steps_are_split(monkeypatch, images):
    """Eight images are seen with 500 anomalies each, within an hour, over all phases."""
    asked = note_settings(monkeypatch)

    fit_detector(images, DSR, TrainingSettings(batch_size=8))

    assert sum(each.steps for each in asked) == 2 * 8 * 500 / 8
    assert asked[0].budget_s == pytest.approx(3600 * 0.35)


def test_a_single_phase_is_asked_for_everything(monkeypatch, images):
    """Other models' settings pass as they are."""
    asked = note_settings(monkeypatch)
    settings = TrainingSettings(batch_size=4)

    fit_detector(images, DSR.model_copy(update={"model": "ae"}), settings)

    assert asked == [settings]


def test_progress_is_one_bar(images):
    """Steps count on over the phases, the share that is done never falls, and it ends full."""
    seen = []

    fit_detector(images, DSR, STEPS, options=RunOptions(on_progress=seen.append))

    assert [each.step for each in seen] == list(range(1, 21))
    assert [each.planned_steps for each in seen] == pytest.approx([20] * 20, abs=1)
    done = [each.step / each.planned_steps for each in seen]
    assert all(later >= earlier for earlier, later in pairwise(done))
    assert done[-1] == 1
    seconds = [each.elapsed_s for each in seen]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("killed_at", [pytest.param(at, id=f"step {at}") for at in (3, 7, 12, 19)])
def test_a_kill_in_any_phase_changes_nothing(images, whole, tmp_path, killed_at):
    """It goes on in the phase that was cut off, and ends with the same weights."""

    def kill(progress):
        if progress.step == killed_at:
            raise KilledError

    folder = tmp_path / "it"

    with pytest.raises(KilledError):
        fit_detector(
            images, DSR, STEPS, options=RunOptions(checkpoint_folder=folder, on_progress=kill)
        )
    seen = []
    detector, report = fit_detector(
        images,
        DSR,
        STEPS,
        options=RunOptions(checkpoint_folder=folder, on_progress=seen.append),
    )

    assert seen[0].step == killed_at + 1  # kept first, then told
    assert report.resumed_step == killed_at
    assert (report.phases, report.steps) == (SHARES, 20)
    assert_same(detector, whole[0])
    assert [point.phase for point in report.curve] == list(SHARES)


def test_what_ended_is_kept_until_all_is_safe(images, whole, tmp_path):
    """Another start after the end trains nothing but the last phase; removing leaves nothing."""
    folder = tmp_path / "it"
    fit_detector(images, DSR, STEPS, options=RunOptions(checkpoint_folder=folder))
    seen = []

    detector, _ = fit_detector(
        images,
        DSR,
        STEPS,
        options=RunOptions(checkpoint_folder=folder, on_progress=seen.append),
    )

    assert {each.phase for each in seen} <= {"upsampler"}
    assert_same(detector, whole[0])
    assert {file.parent.name for file in folder.rglob(CHECKPOINT_FILE)} == set(SHARES)
    remove_checkpoint(folder)
    assert not folder.exists()


def test_given_autoencoder_is_stood_on(images, vq, tmp_path):
    """Its phase is left out, its weights stay, and the saved sizes are its own."""
    detector, report = fit_detector(images, DSR, STEPS, foundation=vq)
    save_detector(detector, tmp_path)
    loaded = load_detector(tmp_path)

    assert report.phases == {"subspaces": 15, "upsampler": 5}
    assert hash_weights(loaded.engine.network.subspaces.vq) == hash_weights(vq)
    sizes = {"vq_width": 24, "code_dim": 12, "codes": 40}
    assert loaded.architecture == {**DSR.architecture, **sizes}


def test_fine_tuning_leaves_the_autoencoder(images, vq, whole):
    """Its phase is left out, whatever its size, and its weights stay."""
    for base in (whole[0], fit_detector(images, DSR, STEPS, foundation=vq)[0]):
        tuned, report = fit_detector(images, DSR, STEPS, base=base)

        assert set(report.phases) == {"subspaces", "upsampler"}
        assert tuned.architecture == base.architecture
        before, after = (each.engine.network.subspaces.vq for each in (base, tuned))
        assert hash_weights(before) == hash_weights(after)


def test_other_width_than_the_bases_is_refused(monkeypatch, images, whole):
    """What is no part of the autoencoder has to fit."""
    wider = {**MODELS["dsr"].widths["tiny"], "unet_width": 16}
    monkeypatch.setitem(MODELS["dsr"].widths, "wide", wider)

    with pytest.raises(ConfigError, match=r"fine-tuning needs .* unet_width=16.*: train from"):
        fit_detector(images, DSR.model_copy(update={"width": "wide"}), STEPS, base=whole[0])


def test_autoencoder_of_a_file_is_stood_on(images, vq, tmp_path):
    """Weights as they are on disk come to be part of the detector."""
    state = {name: value.contiguous() for name, value in vq.state_dict().items()}
    save_file(state, tmp_path / "vq.safetensors")

    detector, _ = fit_detector(images, DSR, STEPS, foundation=read_vq(tmp_path / "vq.safetensors"))
    save_detector(detector, tmp_path / "detector")

    saved = load_file(tmp_path / "detector" / "weights.safetensors")
    torch.testing.assert_close(saved["subspaces.vq.to_fine.weight"], state["to_fine.weight"])


@pytest.mark.parametrize(
    "learnt_batches", [pytest.param(10, id="at the end"), pytest.param(300, id="on the way")]
)
def test_collapsed_codebook_ends_the_training(images, learnt_batches):
    """Where one code has nearly all features, no other phase begins."""
    spec = model_spec("dsr")
    network = spec.build_network(ImageSize.square(32), **{**spec.widths["tiny"], "codes": 512})
    codebook = network.subspaces.vq.fine_codebook
    codebook.sums *= codebook.counts.fill_(1e-9).index_fill_(0, torch.tensor(5), 1e6)[:, None]
    codebook.batches.fill_(learnt_batches)
    begun = []

    def begin(phase):
        begun.append(phase.name)
        return spec.build_recipe(network, Simulation(), {}, phase)

    recipes = {phase: partial(begin, phase) for phase in spec.phases}
    with pytest.raises(CodebookCollapsedError, match=r"fine one of 512 codes .*: bring more"):
        train_phases(network, recipes, images, STEPS, 0, 3)
    assert begun == ["vq"]
