"""What an environment that serves a saved model installs."""

from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final

import yaml
from mlflow.utils import environment as env
from mlflow.utils.file_utils import write_to
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlflow_models.own_wheel import NAME, own_wheel

CONSTRAINTS_FILE: Final = "constraints.txt"
TORCH_PACKAGES: Final = ("torch", "torchvision")  # each build asks for libraries of its own


def default_requirements(has_torch: bool) -> list[str]:
    """List what serving installs: reconad alone, from the wheel inside the model where there is
    one, with PyTorch where the model needs it."""
    extra, wheel = _extra(has_torch), own_wheel()
    own = f"{NAME}{extra}=={version(NAME)}" if wheel is None else f"./{wheel.path}{extra}"
    return [own, f"-c {CONSTRAINTS_FILE}"]


@cache
def constraints(has_torch: bool) -> tuple[str, ...]:
    """List all packages that serving needs, and those that they need, at the versions that are
    installed here: so a later release of one changes nothing about a version that serves. Once a
    process, since it reads what pip knows of a hundred packages."""
    found: dict[str, str] = {}
    wanted, seen = [Requirement(f"{NAME}{_extra(has_torch)}")], set[tuple[str, str]]()
    while wanted:
        needed = wanted.pop()
        name = canonicalize_name(needed.name)
        if (asked := (name, ",".join(sorted(needed.extras)))) in seen:
            continue
        seen.add(asked)
        try:
            known = distribution(name)
            found[name] = Version(known.version).public  # without which build of it
            needs = [Requirement(each) for each in known.requires or ()]
        except (PackageNotFoundError, InvalidVersion, InvalidRequirement, TypeError, KeyError):
            continue  # it works without, or nothing can be read of it
        if name not in TORCH_PACKAGES:
            wanted += [each for each in needs if _is_needed(each, needed.extras)]
    found.pop(NAME, None)
    return tuple(f"{name}=={found[name]}" for name in sorted(found))


def write_requirements(model: Path, asked: list[str] | None, has_torch: bool) -> None:
    """Write into the folder of a model what its environment has, in each form that MLflow reads.

    Args:
        model: the folder.
        asked: requirements to write in place of reconad and its wheel.
        has_torch: whether the model needs PyTorch.
    """
    if asked is not None:
        conda_env, requirements, _ = env._process_pip_requirements([], asked)
    else:
        requirements = default_requirements(has_torch)
        conda_env = env._mlflow_conda_env(additional_pip_deps=requirements, install_mlflow=False)
        write_to(str(model / CONSTRAINTS_FILE), "\n".join(constraints(has_torch)))
        if (wheel := own_wheel()) is not None:
            wheel.write(model)
    with (model / env._CONDA_ENV_FILE_NAME).open("w", encoding="utf-8") as file:
        yaml.safe_dump(conda_env, file, default_flow_style=False)
    write_to(str(model / env._REQUIREMENTS_FILE_NAME), "\n".join(requirements))
    env._PythonEnv.current().to_yaml(str(model / env._PYTHON_ENV_FILE_NAME))


def _is_needed(requirement: Requirement, extras: Collection[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": each}) for each in {"", *extras})


def _extra(has_torch: bool) -> str:
    return "[torch]" if has_torch else ""
