"""Every function that numba compiles, and what it names, is in a file that kernels are kept for."""

import ast
from pathlib import Path

import pytest

from sims.kernel_files import kernel_files

ROOT = Path(__file__).parents[2]
FILES = {file.resolve() for file in kernel_files()}
SOURCES = [
    file for package in ("gossipfl", "sims", "topology") for file in sorted((ROOT / package).rglob("*.py"))
]


def compiled_functions(tree: ast.Module) -> list[ast.AST]:
    """Functions with a decorator of numba's, or of `sims.compiler.timeline.compiled`, and those handed to one."""
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            named = {
                each.id
                for mark in node.decorator_list
                for each in ast.walk(mark)
                if isinstance(each, ast.Name)
            }
            if named & {"njit", "compiled", "cfunc", "intrinsic"}:
                found.append(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "compiled":
            found.append(node)
    return found


def files_of_imports(tree: ast.Module) -> dict[str, Path]:
    """File of each name of this project that a module imports."""
    found = {}
    for node in tree.body:
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] in ("gossipfl", "sims", "topology")
        ):
            for alias in node.names:
                inside = ROOT / node.module.replace(".", "/") / f"{alias.name}.py"
                module = ROOT / f"{node.module.replace('.', '/')}.py"
                package = ROOT / node.module.replace(".", "/") / "__init__.py"
                places = (each for each in (inside, module, package) if each.exists())
                found[alias.asname or alias.name] = next(places).resolve()
    return found


def missing(file: Path, source: str) -> list[str]:
    tree = ast.parse(source)
    functions = compiled_functions(tree)
    imports = files_of_imports(tree)
    said = [] if not functions or file.resolve() in FILES else [str(file)]
    for function in functions:
        named = {each.id for each in ast.walk(function) if isinstance(each, ast.Name)}
        said += [str(imports[name]) for name in sorted(named & imports.keys()) if imports[name] not in FILES]
    return said


def test_all_kernels_and_what_they_name_are_known():
    assert all(file.exists() for file in FILES)
    found = {str(file): missing(file, file.read_text(encoding="utf-8")) for file in SOURCES}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("@njit\ndef f(): pass", 1),
        ("@compiled\ndef f(): pass", 1),
        ("from sims.errors import X\n@njit(cache=True)\ndef f(): return X", 2),
        ("from sims.errors import X\ng = compiled(X)", 2),
        ("from sims.errors import X\ndef f(): return X", 0),
    ],
)
def test_the_test_sees_what_it_looks_for(source, count):
    assert len(missing(Path("elsewhere.py"), source)) == count
