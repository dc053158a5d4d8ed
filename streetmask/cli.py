"""The command ``streetmask``."""

from collections.abc import Sequence

from streetmask.command_line import Command, CommandLine

COMMANDS: dict[tuple[str, ...], Command] = {
    ("demo",): Command(
        "Show it all: server, stream, annotated video.", "streetmask.commands.demo:demo", "serve,client"
    ),
    ("segment",): Command(
        "Find the objects of pictures or videos, without a server.",
        "streetmask.commands.segment:segment",
        "serve,client",
    ),
    ("serve",): Command("Serve a model over gRPC.", "streetmask.commands.serve:serve", "serve"),
    ("health",): Command("Ask a server whether it serves.", "streetmask.commands.health:health", "client"),
    ("deploy",): Command("Exchange a running server's model.", "streetmask.commands.deploy:deploy", "client"),
    ("unload",): Command("Let a running server's model go.", "streetmask.commands.deploy:unload", "client"),
    ("models",): Command("List what a running server has loaded.", "streetmask.commands.models:models", "client"),
    ("stream",): Command("Stream a video through a server.", "streetmask.commands.stream:stream", "client"),
    ("data", "synth"): Command("Make synthetic street scenes with labels.", "streetmask.commands.synth:synth", "serve"),
    ("data", "check"): Command(
        "Say what a data set holds and what would hurt training.", "streetmask.commands.check:check", "serve"
    ),
    ("data", "convert"): Command(
        "Write a data set as COCO or in Cityscapes' layout.", "streetmask.commands.convert:convert", "serve"
    ),
    ("weights", "inspect"): Command("Say what a weight file holds.", "training.weights_command:inspect", "train"),
    ("weights", "convert"): Command(
        "Make a checkpoint from published weights or a backbone.", "training.weights_command:convert", "train"
    ),
    ("layers",): Command(
        "Say how far each layer moved in a training, and what to freeze.",
        "training.layers_command:layers",
        "train,study",
    ),
    ("train", "recipes"): Command("List the recipes of training.", "training.command:recipes", "train"),
    ("train",): Command("Train or fine-tune a network.", "training.command:train", "train"),
    ("study",): Command(
        "Train recipes x seeds and compare them in a table.", "training.study_command:study", "train,study"
    ),
    ("evaluate",): Command(
        "Measure a checkpoint, a model or a server on labelled pictures.",
        "streetmask.commands.evaluate:evaluate",
        "serve,client,train,export",
    ),
    ("analyse", "focal"): Command(
        "Show what a focal loss would make a trained network look at.",
        "streetmask.commands.analyse:analyse_focal",
        "train,study",
    ),
    ("export", "triton"): Command(
        "Add a model folder to a model repository of Triton.", "export.triton_command:export_triton", "train,export"
    ),
    ("export",): Command("Turn a checkpoint into a model folder.", "export.command:export", "train,export"),
    ("verify",): Command(
        "Hold a model folder's engines and precisions against torch.",
        "export.verify_command:verify_artifact",
        "serve,train,export",
    ),
    ("release",): Command(
        "Publish a checkpoint as a model's next version, unless it is worse.", "export.release:release", "train,export"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    return CommandLine("streetmask", "Instance segmentation of street scenes, in real time.", COMMANDS).run(arguments)
