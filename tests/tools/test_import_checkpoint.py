"""``sgcp import-checkpoint``."""

import pytest
import torch

from sgcp.tools.import_checkpoint import AUTHORS_CAMVID


@pytest.mark.parametrize(
    ("name", "options", "first", "protocol"),
    [
        ("cityscapes19", (), "road", "cityscapes-19"),
        ("camvid11", ("--classes", "camvid"), "Sky", "strict"),
        ("camvid11", ("--classes", "camvid-authors"), "Bicyclist", "strict"),
    ],
)
def test_imported_checkpoint_keeps_its_outputs_and_names_them(
    project, shared, name, options, first, protocol
):
    import sgcp
    from sgcp.models import read_authors_checkpoint
    from sgcp.models.artifact import load_model

    source = shared / "reference" / f"{name}.pth.tar"
    project.ok("import-checkpoint", source, "out", *options, "--trained-size", "1024", "2048")
    model = sgcp.load(project.root / "out")
    assert model.classes[0].name == first
    assert model.card.protocol == protocol
    assert tuple(model.card.trained_size) == (1024, 2048)
    assert model.card.provenance["imported_from"] == source.name
    x = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        ours, theirs = load_model(project.root / "out")[0](x), read_authors_checkpoint(source)(x)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_camvid_checkpoint_must_be_told_its_order(project, shared):
    source = shared / "reference" / "camvid11.pth.tar"
    assert "--classes camvid-authors" in project.fails("import-checkpoint", source, "out")
    text = project.fails("import-checkpoint", source, "out", "--classes", "cityscapes")
    assert "19 classes, the checkpoint has 11" in text
    assert not (project.root / "out").exists()
    assert len(set(AUTHORS_CAMVID)) == 11
