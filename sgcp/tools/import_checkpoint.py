"""``sgcp import-checkpoint``: an authors' ``.pth.tar`` -> our model files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import file_sha256
from sgcp.core.terminal import say
from sgcp.datasets.classes import SemanticClass, camvid_classes, cityscapes_classes, classes_to_json
from sgcp.models.artifact import save_model
from sgcp.models.authors import read_authors_checkpoint
from sgcp.models.card import ModelCard

# The authors' CamVid preparation numbers the classes alphabetically, by the names of its colours
# in label_colors.txt (DESIGN, section 4); ours stand behind them.
AUTHORS_CAMVID = (
    "Bicyclist", "Building", "Car", "Pole", "Fence", "Pedestrian", "Road", "Pavement",
    "SignSymbol", "Sky", "Tree",
)  # fmt: skip

ORDERS = ("cityscapes", "camvid", "camvid-authors")


def import_checkpoint(
    source: Path, out: Path, order: str | None, trained_size: tuple[int, int] | None
) -> None:
    """Write our model files from an authors' checkpoint.

    Args:
        out: folder for ``model.safetensors`` and ``model.json``, or a ``.safetensors`` file.
        order: which classes the outputs stand for, one of ``ORDERS``. None: Cityscapes for 19
            outputs; 11 outputs must be told, as the file does not say.
        trained_size: (height, width) it was trained at, if known.

    Raises:
        SgcpError: the file is no SGCPNet checkpoint, or its classes are not known.
    """
    network = read_authors_checkpoint(source)
    order, classes = choose_classes(network.num_classes, order)
    dataset = "cityscapes" if order == "cityscapes" else "camvid"
    card = ModelCard(
        classes=classes_to_json(classes),
        dataset=dataset,
        edition="fine" if dataset == "cityscapes" else "cambridge",
        protocol="cityscapes-19" if dataset == "cityscapes" else "strict",
        trained_size=trained_size,
        provenance={
            "imported_from": source.name,
            "sha256": file_sha256(source),
            "class_order": order,
        },
    )
    target = out if out.suffix == ".safetensors" else out / "model.safetensors"
    save_model(network, network.state_dict(), card, target)
    say(f"{target}: SGCPNet, {network.num_classes} classes, order '{order}'")


def choose_classes(count: int, order: str | None) -> tuple[str, tuple[SemanticClass, ...]]:
    """Return the order's name and its classes, numbered as the network's outputs are.

    Raises:
        SgcpError: unknown, or not of ``count`` classes.
    """
    if order is None and count == len(cityscapes_classes()):
        order = "cityscapes"
    if order is None and count == len(AUTHORS_CAMVID):
        raise SgcpError(
            "11 classes: say which order the checkpoint was trained in: "
            "--classes camvid-authors (the authors' preparation: alphabetical, Bicyclist 0 ... "
            "Tree 10) or --classes camvid (Sky 0 ... Bicyclist 10)"
        )
    tables: dict[str, Callable[[], tuple[SemanticClass, ...]]] = {
        "cityscapes": cityscapes_classes,
        "camvid": camvid_classes,
        "camvid-authors": authors_camvid_classes,
    }
    if order not in tables:
        raise SgcpError(f"{count} classes: no such dataset is known; --classes {', '.join(ORDERS)}")
    classes = tables[order]()
    if len(classes) != count:
        raise SgcpError(f"--classes {order}: {len(classes)} classes, the checkpoint has {count}")
    return order, classes


def authors_camvid_classes() -> tuple[SemanticClass, ...]:
    """Return the CamVid classes as the authors number them."""
    ours = {item.name: item for item in camvid_classes()}
    return tuple(
        SemanticClass(index, ours[name].label_id, name, ours[name].color)
        for index, name in enumerate(AUTHORS_CAMVID)
    )
