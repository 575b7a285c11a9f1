"""The temperature of a trained network, fitted on the split that training scores."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from sgcp.core.terminal import say
from sgcp.datasets.loader import SegmentationDataset
from sgcp.metrics.calibration import Sample, fit_temperature
from sgcp.training.loop import network_inputs
from sgcp.training.run import Run


@torch.inference_mode()
def calibrate(run: Run, weights: Mapping[str, Tensor], dataset: SegmentationDataset) -> float:
    """Fit the temperature of the network with these weights, in this process alone."""
    network = copy.deepcopy(run.learnt)
    network.load_state_dict(weights)
    network.eval()
    samples = []
    everything, side = range(len(dataset)), run.settings.input_side
    for image, label in network_inputs(run.fabric, dataset, everything, side):
        x = run.normalize(image).contiguous(memory_format=torch.channels_last)
        samples.append(Sample(network(x)[0].float().cpu().numpy(), label.numpy()))
    temperature = fit_temperature(samples)
    say(f"temperature {temperature}, fitted on {len(dataset)} images")
    return temperature
