"""``sgcp train`` with batch norm over all processes' images, recording the loss of each step.

    python -m torch.distributed.run ... gathered.py OUT

torch has synchronised batch norm for GPUs alone, so that two CPU processes normalise by half the
batch each, and their curve is close to that of one process but not the same. Here the statistics
are gathered, and then it must be the same, up to rounding.
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from sgcp.cli.project import open_project
from sgcp.stages import train
from sgcp.training import loop


class GatheredBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics, and their gradients, go over all processes."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        moments = torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])  # (2, C)
        if distributed.is_initialized():
            moments = all_reduce(moments) / distributed.get_world_size()
        mean, var = moments[0], moments[1] - moments[0].square()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        scale = self.weight / (var + self.eps).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]


def gather(module: nn.Module) -> nn.Module:
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = GatheredBatchNorm
    return module


def main(out: str) -> None:
    torch.set_default_dtype(torch.float64)  # lest rounding grow, in a few steps, to a thousandth
    losses: list[float] = []
    make, step, begin = train.make_network, loop.train_one_step, train.start

    def record(*arguments):
        loss = step(*arguments)
        losses.append(float(loss))
        return loss

    def start(*arguments):
        run = begin(*arguments)
        if run.heads is not None:
            gather(run.heads)
        return run

    train.make_network = lambda *arguments: gather(make(*arguments))
    loop.train_one_step, train.start = record, start
    params, section, layout = open_project("sample")
    train.train(layout, section.train, params.machine)
    Path(out, f"losses-{os.environ.get('RANK', 0)}.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
