from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.anchors import make_anchors
from model.masks import crop_window
from model.outputs import YolactOutputs
from model.yolact import Yolact
from tests.model.tiny_network import TINY, seeded_network
from training.losses import Losses, LossSettings, Part, box_loss, losses, semantic_loss
from training.matching import BACKGROUND, Matches, Targets, match

ANCHORS = make_anchors(TINY)
SETTINGS = LossSettings()
OBJECTS = [[(0.1, 0.1, 0.6, 0.8), (0.7, 0.4, 0.95, 0.9)], [(0.2, 0.3, 0.5, 0.5), (0.8, 0.1, 0.9, 0.3)]]


def truth(boxes: list[tuple[float, float, float, float]], first_class: int = 0) -> Targets:
    """Filled boxes at the network's size, classes counted up."""
    height, width = TINY.size_hw
    masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[round(y1 * height) : round(y2 * height), round(x1 * width) : round(x2 * width)] = 1
    classes = torch.arange(len(boxes)) + first_class
    return Targets(torch.tensor(boxes).view(-1, 4), classes, masks, torch.zeros(0, 4))


def answered(network: Yolact, batch: int) -> YolactOutputs:
    image = torch.randn(batch, 3, *TINY.size_hw, generator=torch.Generator().manual_seed(5))
    outputs: YolactOutputs = network(image)
    return outputs


@pytest.fixture(scope="module")
def network() -> Yolact:
    return seeded_network()


@pytest.fixture(scope="module")
def outputs(network: Yolact) -> YolactOutputs:
    with torch.no_grad():
        return answered(network, 2)


@pytest.fixture(scope="module")
def targets() -> list[Targets]:
    return [truth(OBJECTS[0]), truth(OBJECTS[1], first_class=4)]


@pytest.fixture(scope="module")
def terms(network: Yolact, outputs: YolactOutputs, targets: list[Targets]) -> Losses:
    with torch.no_grad():
        return losses(network, outputs, ANCHORS, targets, SETTINGS)


def positives_of(targets: list[Targets]) -> int:
    return sum(int((match(ANCHORS, target).labels > BACKGROUND).sum()) for target in targets)


def smooth_l1(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def test_empty_pictures_give_finite_losses_and_gradients() -> None:
    network = seeded_network()
    found = losses(network, answered(network, 2), ANCHORS, [truth([]), truth([])], SETTINGS)
    assert [float(term.detach()) for term in (found.box, found.classes, found.mask, found.rescoring)] == [0.0] * 4
    assert float(found.semantic.detach()) > 0
    found.total.backward()  # type: ignore[no-untyped-call]
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_an_empty_picture_beside_a_full_one_gives_finite_gradients_to_every_box_of_the_figure() -> None:
    network = seeded_network()
    found = losses(network, answered(network, 2), ANCHORS, [truth([]), truth(OBJECTS[0])], SETTINGS)
    assert all(float(term.detach()) > 0 for term in found)
    found.total.backward()  # type: ignore[no-untyped-call]
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert bool(torch.isfinite(value.grad).all()), name


def test_the_total_is_the_sum(terms: Losses) -> None:
    assert float(terms.total) == pytest.approx(sum(float(term) for term in terms))


@pytest.mark.parametrize(
    ("weight", "term"),
    [
        ("box_weight", "box"),
        ("class_weight", "classes"),
        ("mask_weight", "mask"),
        ("semantic_weight", "semantic"),
        ("rescoring_weight", "rescoring"),
    ],
)
def test_a_weight_scales_its_own_term(
    network: Yolact, outputs: YolactOutputs, targets: list[Targets], terms: Losses, weight: str, term: str
) -> None:
    doubled = replace(SETTINGS, **{weight: 2 * getattr(SETTINGS, weight)})
    with torch.no_grad():
        changed = losses(network, outputs, ANCHORS, targets, doubled)
    expected = {name: float(value) * (2 if name == term else 1) for name, value in terms._asdict().items()}
    assert {name: float(value) for name, value in changed._asdict().items()} == pytest.approx(expected, rel=1e-5)


def test_box_loss_is_smooth_l1_over_the_positives(
    outputs: YolactOutputs, targets: list[Targets], terms: Losses
) -> None:
    matches = [match(ANCHORS, target) for target in targets]
    expected = 0.0
    for offsets, found in zip(outputs.box_offsets, matches, strict=True):
        for anchor in torch.nonzero(found.labels > BACKGROUND).flatten().tolist():
            difference = (offsets[anchor] - found.offsets[anchor]).tolist()
            expected += sum(smooth_l1(side) for side in difference)
    assert float(box_loss(outputs.box_offsets, matches)) == pytest.approx(expected, rel=1e-4)
    assert float(terms.box) == pytest.approx(1.5 * expected / positives_of(targets), rel=1e-4)


def test_semantic_loss_by_hand() -> None:
    """Two objects of one class on a map of 2 x 4; a mask's pixel there is the mean of 2 x 2 cut above one half."""
    masks = torch.zeros(2, 4, 8, dtype=torch.uint8)
    masks[0, :2, :2] = 1
    masks[1, :2, :4] = 1
    masks[1, 3, 7] = 1  # a quarter of a pixel: none
    target = Targets(torch.zeros(2, 4), torch.tensor([1, 1]), masks, torch.zeros(0, 4))
    logits = torch.randn(1, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    wanted = torch.zeros(3, 2, 4)
    wanted[1, 0, :2] = 1.0
    expected = -(wanted * torch.sigmoid(logits[0]).log() + (1 - wanted) * torch.sigmoid(-logits[0]).log()).sum() / 8
    assert float(semantic_loss(logits, [target])) == pytest.approx(float(expected), rel=1e-5)


def soft_masks(outputs: YolactOutputs, picture: int, found: Matches, target: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Of every positive: its soft mask in its true box, the true mask at prototype resolution, and its object's row."""
    anchors = torch.nonzero(found.labels > BACKGROUND).flatten()
    rows = found.rows[anchors]
    height, width = outputs.prototypes.shape[1:3]
    truth_masks = F.interpolate(target.masks.float()[:, None], (height, width), mode="bilinear")[:, 0] > 0.5
    soft = []
    for anchor, row in zip(anchors.tolist(), rows.tolist(), strict=True):
        linear = (outputs.prototypes[picture] * outputs.mask_coefficients[picture, anchor]).sum(dim=-1)
        soft.append(torch.sigmoid(linear) * crop_window(target.boxes_xyxy[row : row + 1], (height, width))[0])
    return torch.stack(soft), truth_masks[rows], rows


def test_mask_loss_divides_by_the_boxs_share(outputs: YolactOutputs, targets: list[Targets], terms: Losses) -> None:
    expected = 0.0
    for picture, target in enumerate(targets):
        found = match(ANCHORS, target)
        for soft, wanted, row in zip(*soft_masks(outputs, picture, found, target), strict=True):
            x1, y1, x2, y2 = target.boxes_xyxy[row].tolist()
            likelihood = torch.where(wanted, soft.log(), (1 - soft).log()).clamp(min=-100)
            expected -= float(likelihood.mean()) / ((x2 - x1) * (y2 - y1))
    assert float(terms.mask) == pytest.approx(6.125 * expected / positives_of(targets), rel=1e-4)


def test_rescoring_learns_each_large_masks_own_iou(
    network: Yolact, outputs: YolactOutputs, targets: list[Targets], terms: Losses
) -> None:
    assert network.maskiou_net is not None
    expected, taught = 0.0, 0
    for picture, target in enumerate(targets):
        found = match(ANCHORS, target)
        for soft, wanted, row in zip(*soft_masks(outputs, picture, found, target), strict=True):
            if int(wanted.sum()) <= 25:
                continue
            taught += 1
            cut = soft > 0.5
            iou = float((cut & wanted).sum()) / float((cut | wanted).sum())
            with torch.no_grad():
                predicted = float(network.maskiou_net(soft[None, None])[0, target.classes[row]])
            expected += smooth_l1(predicted - iou)
    assert 0 < taught < positives_of(targets), "the case should hold masks on both sides of the limit"
    assert float(terms.rescoring) == pytest.approx(25 * expected / positives_of(targets), rel=1e-4)


def test_without_rescoring_there_is_nothing_to_learn(targets: list[Targets]) -> None:
    network = seeded_network(replace(TINY, rescoring_channels=()))
    found = losses(network, answered(network, 2), ANCHORS, targets, SETTINGS)
    assert float(found.rescoring.detach()) == 0.0


def test_a_few_masks_stand_for_all(network: Yolact, outputs: YolactOutputs) -> None:
    """Where every positive makes the same mask, one of them weighs as much as all of them."""
    alike = outputs._replace(mask_coefficients=torch.full_like(outputs.mask_coefficients, 0.2))
    target = [truth(OBJECTS[0][:1])] * 2
    assert positives_of(target) > 2
    with torch.no_grad():
        found = [
            float(losses(network, alike, ANCHORS, target, replace(SETTINGS, masks_per_picture=count)).mask)
            for count in (1, 2, 100)
        ]
    for one, other in pairwise(found):
        assert one == pytest.approx(other, rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_whole(network: Yolact, outputs: YolactOutputs, targets: list[Targets]) -> None:
    """Also where one part has no object, and so no positives of its own."""
    three = [*targets, truth([])]
    matches = [match(ANCHORS, target) for target in three]
    more = YolactOutputs(*(torch.cat([tensor, tensor[:1]]) for tensor in outputs))
    with torch.no_grad():
        whole = losses(network, more, ANCHORS, three, SETTINGS)
        parts = []
        for rows in (slice(0, 1), slice(1, 2), slice(2, 3)):
            part = Part(matches[rows], positives=positives_of(three), pictures=3)
            answers = YolactOutputs(*(tensor[rows] for tensor in more))
            parts.append(losses(network, answers, ANCHORS, three[rows], SETTINGS, part=part))
    for name, value in whole._asdict().items():
        assert float(sum(getattr(part, name) for part in parts)) == pytest.approx(float(value), rel=1e-5), name


def test_the_masks_drawn_follow_from_the_pictures_generator(network: Yolact, outputs: YolactOutputs) -> None:
    targets, settings = [truth(OBJECTS[0])] * 2, replace(SETTINGS, masks_per_picture=1)

    def drawn(*seeds: int) -> float:
        part = replace(Part.whole(ANCHORS, targets), draws=[np.random.default_rng(seed) for seed in seeds])
        torch.manual_seed(sum(seeds))
        with torch.no_grad():
            return float(losses(network, outputs, ANCHORS, targets, settings, part=part).mask)

    assert drawn(1, 2) == drawn(1, 2)
    assert len({drawn(1, seed) for seed in range(8)}) > 1
