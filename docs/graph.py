"""Draw the stage graph of dvc.yaml as Mermaid text for README.md.

    python docs/graph.py [--write]

An arrow leads from a stage to each stage that reads its outputs; arrows implied by others are left
out. ``tests/test_docs.py`` compares README.md with dvc.yaml; ``--write`` updates it.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import networkx as nx
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def names(entries: list[Any]) -> list[str]:
    """Return the paths of a list in dvc.yaml; an entry is a path, or a path with options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def written(stage: dict[str, Any]) -> list[str]:
    """Return every path that a stage writes; ``X`` is the dataset."""
    kinds = ("outs", "metrics", "plots")
    return [name.replace("${item.dataset}", "X") for k in kinds for name in names(stage.get(k, []))]


def first_result(stage: dict[str, Any]) -> str:
    """Return the folder of data that a stage writes, or else its metrics."""
    outs = [name for name in names(stage.get("outs", [])) if name.startswith("data/")]
    return [*outs, *names(stage.get("metrics", []))][0].replace("${item.dataset}", "X")


def read_graph(stages: dict[str, Any]) -> "nx.DiGraph[str]":
    """Return the graph of stages, without arrows that others imply."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(stages)
    for reader, stage in stages.items():
        read = {name.replace("${item.dataset}", "X") for name in names(stage["deps"])}
        graph.add_edges_from(
            (writer, reader) for writer, other in stages.items() if read & set(written(other))
        )
    return nx.transitive_reduction(graph)


def render(stages: dict[str, Any]) -> str:
    """Return a fenced Mermaid block with a box for each stage and its first output."""
    graph = read_graph(stages)
    lines = [f'  {name}["<b>{name}</b><br>{first_result(stages[name])}"]' for name in stages]
    lines += [
        f"  {name} --> {' & '.join(n for n in stages if graph.has_edge(name, n))}"
        for name in stages
        if graph.out_degree(name)
    ]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"]) + "\n"


def draw() -> str:
    """Return the block for the committed dvc.yaml."""
    content = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    return render(content["stages"])


def main() -> None:
    """Print the block, or write it into README.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="replace the block of README.md")
    readme = ROOT / "README.md"
    if parser.parse_args().write:
        readme.write_text(BLOCK.sub(lambda _: draw(), readme.read_text(encoding="utf-8"), count=1))
    else:
        print(draw(), end="")


if __name__ == "__main__":
    main()
