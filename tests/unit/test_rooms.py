"""How deep imports go within flows, and how much a function takes: what a reader must hold."""

import ast
from functools import cache
from itertools import chain
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PRODUCTION = ("flows", "reconad_plugin", "mlflow_models", "monitoring")
MOST_LEVELS = 7
MOST_PARAMETERS = 7
PUBLISHED = {  # their parameters are a promise, to prefect.yaml and to MLflow
    ("pretrain_vq.py", "pretrain_vq"),
    ("evaluator.py", "evaluate"),
}
THE_FLOWS = "dispatch finetune ingest monitor nightly pretrain_vq promote rollback train"


def modules_of(room):
    """Module name -> what it imports from its room."""
    files = {
        ".".join(file.relative_to(CHECKOUT).with_suffix("").parts): file
        for file in (CHECKOUT / room).rglob("*.py")
        if file.name != "__init__.py"
    }
    return {name: imports_of(file) & files.keys() - {name} for name, file in files.items()}


def imports_of(file):
    """Names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def test_imports_within_flows_have_few_levels():
    """A command is read with at most six files under it, and no file is under itself."""
    imports = modules_of("flows")

    @cache
    def chain_of(module):
        return (module, *max((chain_of(each) for each in imports[module]), key=len, default=()))

    longest = max((chain_of(module) for module in imports), key=len)  # a cycle never ends

    assert len(longest) <= MOST_LEVELS, longest


def test_the_top_of_flows_is_the_flows():
    """All else stands in a room."""
    found = {file.stem for file in (CHECKOUT / "flows").glob("*.py")} - {"__init__"}

    assert found == set(THE_FLOWS.split())


def test_functions_take_few_parameters():
    """More belong together and have a name."""
    files = chain.from_iterable((CHECKOUT / room).rglob("*.py") for room in PRODUCTION)
    found = [
        f"{file.relative_to(CHECKOUT)}: {node.name} takes {count}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (file.name, node.name) not in PUBLISHED
        if (count := parameters_of(node)) > MOST_PARAMETERS
    ]

    assert found == []


def parameters_of(function):
    """How many parameters a function has, besides that of a method for its object."""
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))
