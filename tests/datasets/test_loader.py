import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import LONGEST_FOLDER
from sgcp.datasets import photometric, transforms
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.index import Item
from sgcp.datasets.loader import EpochSampler, SegmentationDataset, train_loader
from sgcp.datasets.photometric import Photometric
from sgcp.datasets.transforms import (
    SCORES_STRIDE,
    TrainTransform,
    View,
    crop_scores,
    lay_over,
    sample_generator,
)


@pytest.fixture
def items(tmp_path):
    """Seven pairs whose red channel repeats the label, so that their alignment can be seen."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(7):
        label = rng.integers(0, 4, (5, 6), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        image = np.stack([label * 60, label * 0, label * 0], -1)
        Image.fromarray(image).save(tmp_path / f"i{index}.png")
        Image.fromarray(label).save(tmp_path / f"l{index}.png")
        made.append(Item("train", Path(f"i{index}.png"), "s", 40, 48, "d", Path(f"l{index}.png")))
    return made


TRANSFORM = TrainTransform((32, 32), (0.5, 2.0), 0, 0.5)


def dataset(items, folder, transform=TRANSFORM, seed=1):
    return SegmentationDataset(items, folder, folder, 4, transform, seed)


def test_image_and_label_are_transformed_together(items, tmp_path):
    data = dataset(items, tmp_path)
    agree = total = 0
    for epoch in range(3):
        for index in range(7):
            image, label = data[epoch, index]
            assert image.shape == (3, 32, 32)
            assert image.dtype == torch.uint8
            assert label.dtype == torch.uint8
            seen = label != IGNORE
            guess = (image[0].float() / 60).round()
            agree += (guess == label)[seen].sum().item()
            total += seen.sum().item()
    assert agree / total > 0.85  # the rest are interpolated edges


def test_padding_is_the_mean_in_the_image_and_ignored_in_the_label(items, tmp_path):
    data = dataset(items, tmp_path, TrainTransform((64, 64), (0.5, 0.5), 0, 0.0))
    image, label = data[0, 0]
    padded = label == IGNORE
    assert 0 < padded.sum() < padded.numel()
    assert (image[:, padded].float().mean(1).round() == torch.tensor([124, 116, 104])).all()


def test_augmentation_is_a_function_of_seed_epoch_and_index(items, tmp_path):
    data = dataset(items, tmp_path)
    first = data[2, 3]
    torch.manual_seed(99)
    assert torch.equal(data[2, 3][0], first[0])
    assert not torch.equal(data[3, 3][0], first[0])
    assert not torch.equal(dataset(items, tmp_path, seed=2)[2, 3][0], first[0])


def test_reading_a_sample_leaves_the_global_generator_alone(items, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    dataset(items, tmp_path)[0, 0]
    assert torch.equal(torch.rand(1), expected)


def test_epochs_are_shuffled_differently_and_drop_the_remainder():
    def order(epoch):
        sampler = EpochSampler(7, 2, seed=1)
        sampler.seek(epoch, 0)
        return [index for _, index in sampler]

    assert order(0) == order(0) != order(1)
    assert len(set(order(0))) == 6


@pytest.mark.parametrize("world", [1, 2])
def test_pass_begun_in_the_middle_goes_on_as_the_whole_one(world):
    for rank in range(world):
        sampler = EpochSampler(11, 4, seed=3, rank=rank, world=world)
        sampler.seek(epoch=5, step=0)
        whole = list(sampler)
        sampler.seek(epoch=5, step=1)
        assert list(sampler) == whole[4 // world :]
        sampler.seek(epoch=5, step=2)
        assert list(sampler) == []


def test_weights_say_how_often_an_image_comes():
    weights = [1, 2.5, 0.5, 1]
    times, keys = np.zeros((40, 4), int), []
    for epoch in range(40):
        sampler = EpochSampler(4, 1, seed=1, weights=weights)
        sampler.seek(epoch, 0)
        found = list(sampler)
        assert len(found) == len(set(found)) == 5
        keys += found
        times[epoch] = np.bincount([index for _, index in found], minlength=4)
    assert len(set(keys)) == len(keys)  # no two alike, so none is augmented alike
    assert (times >= np.floor(weights)).all()
    assert (times <= np.ceil(weights)).all()
    np.testing.assert_allclose(times.mean(0), weights, atol=0.15)
    one, other = (EpochSampler(4, 2, 1, rank, 2, weights) for rank in (0, 1))
    assert sorted([*one, *other]) == sorted(EpochSampler(4, 2, 1, weights=weights))


def test_processes_share_one_order_without_overlap():
    whole = list(EpochSampler(10, 4, seed=1))
    parts = [list(EpochSampler(10, 4, seed=1, rank=rank, world=2)) for rank in (0, 1)]
    assert parts[0] == whole[0::2]
    assert parts[1] == whole[1::2]


def one_pixel(size, place) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image and its label map, of which one pixel is labelled."""
    label = torch.full(size, IGNORE, dtype=torch.uint8)
    label[place] = 2
    return torch.zeros(3, *size, dtype=torch.uint8), label


@pytest.mark.parametrize("place", [(0, 0), (79, 119), (40, 3)])
@pytest.mark.parametrize(
    ("crop", "scale"),
    [
        ((16, 16), (1.0, 1.0)),
        ((16, 24), (1.0, 2.0)),
        ((100, 130), (1.0, 1.0)),  # larger than the image
        ((100, 16), (1.0, 1.2)),  # larger on one side
        ((16, 16), (0.5, 1.0)),  # half of the rows and columns may be lost
    ],
)
def test_crop_holds_a_labelled_pixel_wherever_there_is_one(place, crop, scale):
    transform = TrainTransform(crop, scale, 0, 0.5)
    for index in range(40):
        pair = one_pixel((80, 120), place)
        image, label = transform(pair, sample_generator(3, 0, index))
        assert image.shape == (3, *crop)
        assert label.shape == crop
        assert (label == 2).any(), index


def test_crop_around_a_labelled_pixel_has_it_anywhere():
    """Redrawn crops are no crops of one corner: the pixel lies at all places of the crop."""
    transform = TrainTransform((8, 8), (1.0, 1.0), 0, 0.0)
    places = set()
    for index in range(600):
        _, label = transform(one_pixel((80, 120), (40, 60)), sample_generator(3, 0, index))
        places |= {(int(row), int(column)) for row, column in (label == 2).nonzero()}
    assert places == {(row, column) for row in range(8) for column in range(8)}


def test_image_without_a_labelled_pixel_stays_a_sample_that_ends():
    transform = TrainTransform((16, 16), (0.5, 2.0), 0, 0.5, colors=Photometric(color_jitter=0.2))
    label = torch.full((40, 48), IGNORE, dtype=torch.uint8)
    image = torch.zeros(3, 40, 48, dtype=torch.uint8)
    assert (transform((image, label), sample_generator(0, 0, 0))[1] == IGNORE).all()


def test_labelled_views_are_drawn_as_ever():
    """Only a crop without a labelled pixel is drawn again: all others keep their places."""
    transform = TrainTransform((32, 32), (0.5, 2.0), 0, 0.5, colors=Photometric(color_jitter=0.3))
    label = torch.randint(0, 4, (40, 48), dtype=torch.uint8)
    for index in range(20):
        view, _ = transform.draw_labelled_view(label, sample_generator(1, 0, index))
        assert view == transform.draw_view((40, 48), sample_generator(1, 0, index))


@pytest.mark.parametrize("mix", [0.0, 1.0])
@pytest.mark.parametrize("workers", [0, 2])
def test_redrawn_crops_are_the_same_for_any_number_of_workers(items, tmp_path, workers, mix):
    for index in range(7):
        label = np.full((40, 48), IGNORE, np.uint8)
        label[index * 5, index] = 1
        Image.fromarray(label).save(tmp_path / f"l{index}.png")
    transform = TrainTransform((8, 8), (0.8, 2.0), 0, 0.5, colors=Photometric(color_jitter=0.2))

    def batches(count, step=0):
        data = SegmentationDataset(items, tmp_path, tmp_path, 4, transform, 1, mix=mix)
        loader, sampler = train_loader(data, 2, count)
        sampler.seek(4, step)
        return list(loader)

    whole = batches(0)
    for a, b in zip(whole, batches(workers), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
        assert (a[1] != IGNORE).flatten(1).any(1).all()
    for a, b in zip(whole[1:], batches(workers, step=1), strict=True):
        assert torch.equal(a[1], b[1])


def test_scale_keeps_the_short_side():
    transform = TrainTransform((8, 8), (0.1, 0.1), 30, 0.0)
    assert transform.draw_view((40, 80), sample_generator(0, 0, 0)).size == (30, 60)


def test_views_are_spread_evenly_and_hold_all_of_the_image_they_can():
    transform = TrainTransform((30, 30), (0.5, 1.0), 0, 0.25)
    views = [transform.draw_view((40, 80), sample_generator(1, 0, index)) for index in range(4000)]
    for view in views:
        assert min(0, view.size[0] - 30) <= view.top <= max(0, view.size[0] - 30)
        assert min(0, view.size[1] - 30) <= view.left <= max(0, view.size[1] - 30)
    heights = np.array([view.size[0] for view in views])
    assert heights.min() == 20
    assert heights.max() == 40
    assert abs(heights.mean() - 30) < 0.5
    assert abs(np.mean([view.mirrored for view in views]) - 0.25) < 0.03
    lefts = np.array([view.left / (view.size[1] - 30) for view in views])
    assert abs(np.histogram(lefts, 5, (0, 1))[0] / 4000 - 0.2).max() < 0.04
    assert {view.top for view in views if view.size[0] == 28} == {-2, -1, 0}


@pytest.mark.parametrize("size", [(23, 31), (64, 80), (81, 103)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_crop_is_the_resized_image_padded_and_cut(size, mirrored):
    """Against torchvision's own steps, one after the other."""
    rng = np.random.default_rng(3)
    image = torch.from_numpy(rng.integers(0, 256, (40, 50, 3), np.uint8)).permute(2, 0, 1)
    label = torch.from_numpy(rng.integers(0, 19, (40, 50), np.uint8))
    for top, left in ((0, 0), (-9, 3), (size[0] - 32, size[1] - 32)):
        view = View(size, top, left, mirrored)
        window = (top, left, 32, 32)
        expected = tv.resize(image, size, antialias=True)
        expected = tv.crop(expected, *window)
        inside = tv.crop(torch.ones(1, *size, dtype=torch.uint8), *window)[0] == 1
        fill = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
        expected = expected.where(inside, fill)
        exact = tv.resize(label[None], size, tv.InterpolationMode.NEAREST_EXACT)
        truth = tv.crop(exact, *window)[0].where(inside, IGNORE)
        if mirrored:
            expected, truth = expected.flip(-1), truth.flip(-1)
        assert torch.equal(transforms.crop_image(image, view, (32, 32)), expected)
        assert torch.equal(transforms.crop_label(label, view, (32, 32)), truth)


@pytest.mark.parametrize("factor", [0.6, 1.4])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (photometric.scale_brightness, tv.adjust_brightness),
        (photometric.scale_contrast, tv.adjust_contrast),
        (photometric.scale_saturation, tv.adjust_saturation),
    ],
)
def test_colours_change_as_torchvision_changes_them(ours, theirs, factor):
    rng = np.random.default_rng(4)
    image = torch.from_numpy(rng.integers(0, 256, (3, 20, 30), np.uint8))
    pixels = image.float()
    ours(pixels, factor)
    assert (pixels - theirs(image, factor).float()).abs().max() < 2  # it cuts off, we round


def test_colour_jitter_draws_each_factor_and_leaves_the_label_alone(items, tmp_path):
    plain = dataset(items, tmp_path)[0, 0]
    seen = dataset(
        items,
        tmp_path,
        TrainTransform((32, 32), (0.5, 2.0), 0, 0.5, colors=Photometric(color_jitter=0.5)),
    )[0, 0]
    assert torch.equal(plain[1], seen[1])
    assert not torch.equal(plain[0], seen[0])
    assert seen[0].dtype == torch.uint8


def test_images_are_read_once_while_there_is_room(items, tmp_path):
    pair = 40 * 48 * 4  # bytes of an image and its label
    data = SegmentationDataset(items, tmp_path, tmp_path, 4, TRANSFORM, 1, cache_bytes=3 * pair)
    first = [data[0, index] for index in range(7)]
    assert sorted(data.cache) == [0, 1, 2]
    for index in (0, 1, 2):
        (tmp_path / f"i{index}.png").unlink()
    again = [data[0, index] for index in range(7)]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_batch_beyond_the_split_and_uneven_batches_are_refused(items, tmp_path):
    with pytest.raises(SgcpError, match=r"train\.batch_size: 8 exceeds the 7 images"):
        train_loader(dataset(items, tmp_path), 8, 0)
    with pytest.raises(SgcpError, match="no multiple of the 2 processes"):
        train_loader(dataset(items, tmp_path), 3, 0, world=2)


def test_an_epoch_has_labels_if_one_of_its_own_crops_is_labelled(items, tmp_path):
    labelled = sample_generator(1, 3, 5).initial_seed()  # epoch 3, image 5

    def transform(pair, generator):
        image, label = pair
        return image, label if generator.initial_seed() == labelled else label | IGNORE

    data = dataset(items, tmp_path, transform)
    assert [data.has_labels(epoch) for epoch in range(5)] == [False, False, False, True, False]


def test_label_without_class_and_other_size_are_refused(items, tmp_path):
    Image.fromarray(np.full((40, 48), 4, np.uint8)).save(tmp_path / "l0.png")
    with pytest.raises(SgcpError, match=r"l0\.png: train id 4 has no class"):
        dataset(items, tmp_path)[0, 0]
    Image.fromarray(np.zeros((40, 47), np.uint8)).save(tmp_path / "l0.png")
    with pytest.raises(SgcpError, match="differs from its image"):
        dataset(items, tmp_path)[0, 0]


def test_threads_of_the_loader_leave_the_step_its_cores(items, tmp_path):
    before = torch.get_num_threads()
    loader, _ = train_loader(dataset(items, tmp_path), 2, 0)
    assert len(list(loader)) == 3
    assert torch.get_num_threads() == before


def test_drawn_classes_come_over_with_their_own_pixels():
    below = torch.full((3, 20, 30), 9, dtype=torch.uint8), torch.zeros(20, 30, dtype=torch.uint8)
    label = torch.arange(1, 21, dtype=torch.uint8).repeat_interleave(30).view(20, 30)
    label[3] = IGNORE
    image = label.expand(3, 20, 30).clone()
    mixed, mixed_label = lay_over(below, (image, label), sample_generator(0, 0, 0))
    taken = [row for row in range(20) if mixed_label[row, 0] != 0]
    assert 4 <= len(taken) <= 16  # each of 19 with probability 1/2
    assert 3 not in taken  # what is unlabelled has no outline
    for row in range(20):
        whence = (image, label) if row in taken else below
        assert torch.equal(mixed[:, row], whence[0][:, row])
        assert torch.equal(mixed_label[row], whence[1][row])


def test_scores_of_a_whole_view_are_resized_as_a_networks_are():
    torch.manual_seed(0)
    scores = torch.randn(3, 20, 24)
    found = crop_scores(scores, View((80, 120), 0, 0, mirrored=False), (80, 120))
    wanted = F.interpolate(scores[None], (10, 15), mode="bilinear")[0]
    torch.testing.assert_close(found, wanted.half())
    mirrored = crop_scores(scores, View((80, 120), 0, 0, mirrored=True), (80, 120))
    torch.testing.assert_close(mirrored, wanted.flip(-1).half())


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_scores_follow_the_pixels_of_their_crop(items, tmp_path, mix):
    """One-hot scores of each label stay those of the label wherever a crop has one."""
    for index in range(7):
        label = torch.from_numpy(np.array(Image.open(tmp_path / f"l{index}.png")))
        hot = F.one_hot(label[::2, ::2].long(), 4).permute(2, 0, 1)
        np.save(tmp_path / f"{index}.npy", hot.half().numpy())
    transform = TrainTransform((64, 100), (0.5, 3.0), 0, 0.5)
    data = SegmentationDataset(items, tmp_path, tmp_path, 4, transform, 1, mix=mix)
    plain = [data[0, index] for index in range(7)]
    data.scores = tmp_path
    agree = total = 0
    for index in range(7):
        image, label, scores = data[0, index]
        assert torch.equal(image, plain[index][0])  # the same views as without a teacher
        assert torch.equal(label, plain[index][1])
        assert scores.shape == (4, 64 // SCORES_STRIDE, -(-100 // SCORES_STRIDE))
        assert scores.dtype == torch.float16
        rows, columns = (
            ((torch.arange(n) + 0.5) * side / n).long()
            for n, side in zip(scores.shape[1:], (64, 100), strict=True)
        )
        truth = label[rows][:, columns]
        known = scores[0].isfinite()
        assert ((truth != IGNORE) == known).float().mean() > 0.8  # an edge's half pixel is a row
        seen = known & (truth != IGNORE)
        agree += int((scores.nan_to_num().argmax(0) == truth)[seen].sum())
        total += int(seen.sum())
    assert agree > 0.9 * total > 0  # the rest are edges


# Last: the server of loader processes stays in the temporary folder that it is started in.
@pytest.mark.parametrize("length", [LONGEST_FOLDER, LONGEST_FOLDER + 1])
def test_temporary_folder_too_long_for_sockets_is_refused(items, tmp_path, monkeypatch, length):
    """torch would print `AF_UNIX path too long` in the loader process and wait for ever."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        long = Path(short, "x" * (length - len(short) - 1))
        long.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(long))
        monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
        if length > LONGEST_FOLDER:
            with pytest.raises(SgcpError, match="Set TMPDIR to a shorter path"):
                train_loader(dataset(items, tmp_path), 2, 1)
            train_loader(dataset(items, tmp_path), 2, 0)
        else:
            assert len(list(train_loader(dataset(items, tmp_path), 2, 1)[0])) == 3
