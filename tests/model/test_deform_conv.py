import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.deform_conv import DeformConv2d, deform_conv2d


def sampled(plane: Tensor, y: float, x: float) -> float:
    """Bilinear by definition: the four neighbours by nearness; a neighbour outside the map is 0."""
    value = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(plane[row, column])
    return value


def literal(image: Tensor, offsets_yx: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Equation 1 of DCNv2, one product at a time."""
    batch, channels = image.shape[:2]
    out = torch.zeros(batch, len(weight), *offsets_yx.shape[2:], dtype=torch.float64)
    out += bias[:, None, None]
    for picture in range(batch):
        for row in range(out.shape[2]):
            for column in range(out.shape[3]):
                for tap in range(9):
                    dy, dx = (float(offsets_yx[picture, 2 * tap + axis, row, column]) for axis in (0, 1))
                    y, x = row * stride - 1 + tap // 3 + dy, column * stride - 1 + tap % 3 + dx
                    for channel in range(channels):
                        value = sampled(image[picture, channel], y, x)
                        value *= float(modulation[picture, tap, row, column])
                        out[picture, :, row, column] += weight[:, channel, tap // 3, tap % 3].double() * value
    return out.float()


def case(
    size_hw: tuple[int, int], stride: int, reach: float, seed: int = 0, batch: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
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


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([1, 2]),
    st.sampled_from([0.0, 0.8, 3.0, 40.0]),
    st.integers(0, 100),
)
def test_equals_the_literal_sum(size_hw: tuple[int, int], stride: int, reach: float, seed: int) -> None:
    arguments = case(size_hw, stride, reach, seed)
    torch.testing.assert_close(
        deform_conv2d(*arguments, stride=stride), literal(*arguments, stride=stride), atol=1e-4, rtol=1e-4
    )


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
    for away in (1e3, -1e3, 1e6):
        answer = deform_conv2d(image, offsets + away, modulation, weight, bias, stride=1)
        torch.testing.assert_close(answer, bias[None, :, None, None].expand_as(answer))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_fresh_layer_answers_half_of_a_plain_convolution(stride: int) -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(4, 6, stride)
    image = torch.randn(2, 4, 9, 7)
    plain = F.conv2d(image, layer.weight, stride=stride, padding=1)
    torch.testing.assert_close(layer(image), plain / 2, atol=1e-5, rtol=1e-5)


def test_the_offset_layer_gives_dy_and_dx_by_tap_then_the_modulation() -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(2, 3)
    torch.nn.init.normal_(layer.conv_offset_mask.weight, std=0.3)
    image = torch.randn(1, 2, 5, 4)
    guide = layer.conv_offset_mask(image)
    with torch.no_grad():
        expected = literal(image, guide[:, :18], guide[:, 18:].sigmoid(), layer.weight, layer.bias, stride=1)
    torch.testing.assert_close(layer(image), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_those_of_small_differences(stride: int) -> None:
    """The answer is linear in each argument between pixels, so that wide differences are exact but for float32."""
    image, offsets, modulation, weight, bias = (tensor.double() for tensor in case((3, 3), stride, reach=0.25))
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


def test_bfloat16_is_close_to_float32() -> None:
    image, offsets, modulation, weight, bias = (tensor.bfloat16() for tensor in case((12, 12), 1, reach=2.0))
    answer = deform_conv2d(image, offsets, modulation, weight, bias, stride=1)
    expected = deform_conv2d(image.float(), offsets.float(), modulation.float(), weight.float(), bias.float(), stride=1)
    assert answer.dtype == torch.bfloat16
    assert float((answer.float() - expected).norm() / expected.norm()) < 0.01


def test_places_of_a_bfloat16_map_keep_their_pixel() -> None:
    """bfloat16 holds no odd number above 256: places computed in it would miss their column."""
    image = (torch.arange(400) % 7).bfloat16().expand(1, 1, 2, 400)
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.bfloat16)
    weight[0, 0, 1, 1] = 1.0
    offsets, modulation = (torch.full((1, n, 2, 400), value).bfloat16() for n, value in ((18, 0.0), (9, 1.0)))
    answer = deform_conv2d(image, offsets, modulation, weight, torch.zeros(1).bfloat16(), stride=1)
    torch.testing.assert_close(answer, image, atol=2e-2, rtol=0)
