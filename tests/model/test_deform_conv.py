import importlib
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.deform_conv import DeformConv2d, deform_conv2d

Case = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def sampled(plane: Tensor, y: float, x: float) -> float:
    """Bilinear by definition: the four neighbours by nearness; a neighbour outside the map is 0."""
    value = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(plane[row, column])
    return value


def literal(
    image: Tensor,
    offsets_yx: Tensor,
    modulation: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: int,
    dilation: int = 1,
) -> Tensor:
    """Equation 1 of DCNv2, one product at a time."""
    batch, channels = image.shape[:2]
    out = torch.zeros(batch, len(weight), *offsets_yx.shape[2:], dtype=torch.float64)
    out += bias[:, None, None]
    for picture in range(batch):
        for row in range(out.shape[2]):
            for column in range(out.shape[3]):
                for tap in range(9):
                    dy, dx = (float(offsets_yx[picture, 2 * tap + axis, row, column]) for axis in (0, 1))
                    y = row * stride + (tap // 3 - 1) * dilation + dy
                    x = column * stride + (tap % 3 - 1) * dilation + dx
                    for channel in range(channels):
                        value = sampled(image[picture, channel], y, x)
                        value *= float(modulation[picture, tap, row, column])
                        out[picture, :, row, column] += weight[:, channel, tap // 3, tap % 3].double() * value
    return out.float()


def case(size_hw: tuple[int, int], stride: int, reach: float, seed: int = 0, batch: int = 1) -> Case:
    """Image, offsets up to ``reach`` pixels, modulation, weight and bias."""
    generator = torch.Generator().manual_seed(seed)
    out_h, out_w = (math.ceil(side / stride) for side in size_hw)
    return (
        torch.randn(batch, 2, *size_hw, generator=generator),
        (torch.rand(batch, 18, out_h, out_w, generator=generator) * 2 - 1) * reach,
        torch.rand(batch, 9, out_h, out_w, generator=generator),
        torch.randn(3, 2, 3, 3, generator=generator),
        torch.randn(3, generator=generator),
    )


def leaves(arguments: Case, dtype: torch.dtype) -> Case:
    """Copies of another type that gradients end at."""
    image, offsets, modulation, weight, bias = (tensor.to(dtype, copy=True).requires_grad_() for tensor in arguments)
    return image, offsets, modulation, weight, bias


def distance(ours: Tensor, expected: Tensor) -> float:
    """The difference's length as a share of what is expected."""
    ours, expected = ours.detach().float(), expected.detach()
    return float((ours - expected).norm() / expected.norm())


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0.0, 0.8, 3.0, 40.0]),
    st.integers(0, 100),
)
def test_equals_the_literal_sum(size_hw: tuple[int, int], stride: int, dilation: int, reach: float, seed: int) -> None:
    arguments = case(size_hw, stride, reach, seed)
    expected = literal(*arguments, stride=stride, dilation=dilation)
    torch.testing.assert_close(deform_conv2d(*arguments, stride, dilation), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def published() -> Any:
    """torchvision's operator, whose compiled part does not load beside every build of torch."""
    try:
        operator = importlib.import_module("torchvision.ops").deform_conv2d
        operator(torch.zeros(1, 1, 1, 1), torch.zeros(1, 18, 1, 1), torch.zeros(1, 1, 3, 3), padding=1)
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"torchvision's operator does not load here: {error}")
    return operator


@pytest.mark.parametrize("reach", [0.0, 2.0, 1e3])
def test_equals_torchvisions_operator(published: Any, reach: float) -> None:
    for stride, dilation in itertools.product((1, 2), (1, 2, 3)):
        image, offsets, modulation, weight, bias = case((9, 7), stride, reach, batch=2)
        expected = published(image, offsets, weight, bias, stride, padding=dilation, dilation=dilation, mask=modulation)
        ours = deform_conv2d(image, offsets, modulation, weight, bias, stride, dilation)
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size_hw", [(6, 1), (1, 6), (1, 1)])
def test_maps_of_one_row_or_column(size_hw: tuple[int, int], stride: int) -> None:
    arguments = case(size_hw, stride, reach=1.5, batch=2)
    ours = deform_conv2d(*arguments, stride=stride)
    torch.testing.assert_close(ours, literal(*arguments, stride=stride), atol=1e-4, rtol=1e-4)


def test_half_a_pixel_is_the_mean_of_two_neighbours() -> None:
    image = torch.tensor([[[[1.0, 3.0, 7.0]]]])
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1.0
    offsets = torch.zeros(1, 18, 1, 3)
    offsets[:, 9] = 0.5  # dx of the tap in the middle
    answer = deform_conv2d(image, offsets, torch.ones(1, 9, 1, 3), weight, torch.zeros(1), stride=1)
    torch.testing.assert_close(answer, torch.tensor([[[[2.0, 5.0, 3.5]]]]))


def test_far_outside_is_zero_so_that_the_bias_is_left() -> None:
    image, offsets, modulation, weight, bias = case((4, 5), 1, reach=0.0)
    for away in (1e3, -1e3, 1e6, -1e30, 1e30):
        answer = deform_conv2d(image, offsets + away, modulation, weight, bias, stride=1)
        torch.testing.assert_close(answer, bias[None, :, None, None].expand_as(answer))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_answer_lies_in_memory_as_the_map_does(layout: torch.memory_format) -> None:
    image, offsets, modulation, weight, bias = case((5, 4), 1, reach=2.0, batch=2)
    answer = deform_conv2d(image.contiguous(memory_format=layout), offsets, modulation, weight, bias, stride=1)
    assert answer.is_contiguous(memory_format=layout)
    torch.testing.assert_close(answer, literal(image, offsets, modulation, weight, bias, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_fresh_layer_answers_half_of_a_plain_convolution(stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(4, 6, stride, dilation)
    image = torch.randn(2, 4, 9, 7)
    plain = F.conv2d(image, layer.weight, stride=stride, padding=dilation, dilation=dilation)
    torch.testing.assert_close(layer(image), plain / 2, atol=1e-5, rtol=1e-5)


def test_the_offset_layer_gives_dy_and_dx_by_tap_then_the_modulation() -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(2, 3, dilation=2)
    torch.nn.init.normal_(layer.conv_offset_mask.weight, std=0.3)
    image = torch.randn(1, 2, 5, 4)
    guide = layer.conv_offset_mask(image)
    with torch.no_grad():
        expected = literal(
            image, guide[:, :18], guide[:, 18:].sigmoid(), layer.weight, layer.bias, stride=1, dilation=2
        )
    torch.testing.assert_close(layer(image), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_those_of_small_differences(stride: int) -> None:
    """The answer is linear in each argument between pixels, so that wide differences are exact but for float32."""
    image, offsets, modulation, weight, bias = (tensor.double() for tensor in case((3, 3), stride, reach=0.25, batch=2))
    arguments = tuple(tensor.requires_grad_() for tensor in (image, offsets + 0.5, modulation, weight, bias))
    assert torch.autograd.gradcheck(
        lambda i, o, m, w, b: deform_conv2d(i, o, m, w, b, stride), arguments, eps=1e-2, atol=2e-3, rtol=1e-3
    )


@pytest.mark.parametrize("reach", [0.0, 1e4])
def test_gradients_are_finite_on_pixels_and_far_outside(reach: float) -> None:
    arguments = case((4, 4), 1, reach)
    for tensor in arguments:
        tensor.requires_grad_()
    deform_conv2d(*arguments, stride=1).sum().backward()  # type: ignore[no-untyped-call]
    for tensor in arguments:
        assert tensor.grad is not None
        assert bool(torch.isfinite(tensor.grad).all())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize(("reach", "dilation"), [(0.0, 1), (2.0, 1), (2.0, 2), (30.0, 1)])
def test_half_precision_is_close_to_float32(dtype: torch.dtype, tolerance: float, reach: float, dilation: int) -> None:
    """The answer and every gradient, from the same rounded values."""
    half = leaves(case((12, 12), 1, reach), dtype)
    whole = leaves(half, torch.float32)
    ours, expected = (deform_conv2d(*inputs, stride=1, dilation=dilation) for inputs in (half, whole))
    assert ours.dtype == dtype
    assert distance(ours, expected) < tolerance
    slopes = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    of_half = torch.autograd.grad(ours, half, slopes.to(dtype))
    of_whole = torch.autograd.grad(expected, whole, slopes)
    assert max(distance(mine, other) for mine, other in zip(of_half, of_whole, strict=True)) < 3 * tolerance


def test_places_of_a_bfloat16_map_keep_their_pixel() -> None:
    """bfloat16 holds no odd number above 256: places computed in it would miss their column."""
    image = (torch.arange(400) % 7).bfloat16().expand(1, 1, 2, 400)
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.bfloat16)
    weight[0, 0, 1, 1] = 1.0
    offsets, modulation = (torch.full((1, n, 2, 400), value).bfloat16() for n, value in ((18, 0.0), (9, 1.0)))
    answer = deform_conv2d(image, offsets, modulation, weight, torch.zeros(1).bfloat16(), stride=1)
    torch.testing.assert_close(answer, image, atol=2e-2, rtol=0)
