import json
from pathlib import Path

import cv2
import pytest

from scene.errors import DataError
from scene.image import RgbImage
from serve.answer import Options
from serve.client import Client
from streetmask.server_answers import is_address, server_predictions
from tests.serve.conftest import RunningServer
from tests.serve.tiny_model import street
from training.data.coco import CocoDataset

RED, GREEN = (0, (8, 16, 40, 48)), (1, (80, 16, 112, 48))


def dataset_of(folder: Path, *pictures: RgbImage, class_names: tuple[str, ...]) -> CocoDataset:
    """Pictures without labels, ids from 10."""
    (folder / "images").mkdir()
    images = []
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture[..., ::-1])
        size = {"height": picture.shape[0], "width": picture.shape[1]}
        images.append({"id": 10 + number, "file_name": f"{number}.png", **size})
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    (folder / "all.json").write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
    return CocoDataset(folder / "all.json", class_names=class_names)


def test_a_picture_with_nothing_on_it_is_answered_with_nothing(tmp_path: Path, tiny_server: RunningServer) -> None:
    dataset = dataset_of(tmp_path, street(), street(), class_names=("red",))
    assert list(server_predictions(tiny_server.address, dataset)) == [[], []]


def test_answers_are_those_of_the_server_under_the_data_sets_numbers(
    tmp_path: Path, tiny_server: RunningServer
) -> None:
    picture = street(RED, GREEN)
    dataset = dataset_of(tmp_path, street(), picture, class_names=("blue", "green", "red"))
    nothing, found = server_predictions(tiny_server.address, dataset)
    with Client(tiny_server.address) as client:
        served = client.segment(picture, Options(score_threshold=0.0)).instances
    assert nothing == []
    assert {(row.image_id, row.class_index) for row in found} == {(11, 2), (11, 1)}
    assert [row.mask_score for row in found] == [instance.mask_score for instance in served]
    x, y, width, height = found[0].box_xywh
    assert (x, y, x + width, y + height) == pytest.approx(served[0].box_xyxy)


def test_a_class_without_a_number_is_told_or_left_out(tmp_path: Path, tiny_server: RunningServer) -> None:
    dataset = dataset_of(tmp_path, street(RED, GREEN), class_names=("red", "blue"))
    with pytest.raises(DataError, match="answers green, which is none of the classes red, blue"):
        list(server_predictions(tiny_server.address, dataset))
    (found,) = server_predictions(tiny_server.address, dataset, known_only=True)
    assert [row.class_index for row in found] == [0]


def test_an_address_is_a_host_and_a_port_unless_it_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_address("localhost:50051")
    assert not any(map(is_address, ("models/street-nano/1", "last.pt", ":50051", "host:port")))
    Path("odd:1").touch()
    assert not is_address("odd:1")
