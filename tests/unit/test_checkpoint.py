"""A training that is killed and goes on as if nothing had been."""

import math

import pytest
import torch
from torch import Generator, nn

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import MODELS, model_spec
from reconad_plugin.training import loop, state
from reconad_plugin.training.checkpoint import (
    CHECKPOINT_FILE,
    optimizer_tensors,
    read_checkpoint,
    remove_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from reconad_plugin.training.loop import RunOptions, train
from reconad_plugin.training.recipe import Simulation

STEPS = 9
KILLED_AT = 5


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def every_step(monkeypatch):
    """A checkpoint after each step, and two validations a training."""
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(loop, "VALIDATIONS", 2)


@pytest.fixture
def learn(make_normal, tiny_models):
    """Trains a tiny model from the same start each time; all that learns, and what was told."""

    def train_model(model, folder=None, killed_at=None, options=None, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            sizes = model_spec(model).architecture(None, options or {})
            network = model_spec(model).build_network(ImageSize.square(32), **sizes)
        recipe = model_spec(model).build_recipe(network, Simulation(), options or {})
        told = []

        def note(progress):
            told.append(progress)
            if progress.step == killed_at:
                raise KilledError

        settings = TrainingSettings(
            steps=STEPS, batch_size=5, light_augmentation=True, early_stopping=False
        )
        report = train(
            recipe,
            make_normal(7, 1),
            make_normal(3, 2),
            settings,
            seed,
            options=RunOptions(checkpoint_folder=folder, on_progress=note),
        )
        return recipe, told, report

    return train_model


def kill(learn, model, folder, **others):
    """Train until the process ends."""
    with pytest.raises(KilledError):
        learn(model, folder, killed_at=KILLED_AT, **others)


def same(first, second):
    """Whether two modules have learnt the same, bit by bit."""
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    ("model", "options"),
    [
        *(pytest.param(name, {}, id=name) for name, spec in MODELS.items() if not spec.pretrained),
        pytest.param("ae", {"denoising": 0.1, "sparsity": 0.01}, id="ae with all its options"),
        pytest.param("draem", {"sspcab": True}, id="draem with sspcab"),
    ],
)
def test_killed_training_ends_as_if_it_had_not_been(learn, tmp_path, model, options):
    """Losses after the kill and weights at the end are those of one go, bit by bit."""
    whole, told, report = learn(model, options=options)
    kill(learn, model, tmp_path, options=options)

    resumed, told_later, later_report = learn(model, tmp_path, options=options)

    assert [progress.step for progress in told_later] == list(range(KILLED_AT + 1, STEPS + 1))
    assert [p.loss for p in told_later] == [p.loss for p in told[KILLED_AT:]]
    assert same(resumed, whole)
    assert later_report.best_step == report.best_step
    assert (report.resumed_step, later_report.resumed_step) == (0, KILLED_AT)
    assert [(p.step, p.loss, p.separation) for p in later_report.curve] == [
        (p.step, p.loss, p.separation) for p in report.curve
    ]


@pytest.mark.usefixtures("every_step")
def test_training_without_a_kill_is_the_same_with_and_without_checkpoints(learn, tmp_path):
    """Writing them changes nothing."""
    assert same(learn("ae")[0], learn("ae", tmp_path)[0])


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut off"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"\xff" * 100, id="garbage"),
        pytest.param(lambda content: content[:8] + b"x" + content[9:], id="header broken"),
    ],
)
def test_broken_checkpoint_starts_anew(learn, tmp_path, damage):
    """A file that cannot be read is as none."""
    kill(learn, "ae", tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(damage(path.read_bytes()))

    again, told, _ = learn("ae", tmp_path)

    assert told[0].step == 1
    assert same(again, learn("ae")[0])


@pytest.mark.usefixtures("every_step")
def test_state_of_another_format_starts_anew(learn, tmp_path, monkeypatch):
    """What another reconad has left is as none."""
    monkeypatch.setattr(state, "FORMAT", 1)
    kill(learn, "ae", tmp_path)
    monkeypatch.undo()

    again, told, _ = learn("ae", tmp_path)

    assert told[0].step == 1
    assert same(again, learn("ae")[0])


@pytest.mark.usefixtures("every_step")
def test_training_that_had_ended_is_not_repeated(learn, tmp_path):
    """Killed after the last step and before the result was safe, no step is taken again."""
    first, _, report = learn("ae", tmp_path)

    again, told, later_report = learn("ae", tmp_path)

    assert told == []
    assert same(again, first)
    assert (later_report.steps, later_report.best_step) == (STEPS, report.best_step)
    assert later_report.elapsed_s >= report.curve[-1].elapsed_s
    assert not any(module.training for module in again.modules())


@pytest.mark.usefixtures("every_step")
def test_seconds_add_up_over_a_kill(learn, tmp_path, monkeypatch):
    """The budget goes on where it was."""
    kill(learn, "ae", tmp_path)
    tensors, numbers = read_checkpoint(tmp_path)
    write_checkpoint(
        tmp_path, tensors, numbers | {"clock": numbers["clock"] | {"elapsed_s": 500.0}}
    )

    _, told, report = learn("ae", tmp_path)

    assert 500 < told[0].elapsed_s < report.elapsed_s < 600


def test_checkpoints_are_written_now_and_then(learn, tmp_path, monkeypatch):
    """Within the first half minute there is none, and no more than the share of time allows."""
    written = []
    monkeypatch.setattr(loop, "VALIDATIONS", 1)
    monkeypatch.setattr(state.checkpoint, "write_checkpoint", lambda *parts: written.append(parts))
    learn("ae", tmp_path)
    assert written == []

    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 1e-6)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e-9)  # the first one uses up all its time
    learn("ae", tmp_path)
    assert len(written) == 2  # and one at the end


def test_what_is_written_is_read(tmp_path):
    """Tensors of every kind and numbers, also those that are not finite, come back."""
    tensors = {
        "a/weight": torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "state": Generator().manual_seed(1).get_state(),
        "none": torch.empty(0, dtype=torch.long),
    }
    numbers = {"step": 3, "best": -math.inf, "curve": [{"loss": 0.5, "held_out_loss": None}]}

    write_checkpoint(tmp_path / "deep" / "down", tensors, numbers)
    found, found_numbers = read_checkpoint(tmp_path / "deep" / "down")

    assert found_numbers == numbers
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == [CHECKPOINT_FILE]


def test_nothing_written_is_nothing_read(tmp_path):
    """Neither a missing folder nor an empty one nor other files are a checkpoint."""
    assert read_checkpoint(tmp_path / "nowhere") is None
    assert read_checkpoint(tmp_path) is None

    torch.save({}, tmp_path / CHECKPOINT_FILE)
    assert read_checkpoint(tmp_path) is None


def test_kill_in_mid_write_leaves_the_one_before(tmp_path, monkeypatch):
    """What was half written is not read, and is removed with the rest."""
    write_checkpoint(tmp_path, {"a": torch.ones(1)}, {"step": 1})
    (tmp_path / f"{CHECKPOINT_FILE}.123").write_bytes(b"half")

    assert read_checkpoint(tmp_path)[1] == {"step": 1}
    remove_checkpoint(tmp_path)
    assert not tmp_path.exists()


def test_removing_leaves_files_of_others(tmp_path):
    """A folder that holds something else stays, and one that is not there is no failure."""
    write_checkpoint(tmp_path, {"a": torch.ones(1)}, {})
    (tmp_path / "notes").write_text("mine")

    remove_checkpoint(tmp_path)
    remove_checkpoint(tmp_path / "nowhere")

    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize("fused", [pytest.param(True, id="fused"), pytest.param(False, id="plain")])
def test_optimizer_goes_on_from_what_was_kept(tmp_path, fused):
    """Its memory survives the disk in the memory order of the weights."""

    def make():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return network, torch.optim.Adam(network.parameters(), lr=0.1, fused=fused)

    def step(network, optimizer, number):
        image = torch.rand(2, 3, 5, 5, generator=Generator().manual_seed(number))
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()

    network, optimizer = make()
    for number in range(3):
        step(network, optimizer, number)
    write_checkpoint(tmp_path, {**network.state_dict(), **optimizer_tensors(optimizer)}, {})
    later, later_optimizer = make()
    tensors, _ = read_checkpoint(tmp_path)
    later.load_state_dict({name: tensors.pop(name) for name in ("weight", "bias")})
    restore_optimizer(later_optimizer, tensors)
    for number in range(3, 6):
        step(network, optimizer, number)
        step(later, later_optimizer, number)

    assert same(later, network)
