"""Which modules of ``sgcp`` a module runs, read from the source."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def walk_runtime(node: ast.AST):
    """Walk a tree, leaving out what only the type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from walk_runtime(child)


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def direct_imports(path: Path) -> set[Path]:
    """Return the files of ``sgcp`` that one file imports, anywhere in it, at run time."""
    files = set()
    for node in walk_runtime(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if module_file(name) else node.module for name in below]
        else:
            continue
        files |= {module_file(name) for name in names if name.split(".")[0] == "sgcp"}
    return {file for file in files if file is not None}


def has_code(path: Path) -> bool:
    """Tell a package's ``__init__`` that does something from a docstring alone."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)) for n in body)


def closure(path: Path) -> set[Path]:
    """Return every file of ``sgcp`` that running ``path`` may run, itself included.

    A subpackage's ``__init__`` counts where it holds code. ``sgcp/__init__`` counts where it is
    imported by name: it runs always, but only defines the version and lazy names.
    """
    seen, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += direct_imports(file)
            package = file.parent / "__init__.py"
            if package.parent.parent == ROOT / "sgcp" and has_code(package):
                todo.append(package)
    return {file for file in seen if file.name != "__init__.py" or has_code(file)}
