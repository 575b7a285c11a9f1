"""Every dataset of the project by its name."""

from sgcp.datasets import camvid, cityscapes, custom, sample

DATASETS = {module.SOURCE.name: module.SOURCE for module in (sample, camvid, cityscapes, custom)}
