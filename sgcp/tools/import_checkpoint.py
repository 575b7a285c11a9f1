"""``sgcp import-checkpoint``: a ``.pth.tar`` of the SGCPNet authors -> our model files."""

from dataclasses import replace
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import file_sha256
from sgcp.core.terminal import say
from sgcp.datasets.classes import camvid_classes, cityscapes_classes, classes_to_json
from sgcp.models.artifact import save_model
from sgcp.models.authors import read_authors_checkpoint
from sgcp.models.card import ModelCard

# The authors' CamVid preparation numbers the classes alphabetically, by the names of its colours
# in label_colors.txt; these are our names for them.
AUTHORS_CAMVID = (
    "Bicyclist", "Building", "Car", "Pole", "Fence", "Pedestrian", "Road", "Pavement",
    "SignSymbol", "Sky", "Tree",
)  # fmt: skip


def import_checkpoint(
    source: Path, out: Path, order: str | None, trained_size: tuple[int, int] | None
) -> None:
    """Write our model files from an authors' checkpoint.

    Args:
        out: folder for ``model.safetensors`` and ``model.json``, or a ``.safetensors`` file.
        order: class order of the outputs, ``cityscapes``, ``camvid`` or ``camvid-authors``; None:
            Cityscapes. 11 outputs need it, as the file does not state it.
        trained_size: (height, width) of the training images, if known.

    Raises:
        SgcpError: the file is no SGCPNet checkpoint, or the order does not fit it.
    """
    network = read_authors_checkpoint(source)
    count = network.num_classes
    if order is None and count == len(AUTHORS_CAMVID):
        raise SgcpError(
            "the checkpoint has 11 classes of unknown order. Pass --classes camvid-authors (the "
            "authors' preparation: alphabetical, Bicyclist 0 ... Tree 10) or --classes camvid "
            "(Sky 0 ... Bicyclist 10)"
        )
    order = order or "cityscapes"
    cityscapes = order == "cityscapes"
    classes = cityscapes_classes() if cityscapes else camvid_classes()
    if order == "camvid-authors":
        ours = {item.name: item for item in classes}
        classes = tuple(
            replace(ours[name], train_id=index) for index, name in enumerate(AUTHORS_CAMVID)
        )
    if len(classes) != count:
        raise SgcpError(f"--classes {order}: {len(classes)} classes, the checkpoint has {count}")
    card = ModelCard(
        classes=classes_to_json(classes),
        dataset="cityscapes" if cityscapes else "camvid",
        edition="fine" if cityscapes else "cambridge",
        protocol="cityscapes-19" if cityscapes else "strict",
        trained_size=trained_size,
        provenance={
            "imported_from": source.name,
            "sha256": file_sha256(source),
            "class_order": order,
        },
    )
    target = out if out.suffix == ".safetensors" else out / "model.safetensors"
    save_model(network, network.state_dict(), card, target)
    say(f"{target}: SGCPNet, {count} classes, order '{order}'")
