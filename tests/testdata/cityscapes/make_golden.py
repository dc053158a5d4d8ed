"""Writes ``golden.npz``: random label maps and predicted masks, and what Cityscapes' own program says of them.

It needs an environment of its own, as the program does not run with numpy 2:
``pip install cityscapesscripts 'numpy<2' 'opencv-python-headless<4.12' && python make_golden.py``.
"""

import importlib
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, PICTURES = 96, 160, 8
CLASSES = (24, 25, 26, 27, 28, 31, 32, 33)
TRAIN, MOTORCYCLE, BUS = 31, 32, 28
VOID = (0, 3, 5, 14, 29, 30)

program = importlib.import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")

Map = NDArray[np.int32]
Mask = NDArray[np.uint8]
Answer = tuple[Mask, int, float]
Figures = NDArray[np.float64]


def ellipse(rng: np.random.Generator, longest: int) -> Mask:
    """A random ellipse of ones."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    centre = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
    axes = int(rng.integers(2, longest)), int(rng.integers(2, longest))
    cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 1, -1)
    return mask


def label_map(rng: np.random.Generator) -> Map:
    """Road with void, caravans, groups and objects of every size on it; motorcycles are small, no train."""
    labels = np.full((HEIGHT, WIDTH), 7, np.int32)
    for label in rng.choice(VOID, 4):
        labels[ellipse(rng, 25) > 0] = label
    labels[ellipse(rng, 15) > 0] = 29_000
    for number in range(22):
        kind = int(rng.choice([label for label in CLASSES if label != TRAIN]))
        longest = 6 if kind == MOTORCYCLE or rng.random() < 0.2 else 30
        labels[ellipse(rng, longest) > 0] = kind if rng.random() < 0.25 else 1000 * kind + number
    return labels


def predicted(rng: np.random.Generator, labels: Map) -> list[Answer]:
    """Regions moved, cut or grown, some twice, some of another class, and inventions; scores have ties."""
    found = []
    for label in np.unique(labels):
        for _ in range(int(rng.integers(1, 4))):
            mask = (labels == label).astype(np.uint8)
            mask = np.roll(mask, rng.integers(-4, 5, 2) * (rng.random() < 0.7), (0, 1))
            if rng.random() < 0.3:
                mask = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(np.uint8)
            own = int(label) // 1000 if label >= 1000 else int(label)
            found.append((mask, own if own in CLASSES and rng.random() < 0.8 else int(rng.choice(CLASSES))))
    found += [(ellipse(rng, 20), int(rng.choice(CLASSES))) for _ in range(5)]
    found.append((np.zeros((HEIGHT, WIDTH), np.uint8), 26))
    return [(mask, kind, round(float(rng.random()), 2)) for mask, kind in found if kind != BUS]


def ask(
    folder: Path, maps: list[Map], answers: list[list[tuple[Mask, int, float]]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the program says: AP and AP50 of all classes [2], and of each [8, 2]."""
    truths, lists = [], []
    for number, (labels, answer) in enumerate(zip(maps, answers, strict=True)):
        name = f"town_{number:06}_000000"
        truths.append(str(folder / f"{name}_gtFine_instanceIds.png"))
        lists.append(str(folder / f"{name}.txt"))
        cv2.imwrite(truths[-1], labels.astype(np.uint16))
        rows = []
        for row, (mask, kind, score) in enumerate(answer):
            cv2.imwrite(str(folder / f"{name}_{row}.png"), mask * 255)
            rows.append(f"{name}_{row}.png {kind} {score!r}\n")
        Path(lists[-1]).write_text("".join(rows))
    args = program.args
    args.quiet, args.JSONOutput, args.predictionPath = True, False, str(folder)
    args.gtInstancesFile = str(folder / "gtInstances.json")
    os.chdir(folder)  # it writes its matches where it stands
    said = program.evaluateImgLists(lists, truths, args)
    means = said["averages"]
    classes = [means["classes"][name] for name in said["instLabels"]]
    of_each = [[row["ap"], float(np.squeeze(row["ap50%"]))] for row in classes]
    return np.array([means["allAp"], means["allAp50%"]]), np.array(of_each)


def main() -> None:
    """Write the file beside this one."""
    out, rng = Path(__file__).resolve().with_name("golden.npz"), np.random.default_rng(4)
    maps = [label_map(rng) for _ in range(PICTURES)]
    answers = [predicted(rng, labels) for labels in maps]
    with tempfile.TemporaryDirectory() as folder:
        all_classes, each_class = ask(Path(folder), maps, answers)
    rows = [(number, *row) for number, answer in enumerate(answers) for row in answer]
    np.savez_compressed(
        out,
        labels=np.stack(maps).astype(np.uint16),
        pictures=np.array([row[0] for row in rows], np.uint8),
        masks=np.packbits(np.stack([row[1] for row in rows]), axis=None),
        kinds=np.array([row[2] for row in rows], np.uint8),
        scores=np.array([row[3] for row in rows]),
        all_classes=all_classes,
        each_class=each_class,
    )


if __name__ == "__main__":
    main()
