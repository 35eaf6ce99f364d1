"""What becomes of the champion's alias, tried on copies of a product's registered model."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow_models import alias_log, registry
from reconad_plugin.errors import ReconadError
from tests.golden_master.answers import Json
from tests.golden_master.history import model_name, read_registry, write_registry

SCRATCH = "scratch"  # added to a product's name: a copy of its registry that may be written to


def adopted(name: str) -> Json:
    """What changes in the registry where a run finds the champion as it is now."""
    with _copied(name, "adopt") as copy:
        before = _tags(copy)
        alias_log.adopt_champion(copy)
        after = _tags(copy)
    return {
        number: {
            tag: [before[number].get(tag), tags.get(tag)]
            for tag in sorted(tags.keys() | before[number].keys())
            if before[number].get(tag) != tags.get(tag)
        }
        for number, tags in after.items()
        if tags != before[number]
    }


def rolled_back(name: str) -> list[str]:
    """The champion, and the versions that rollbacks go back to, one after the other."""
    champions = []
    with _copied(name, "rollback") as copy:
        while (serving := registry.number_by_alias(copy, registry.CHAMPION)) is not None:
            previous = registry.number_by_alias(copy, registry.PREVIOUS_CHAMPION)
            champions.append(f"{serving} before it {previous}")
            try:
                move = alias_log.roll_back(copy, serving, "2030-01-01", "bad")
            except ReconadError:
                break
            alias_log.finish(copy, move)
    return champions


@contextmanager
def _copied(name: str, purpose: str) -> Iterator[str]:
    """A product whose registered model is a copy, for as long as it is needed."""
    copy = f"{name}_{SCRATCH}_{purpose}"
    facts = read_registry(model_name(name))
    write_registry(model_name(copy), facts)
    try:
        yield copy
    finally:
        if facts["versions"]:
            registry.open_client().delete_registered_model(model_name(copy))


def _tags(name: str) -> dict[str, dict[str, str]]:
    return {version.number: version.tags for version in registry.versions(name)}
