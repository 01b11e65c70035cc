"""The command line: one row of COMMANDS per sub-command.

Each row names a frozen dataclass of settings (configuration, flags, help and defaults in one) and the function that
takes it and returns a JSON-able dict. Rooms are imported only when their command is called, so `nanodrive --help` is
quick. What a command prints is its own business; the last line on stdout is its result as one JSON document.

Exit codes: 0 done; 1 a stated threshold was missed (`"is_passed": false` in the result); 2 bad input, told in one
sentence on stderr; 130 interrupted. Anything else is a fault of the program and shows its traceback.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """One sub-command: the module that does it, its settings class and its function; `variants` by their flag."""

    summary: str
    module: str
    config: str
    run: str = "run"
    variants: dict[str, Command] = field(default_factory=dict)

    def load(self) -> tuple[type, Callable[[Any], Result]]:
        """(settings class, function), importing their module."""
        module = importlib.import_module(self.module)
        return getattr(module, self.config), getattr(module, self.run)


GENERATE: dict[str, Command] = {
    "--export": Command("frames in the formats of COCO, TuSimple and KITTI", "perception.exports", "ExportConfig"),
    "--sheet": Command("one picture of labelled frames, to look at", "perception.label_sheet", "SheetConfig"),
    "--mine": Command("add frames on which a network is wrong or unsure", "perception.mine", "MineConfig"),
}
PERCEIVE: dict[str, Command] = {
    "--train": Command("train the camera network on generated frames", "perception.train", "TrainConfig"),
    "--average": Command("one camera network, the mean of several; its confidences fitted anew", "perception.average",
                         "AverageConfig"),
    "--train-path": Command("train the path head of a camera network on, alone", "perception.train_path",
                            "TrainPathConfig"),
    "--train-glimpse": Command("train the second look at signs and lights on what the first look found",
                               "perception.train_glimpse", "TrainGlimpseConfig"),
    "--train-namer": Command("train the sign namer on crops of painted faces", "perception.train_namer",
                             "TrainNamerConfig"),
    "--train-scout": Command("train the finder of signs in photos on made-up scenes", "perception.scout_train",
                             "ScoutTrainConfig"),
    "--train-lights": Command("train the reader of traffic lights on drawn heads", "perception.lightnet",
                              "LightTrainConfig"),
    "--train-road": Command("train the finder of roads and lines on drawn roads and town frames",
                            "perception.roadnet", "RoadTrainConfig"),
    "--eval": Command("judge the camera network on towns it never saw", "perception.judge", "EvalConfig"),
    "--robustness": Command("how well the network sees when the picture is bad", "perception.robustness",
                            "RobustnessConfig"),
    "--export": Command("write the camera network as an ONNX file, check and compare it", "perception.portable",
                        "ExportConfig"),
    "--inside": Command("which pixels each head listens to, as an HTML page", "perception.inside", "InsideConfig"),
}
COMMANDS: dict[str, Command] = {
    "train": Command("train a policy, score it on unseen towns, film its drive", "train_agent", "TrainConfig", "main"),
    "evaluate": Command("score policies on a suite: table, results.json, recordings", "agents.evaluate",
                        "EvaluateConfig"),
    "replay": Command("show a recording: MP4, contact sheet, window, or proof by driving it again", "scenarios.replay",
                      "ReplayConfig"),
    "generate": Command("make labelled camera frames for perception", "perception.generate", "GenerateConfig",
                        variants=GENERATE),
    "perceive": Command("the networks on pictures and videos; `--train` and `--eval` the camera network",
                        "perception.show", "PerceiveConfig", variants=PERCEIVE),
    "bench": Command("measure how fast each stage is on this machine", "agents.bench", "BenchConfig"),
    "report": Command("one page with plots from results.json, or two runs compared", "agents.report", "ReportConfig"),
}

BAD_INPUT = (  # errors whose message is one sentence for the user
    ("envs.config", "ConfigError"), ("envs.state", "ActionError"), ("scenarios.spec", "ScenarioError"),
    ("scenarios.recording", "RecordingError"), ("perception.checkpoint", "CheckpointError"),
    ("agents.policies", "PolicyError"), ("envs.render.bullet", "DisplayError"), ("agents.evaluate", "WorkerError"),
    ("agents.report", "ReportError"), ("perception.generate", "DatasetError"), ("perception.photos", "InputError"),
    ("agents.rollouts", "RolloutError"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: the program's own) and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.path.append(str(Path.cwd()))  # where a user's own module:Class lies
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        return _refuse(f"'{arguments[0]}' is no command; the commands are {', '.join(COMMANDS)}")
    return run_command(*meant(arguments))


def meant(arguments: Sequence[str]) -> tuple[Command, str, list[str]]:
    """(command, its name as a program, its options) of a command line that begins with a row of COMMANDS."""
    program, command, options = f"nanodrive {arguments[0]}", COMMANDS[arguments[0]], list(arguments[1:])
    for flag in command.variants.keys() & set(options):
        program, command = f"{program} {flag}", command.variants[flag]
        options.remove(flag)
    return command, program, options


def usage() -> str:
    """The overview that `nanodrive --help` prints."""
    rows = "\n".join(f"  {name:10s}{command.summary}" for name, command in COMMANDS.items())
    return (f"usage: nanodrive COMMAND [OPTIONS]\n\nCamera-in-the-loop driving on a plain CPU.\n\n{rows}\n\n"
            "`nanodrive COMMAND --help` lists the options of a command, with units and defaults.\n"
            "The last line on stdout is the result as one JSON document. Exit codes: 0 done, 1 a stated\n"
            "threshold was missed, 2 bad input.")


def run_command(command: Command, program: str, arguments: Sequence[str]) -> int:
    """Parse, run, print the result; errors of BAD_INPUT and unreadable files become one sentence and exit code 2."""
    try:
        config_class, run = command.load()
        config, complaint = _parse(config_class, program, command.summary, arguments)
        if config is None:
            return _refuse(complaint) if complaint else 0
        result = run(config)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is None or isinstance(error, ConnectionError):
            raise
        return _refuse(f"cannot use {error.filename}: {(error.strerror or str(error)).lower()}; give another path")
    except Exception as error:
        if not isinstance(error, _bad_input_types()):
            raise
        return _refuse(str(error))
    sys.stdout.flush()
    print(json.dumps(result, allow_nan=False), flush=True)
    return 1 if result.get("is_passed") is False else 0


def _parse(config_class: type, program: str, summary: str, arguments: Sequence[str]) -> tuple[Any, str]:
    """(settings, "") from flags; (None, "") after --help; (None, a sentence) when they cannot be used."""
    import tyro

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            said = f"{summary[0].upper()}{summary[1:]}."
            return tyro.cli(config_class, prog=program, description=said, args=list(arguments)), ""
    except SystemExit as end:
        return None, f"{_sentence(told.getvalue())}; see {program} --help" if end.code else ""


def _sentence(box: str) -> str:
    """The words of tyro's framed error message."""
    lines = [line.strip("│ ").strip() for line in box.splitlines() if line.startswith("│")]
    ends = [k for k, line in enumerate(lines) if line.startswith(("───", "Argument helptext"))]
    words = " ".join(lines[:ends[0]] if ends else lines)
    return re.sub(r"^Error parsing [\w.]+: ", "", words).rstrip(".") or "these options cannot be used"


def _bad_input_types() -> tuple[type[Exception], ...]:
    """The classes of BAD_INPUT whose modules are loaded: no other can have been raised."""
    return tuple(getattr(sys.modules[module], name) for module, name in BAD_INPUT
                 if name in vars(sys.modules.get(module, sys)))


def _refuse(sentence: str) -> int:
    print(f"nanodrive: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
