"""What a study compares: rows, each a recipe with changes, every one trained with every seed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from scene.errors import ConfigurationError, DataError, require
from training.class_losses import ClassLossKind
from training.command import TrainArguments
from training.recipes import RECIPES, STUDY, Recipe

_OF_STEPS = (
    *("steps", "schedule", "batch", "learning_rate", "accumulate", "precision"),
    *("class_loss", "alpha", "gamma", "beta", "ema_decay", "jitter", "freeze_first", "batch_norm"),
    *("target_pictures", "reinitialise_classes"),
)
"""What says nothing of a recipe that trains nothing: it measures what weights know, and random class layers nothing."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A recipe and what of it is changed, by the names of ``streetmask train``'s flags.

    ``start`` names the weights, of those that the study is given by name; without it they are chosen by the kind that
    the recipe begins with, and with "nothing" there are none.
    """

    recipe: str
    start: str = ""
    schedule: str | None = None
    preset: str | None = None
    classes: tuple[str, ...] = ()
    size: str | None = None
    reinitialise_classes: bool | None = None
    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    class_loss: ClassLossKind | None = None
    alpha: float | None = None
    gamma: float | None = None
    beta: float | None = None
    target_pictures: int | None = None
    source_pictures: int | None = None
    freeze_first: int | None = None
    jitter: bool | None = None
    precision: Literal["bfloat16", "float16", "float32"] | None = None
    accumulate: int | None = None
    ema_decay: float | None = None
    batch_norm: Literal["rule", "stored", "learned"] | None = None

    @property
    def of_recipe(self) -> Recipe:
        """The recipe as it stands in the list, unchanged."""
        return RECIPES[self.recipe]

    @property
    def is_as_published(self) -> bool:
        """Whether the recipe's way is unchanged: its losses, how its class layer starts, what is frozen, how pictures
        are augmented. Data, network and pace may be others."""
        classes = self.of_recipe.losses.classes
        own = (self.class_loss, self.alpha, self.gamma, self.beta, self.freeze_first or None)
        theirs = (classes.kind, classes.alpha, classes.gamma, classes.beta, None)
        alike = all(mine in (None, given) for mine, given in zip(own, theirs, strict=True))
        return alike and not self.jitter and not self.reinitialise_classes

    @property
    def changes(self) -> dict[str, Any]:
        """What is said beside the recipe, by field."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if name != "recipe"}

    def arguments(self, base: TrainArguments) -> TrainArguments:
        """Those of a training of this row; data, folder and machine are of ``base``."""
        options = {"recipe": self.recipe, **self.changes}
        options.pop("start", None)
        if "classes" in options:
            options["classes"] = tuple(options["classes"])
        source = base.source if self.of_recipe.takes_source else None
        return replace(base, source=source, **options)


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows by name, trained with each of the seeds; ``all`` holds what is changed in every row that does not say
    otherwise."""

    rows: Mapping[str, Row]
    seeds: tuple[int, ...] = (1, 2)
    all: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def resolved(self, changes: Mapping[str, Any], seeds: tuple[int, ...] = ()) -> "Plan":
        """The plan with ``all`` and these ``changes`` in its rows, and other seeds if there are any.

        Raises ``ConfigurationError`` for what is no row, recipe or value.
        """
        require("rows", bool(self.rows), "at least one row", "none")
        seeds = seeds or self.seeds
        require("seeds", bool(seeds) and len({*seeds}) == len(seeds) and min(seeds) >= 0, "numbers from 0, each once",
                list(seeds))  # fmt: skip
        own = [name for name, row in self.rows.items() if row.target_pictures is not None]
        require("target_pictures", not own or "target_pictures" not in changes,
                "none for all rows, as rows of this plan say their own", changes.get("target_pictures"))  # fmt: skip
        rows = {}
        for name, row in self.rows.items():
            require("rows", bool(name) and not set(name) & set("/\\:\n") and name.strip(". ") == name,
                    "names that a folder can have", name)  # fmt: skip
            known = ", ".join(RECIPES)
            require("recipe", row.recipe in RECIPES, f"for row {name} one of {known}", row.recipe)
            trains = bool(row.of_recipe.steps)
            changed = {**self.all, **msgspec.to_builtins(row), **changes}
            kept = {field: value for field, value in changed.items() if trains or field not in _OF_STEPS}
            rows[name] = _converted(kept, f"row {name}")
        return Plan(rows, seeds)


def _converted(fields: Mapping[str, Any], where: str) -> Row:
    try:
        return msgspec.convert(fields, Row)
    except msgspec.ValidationError as error:
        raise ConfigurationError("plan", f"{where}: {error}") from error


def read_plan(path: Path) -> Plan:
    """A plan from a TOML file: a table ``rows.NAME`` a row with its ``recipe``, and ``seeds`` and ``all``.

    Raises ``DataError`` where the file is missing or no TOML, ``ConfigurationError`` for names and values that no plan
    has.
    """
    if not path.is_file():
        raise DataError(f"expected a plan at {path}, found none: name one of {', '.join(PLANS)}, or a TOML file")
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Plan)
    except msgspec.ValidationError as error:
        raise ConfigurationError("plan", f"{path}: {error}") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no TOML: {error}") from error


def of_recipes(names: tuple[str, ...]) -> Plan:
    """A row a recipe, by its name."""
    require("recipes", len({*names}) == len(names), "every name once", list(names))
    return Plan({name: Row(name) for name in names})


STAND_IN = Plan(
    {
        "scratch": Row("nano-study", start="nothing"),
        "class mapping": Row("yolact-untrained"),
        "head": Row("plus-head"),
        "all but backbone": Row("plus-no-backbone"),
        "everything": Row("plus-full"),
        "half anchors": Row("plus-full-half"),
        "focal": Row("plus-full-focal"),
        "more pictures": Row("plus-full-coco1000", source_pictures=33),
        "most pictures": Row("plus-full-coco5000", source_pictures=167),
        "pasted": Row("plus-full-paste"),
    },
    all={"schedule": "nano-study"},
)
"""The published tables' like for 100 generated pictures: the same share of source pictures, and one schedule for all
rows, so that they differ in nothing but what their names say."""

_ANEW: dict[str, Any] = {"reinitialise_classes": True}

FOCAL = Plan(
    {
        "OHEM, 3 to 1": Row("plus-full", **_ANEW),
        "OHEM, hardest 256": Row("plus-full", class_loss="plain-ohem", **_ANEW),
        "OHEM, balanced": Row("plus-full", class_loss="balanced-ohem", **_ANEW),
        **{
            f"focal, gamma {gamma:g}, alpha {alpha:g}": Row("plus-full-focal", gamma=gamma, alpha=alpha, **_ANEW)
            for gamma, alpha in ((0.0, 0.5), (0.5, 0.5), (1.0, 0.25), (2.0, 0.25), (2.0, 0.5), (2.0, 0.75), (5.0, 0.25))
        },
        "focal of sigmoid": Row("plus-full-focal", class_loss="sigmoid-focal", **_ANEW),
        **{
            f"FL-star, gamma {gamma:g}, beta {beta:g}": Row(
                "plus-full-focal", class_loss="focal-star", gamma=gamma, beta=beta, **_ANEW
            )
            for gamma, beta in ((2.0, 1.0), (4.0, 0.0))
        },
    }
)
"""A focal loss's figures and its rivals (Lin et al. 2017, tables 1b, 1d and appendix B), everything else alike: class
layers start anew in all of them, since OHEM could go on with those that it had taught and the others could not."""

BACK = Plan(
    {
        "no training": Row("plus-untrained", start="source"),
        "straight on": Row("plus-full", start="source"),
        "by way of the target": Row("plus-full", start="tuned"),
    },
    all={"reinitialise_classes": True},
)
"""The source's weights, and those tuned on the target, trained on the source again: does the detour help? Both begin
with a class layer of random weights, since that of the tuned knows the target's classes alone; "no training" is where
the source's stand with the class layer that they have."""

PICTURES = Plan(
    {
        f"{way}, {count}": msgspec.structs.replace(row, target_pictures=count)
        for way, row in {
            "scratch": Row("nano-study", start="nothing"),
            "head": Row("plus-head"),
            "everything": Row("plus-full"),
        }.items()
        for count in (25, 100, 400)
    },
    all={"schedule": "nano-study"},
)
"""Learning curves over the labelled pictures of the target: how many do the source's weights save, and from how many on
is it worth while to train more than the head? All take equally many steps, so that only what there is to see differs;
the fewer pictures are a part of the more."""

PLANS: dict[str, Plan] = {
    "published": of_recipes(tuple(STUDY)),
    "stand-in": STAND_IN,
    "focal": FOCAL,
    "back": BACK,
    "pictures": PICTURES,
}
"""By name: the reference study's tables, their like for the generated pair (docs/study.md), and further questions."""
