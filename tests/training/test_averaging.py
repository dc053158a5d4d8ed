import pytest
import torch

from tests.model.tiny_network import seeded_network
from training.averaging import WeightAverage

LAYER = "fpn.lat_layers.0.weight"
STATISTIC = "backbone.bn1.running_mean"
COUNTER = "backbone.bn1.num_batches_tracked"


def test_the_first_update_copies() -> None:
    network = seeded_network()
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        network.get_parameter(LAYER).fill_(3.0)
    assert not torch.equal(average.network.get_parameter(LAYER), network.get_parameter(LAYER))
    average.update(network)
    for name, tensor in average.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_the_decay_warms_up() -> None:
    average = WeightAverage(seeded_network(), 0.5)
    assert [average.decay_at(update) for update in range(1, 10)] == pytest.approx(
        [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5]
    )


def test_weights_and_statistics_are_averaged_and_counts_copied() -> None:
    network = seeded_network()
    average = WeightAverage(network, 0.2)
    expected = 0.0
    for update, value in enumerate((1.0, 2.0, 4.0)):
        with torch.no_grad():
            network.get_parameter(LAYER).fill_(value)
            network.get_buffer(STATISTIC).fill_(-value)
            network.get_buffer(COUNTER).fill_(update)
        average.update(network)
        decay = 0.0 if not update else min(0.2, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert average.updates == 3
    assert expected not in (1.0, 2.0, 4.0)
    assert average.network.get_parameter(LAYER).flatten().tolist() == pytest.approx([expected] * 1024)
    assert average.network.get_buffer(STATISTIC).tolist() == pytest.approx([-expected] * 8)
    assert int(average.network.get_buffer(COUNTER)) == 2


def test_what_does_not_change_stays_to_the_bit() -> None:
    network = seeded_network()
    average = WeightAverage(network, 0.999)
    for _ in range(5):
        average.update(network)
    for name, tensor in average.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_an_average_goes_on_from_what_was_saved() -> None:
    network = seeded_network()
    whole, first, second = (WeightAverage(network, 0.9) for _ in range(3))
    for value in (1.0, 2.0, 3.0, 4.0):
        with torch.no_grad():
            network.get_parameter(LAYER).fill_(value)
        whole.update(network)
        if value < 3:
            first.update(network)
            second.load(first.network.state_dict(), first.updates)
        else:
            second.update(network)
    assert torch.equal(second.network.get_parameter(LAYER), whole.network.get_parameter(LAYER))
    assert second.updates == 4
