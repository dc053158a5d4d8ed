"""What a server answers to a data set's pictures, as it is scored: the whole way, wire and all."""

from collections.abc import Iterator
from pathlib import Path

from scene.errors import DataError
from scene.instances import Instance
from serve.answer import FoundInstance, Options
from serve.client import Client
from training.data.dataset import InstanceDataset
from training.predictions import MAX_DETECTIONS, Prediction, prediction_of


def is_address(target: str) -> bool:
    """Whether it is HOST:PORT, unless a file of that name lies here."""
    host, _, port = target.rpartition(":")
    return bool(host) and port.isdecimal() and not Path(target).exists()


def server_predictions(address: str, dataset: InstanceDataset, known_only: bool = False) -> Iterator[list[Prediction]]:
    """What a server answers to every whole picture, sent as raw pixels, whatever the scores.

    Classes are told by their names. One that the data set does not name is left out with ``known_only``, and a
    ``DataError`` without.
    """
    names = set(dataset.class_names)
    with Client(address) as client:
        for index in range(len(dataset)):
            answer = client.segment(dataset.picture(index), Options(score_threshold=0.0, max_instances=MAX_DETECTIONS))
            unknown = {found.class_name for found in answer.instances} - names
            if unknown and not known_only:
                raise DataError(
                    f"{address} answers {min(unknown)}, which is none of the classes {', '.join(dataset.class_names)}"
                )
            yield [
                prediction_of(_instance(found, dataset.class_names), dataset.image_id(index), answer.image_size_hw)
                for found in answer.instances
                if found.class_name in names
            ]


def _instance(found: FoundInstance, class_names: tuple[str, ...]) -> Instance:
    if found.mask is None:
        raise DataError("the server sent an instance without a mask; it is no StreetMask server of this version")
    return Instance(
        class_index=class_names.index(found.class_name),
        score=found.score,
        mask_score=found.mask_score,
        box_xyxy=found.box_xyxy,
        mask_xy=found.mask.xy,
        mask=found.mask.pixels(),
    )
