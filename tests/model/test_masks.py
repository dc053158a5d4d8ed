import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.masks import assemble_masks, crop_window

SIDES = st.integers(-16, 80).map(lambda number: number / 64)


def test_no_boxes_have_no_masks() -> None:
    masks = assemble_masks(torch.rand(6, 8, 3), torch.zeros(0, 3), torch.zeros(0, 4))
    assert masks.shape == (0, 6, 8)


def test_a_mask_by_hand() -> None:
    prototypes = torch.zeros(4, 6, 2)
    prototypes[..., 0] = 1.0
    prototypes[2, 3] = torch.tensor([1.0, 2.0])
    masks = assemble_masks(prototypes, torch.tensor([[0.5, -1.0]]), torch.tensor([[0.5, 0.5, 0.6, 0.6]]))
    inside = torch.sigmoid(torch.tensor(0.5))
    expected = torch.zeros(1, 4, 6)
    expected[0, 1:4, 2:5] = inside  # rows 2 to 2.4 and columns 3 to 3.6, grown by one pixel
    expected[0, 2, 3] = torch.sigmoid(torch.tensor(0.5 - 2.0))
    torch.testing.assert_close(masks, expected)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(SIDES, SIDES, SIDES, SIDES))
def test_the_window_is_the_literal_one(size_hw: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    height, width = size_hw
    sides = (torch.tensor(box) * torch.tensor([width, height, width, height])).tolist()
    left, right = sorted((sides[0], sides[2]))
    top, bottom = sorted((sides[1], sides[3]))
    expected = [
        [top - 1 <= row < bottom + 1 and left - 1 <= column < right + 1 for column in range(width)]
        for row in range(height)
    ]
    assert crop_window(torch.tensor([box]), size_hw)[0].tolist() == expected


def test_assembly_is_the_literal_sum_within_the_window() -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes, coefficients = torch.rand(2, 5, 7, 3, generator=generator), torch.randn(2, 4, 3, generator=generator)
    boxes = torch.rand(2, 4, 4, generator=generator)
    masks = assemble_masks(prototypes, coefficients, boxes)
    assert masks.shape == (2, 4, 5, 7)
    window = crop_window(boxes, (5, 7))
    assert 0 < int(window.sum()) < window.numel()
    for picture in range(2):
        for row in range(4):
            total = sum(prototypes[picture, ..., k] * coefficients[picture, row, k] for k in range(3))
            assert isinstance(total, torch.Tensor)
            expected = torch.where(window[picture, row], 1 / (1 + torch.exp(-total)), torch.tensor(0.0))
            torch.testing.assert_close(masks[picture, row], expected)
