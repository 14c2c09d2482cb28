"""The command line: arguments to configuration, errors to one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from engines.errors import EngineError
from stream.errors import MissingPartError, OutputError, UnmaskError, UsageError

if TYPE_CHECKING:
    from stream.app import Playing, Started
    from stream.reload import Reload

EXIT_CODES = """exit codes:
  0  done               1  the answer is no (doctor: something is missing; demo: a verdict is wrong;
                           verify: something was changed;
                           alerts test: not every sink was reached)
  2  bad request        3  model or engine cannot be used      4  source cannot be read
  5  output cannot be written                                  6  something must be installed first
  130 interrupted (watch: by the second Ctrl-C; the first finishes every output and exits with 0)"""

SOURCES = """sources:
  webcam  webcam:1  /dev/video0         a camera on this machine
  rtsp://…  rtsps://…                   an IP camera (TCP; --transport udp by choice; user:password@ or --user)
  https://….mp4  https://….m3u8         a file or a live stream on a web server
  clip.mp4                              a file
  screen                                a video call on this screen
  csi:0                                 a camera on a Jetson's ribbon connector
  test                                  a moving pattern without faces"""


NO_GSTREAMER = (
    "GStreamer's Python bindings are missing: run `make demo` once, or "
    "`apt-get install python3-gi python3-gst-1.0` and use a virtual environment that sees the system's packages"
)

NO_TRAINING = "this command needs the training extra: run `pip install -e '.[train]'` in this program's environment"
MISSING = {"gi": NO_GSTREAMER, "torch": NO_TRAINING, "h5py": NO_TRAINING, "safetensors": NO_TRAINING}
"""What to say where a part that is imported on use isn't there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Only this function turns errors into text."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_log_handler()])
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except UnmaskError as error:
        return _complain(error, error.exit_code)
    except EngineError as error:
        return _complain(error, 3)
    except ModuleNotFoundError as error:
        if error.name not in MISSING:
            raise
        return _complain(MISSING[error.name], MissingPartError.exit_code)
    except BrokenPipeError:
        return _unread()
    except KeyboardInterrupt:
        return 130


def _unread() -> int:
    """Whoever read the answer has seen enough; what is left of it must not fail once more at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


class _AboveTheTable(logging.Handler):
    """Writes to what standard error is now: a live table takes it over, to put lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_handler() -> logging.Handler:
    """Where standard error is a file, that is where the log belongs, table or not."""
    return _AboveTheTable() if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)


def _complain(error: Exception | str, code: int) -> int:
    print(f"unmask: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unmask",
        description="Watch live video and show how likely each face is fake.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"unmask {version('unmask')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        _add_watch,
        _add_score,
        _add_models,
        _add_import,
        _add_extract,
        _add_train,
        _add_evaluate,
        _add_demo,
        _add_doctor,
        _add_bench,
        _add_config,
        _add_web,
        _add_alerts,
        _add_purge,
        _add_verify,
    ):
        add(commands)
    return parser


Commands = argparse._SubParsersAction  # argparse gives this class no public name


def _add_watch(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "watch",
        help="watch cameras, calls or files live, with scores on the picture",
        description="Watch sources live: find faces, score them, draw the scores on the moving picture.",
        epilog=SOURCES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="what to watch (see below)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file, read again on SIGHUP; options here win over it"
    )
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="record the overlaid video")
    parser.add_argument("--scores", type=Path, metavar="OUT.jsonl", help="append every score as a JSON line")
    parser.add_argument("--restream", action="store_true", help="serve the overlaid video as rtsp://…:8554/NAME")
    parser.add_argument("--wall", action="store_true", help="one picture of all streams, in place of their windows")
    parser.add_argument(
        "--display",
        action=argparse.BooleanOptionalAction,
        help="insist on a window, or open none (default: a window where there is a display)",
    )
    parser.add_argument(
        "--web",
        nargs="?",
        const=(None, None),
        type=_web_address,
        metavar="HOST:PORT",
        help="a live page of all streams and an API (default 127.0.0.1:8080; put sources before it)",
    )
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="Prometheus metrics (default 9108; -1: none)")
    parser.add_argument("--metrics-host", metavar="HOST", help="loopback address of metrics (default 127.0.0.1)")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="stop after this long")
    _add_source_options(parser)
    _add_detector_options(parser)
    _add_backend_option(parser)
    parser.set_defaults(run=_watch)


def _web_address(text: str) -> tuple[str | None, int | None]:
    from stream.config_web import HighPortError, host_and_port

    try:
        return host_and_port(text)
    except HighPortError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is no address such as 127.0.0.1:8080: sources belong before --web"
        ) from None


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transport", choices=("tcp", "udp"), help="how RTSP sends (default tcp)")
    parser.add_argument("--user", help="user name of the camera")
    parser.add_argument("--password-env", metavar="VARIABLE", help="environment variable with the camera's password")


def _add_detector_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|FOLDER", help="model that scores faces (default lite0-gru)")
    parser.add_argument("--detector", choices=("centerface", "scrfd", "yunet"), help="face detector")
    parser.add_argument("--detector-weights", type=Path, metavar="FILE.onnx", help="weights for scrfd or yunet")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for inference (default 0: half the cores)")


def _add_backend_option(parser: argparse.ArgumentParser) -> None:
    runtimes = "tensorrt, tensorrt-rtx, onnxruntime-cuda, openvino-cpu or onnxruntime-cpu"
    parser.add_argument("--backend", metavar="RUNTIME", help=f"what runs the model: {runtimes} (default: the fastest)")


def _add_score(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "score",
        help="score files as fast as this machine goes",
        description="Run the live detector over files; prints a line per file and per face.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object per file instead")
    _add_detector_options(parser)
    _add_backend_option(parser)
    parser.set_defaults(run=_score)


def _add_models(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "models", help="which models there are, which have weights here, and how good they are"
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_models)


def _add_extract(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "extract",
        help="cut a data set's videos into face tracks for training",
        description="Find, track and cut faces as the live detector does; a run that was stopped goes on.",
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="dfdc, celeb-df, faceforensics or clips")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the tracks")
    parser.add_argument("--split", metavar="NAME", help="only this split")
    parser.add_argument("--limit", type=_positive_int, metavar="N", help="at most so many videos")
    parser.add_argument("--size", type=_positive_int, metavar="PIXELS", help="side of a crop (default 256)")
    parser.add_argument("--margin", type=_positive, metavar="X", help="side in training crops (default 1.0)")
    often = parser.add_mutually_exclusive_group()
    often.add_argument("--period", type=_positive, metavar="SECONDS", help="between two crops (default 0.2)")
    often.add_argument("--fps", type=_positive, help="crops a second, instead")
    parser.add_argument("--force-leaky-split", action="store_true", help="go on though sources lie in two splits")
    _add_detector_options(parser)
    parser.set_defaults(run=_extract)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return value


def _positive_int(text: str) -> int:
    return _whole(text, 1, None, "above 0")


def _port(text: str) -> int:
    return _whole(text, 0, 65535, "from 0 to 65535")


def _count(text: str) -> int:
    return _whole(text, 0, None, "from 0 up")


def _whole(text: str, least: int, most: int | None, words: str) -> int:
    """argparse would name a function of ours where ``int`` fails."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"{text} is no whole number {words}")
    return value


def _add_import(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "import",
        help="bring a Keras or PyTorch model",
        description="Turn a Keras or PyTorch checkpoint into a model of this program; nothing in the file is executed.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=".keras, .h5, .pth, .pt, .p, .pkl or .safetensors")
    parser.add_argument(
        "--as", dest="name", required=True, metavar="NAME", help="which model it is (docs/importing.md)"
    )
    parser.add_argument("--backbone", type=Path, metavar="FILE2", help="the image network, where FILE is a video head")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: among your own models)")
    parser.add_argument("--positive", choices=("fake", "real"), help="what a high score means (default: as its origin)")
    parser.set_defaults(run=_import)


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on labelled stills or clips",
        description="Measure how well a model tells fakes from reals; docs/evaluating.md says what each number means.",
    )
    parser.add_argument(
        "--dataset", choices=("deepfake-faces", "clips"), required=True, help="stills, or labelled clips"
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--split", default="val", help="of stills: a name in the split column, or all (default val)")
    parser.add_argument("--json", action="store_true", help="one JSON object with every number")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html and its charts there")
    parser.add_argument("--scores", type=Path, metavar="FILE.csv", help="write the score of every item")
    parser.add_argument("--limit", type=_count, default=0, metavar="N", help="at most N items, drawn at random")
    parser.add_argument("--bootstrap", type=_count, default=500, metavar="N", help="resamples (default 500; 0: none)")
    parser.add_argument("--margin", type=_positive, default=1.0, metavar="X", help="crop X times as wide (default 1)")
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="stills: average each crop with its mirror image (default: as the model's spec says)",
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="SET",
        help="use this set's thresholds on others: deepfake-faces:DIR:SPLIT or clips:DIR",
    )
    parser.add_argument(
        "--robustness",
        type=_count,
        nargs="?",
        const=1000,
        metavar="N",
        help="stills: AUC under JPEG, H.264, scaling, blur and noise, on N of them (default 1000; 0: all)",
    )
    parser.add_argument("--training-log", type=Path, metavar="FILE.csv", help="draw its learning curves in the report")
    _add_detector_options(parser)
    parser.set_defaults(run=_evaluate)


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model from a recipe",
        description="Train a model from a recipe; a run that was stopped goes on with --resume.",
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file, such as one of configs/training")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of deepfake-faces")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints, logs and model")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument("--install", action="store_true", help="put the model among your own, under its name")
    parser.add_argument("--start", metavar="WHAT", help="weights to begin with, in place of the recipe's")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument(
        "--scratch", type=Path, default=Path("build/training"), metavar="DIR", help="for decoded pictures"
    )
    parser.add_argument("--force-leaky-split", action="store_true", help="go on though sources lie in two splits")
    parser.set_defaults(run=_train)


def _add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="watch a made-up RTSP camera whose second half is a face swap")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where results go (default: %(default)s)")
    parser.add_argument("--page", action="store_true", help="show the camera on the live page, until Ctrl-C")
    parser.add_argument("--port", type=_port, default=8080, help="of the page (default: %(default)s; 0: a free one)")
    parser.set_defaults(run=_demo)


def _add_doctor(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="what this machine has and lacks, and how to mend it")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_doctor)


def _add_bench(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="how many cameras this machine carries, and where the time goes")
    parser.add_argument(
        "--streams", type=_streams, default=1, metavar="N|auto", help="cameras; auto: the most that fit"
    )
    parser.add_argument(
        "--mode", choices=("score", "restream"), default="score", help="only score, or draw and serve too"
    )
    parser.add_argument("--seconds", type=_positive, default=20.0, metavar="S", help="of each measurement (default 20)")
    parser.add_argument("--clip", type=Path, metavar="F", help="video with a face (default: the demo's)")
    _add_backend_option(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stall", action="store_true", help="freeze one camera and look at the others")
    what.add_argument("--compare", action="store_true", help="beside what people would otherwise run")
    what.add_argument("--grow", action="store_true", help="cost by streams, faces and size of the picture")
    _add_detector_options(parser)
    parser.set_defaults(run=_bench)


def _streams(text: str) -> int | None:
    return None if text == "auto" else _positive_int(text)


def _add_config(commands: Commands[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("config", help="check a configuration file").add_subparsers(required=True)
    check = actions.add_parser("check", help="read a file and say what is wrong with it")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_config_check)


def _add_web(commands: Commands[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("web", help="who may use the live page").add_subparsers(required=True)
    user = actions.add_parser(
        "user",
        help="add or change a user of the live page, or remove one",
        description="Add a user, or change one's password, token or role. The password is asked for, or read from "
        "standard input; the file keeps only what it is checked against.",
    )
    user.add_argument("name", metavar="NAME")
    user.add_argument("--users", type=Path, required=True, metavar="FILE", help="the file that web.users names")
    user.add_argument("--role", choices=("viewer", "operator", "admin"), help="needed for a new user")
    what = user.add_mutually_exclusive_group()
    what.add_argument("--token", action="store_true", help="make a token for a program, in place of a password")
    what.add_argument("--keep-password", action="store_true", help="change the role only")
    what.add_argument("--remove", action="store_true", help="this user may log in no more")
    user.set_defaults(run=_web_user)


def _add_alerts(commands: Commands[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("alerts", help="try the way that alerts take").add_subparsers(required=True)
    test = actions.add_parser("test", help="send a test alert to each sink of a file and say whether it arrived")
    test.add_argument("--config", type=Path, required=True, metavar="FILE", help="a file with an alerts section")
    test.set_defaults(run=_alerts_test)


def _add_purge(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "purge",
        help="delete kept evidence of alerts",
        description="Delete evidence of alerts, all of which the choices hold; what is deleted is told and recorded.",
    )
    parser.add_argument("--older-than", type=_positive, metavar="DAYS", help="of alerts that fired longer ago")
    parser.add_argument("--stream", metavar="NAME", help="of this stream")
    parser.add_argument("--alert", metavar="ID", help="of this alert: its id, or its folder's name")
    parser.add_argument("--all", action="store_true", dest="takes_all", help="everything")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, metavar="FILE", help="the configuration that names the evidence folder")
    where.add_argument("--folder", type=Path, metavar="DIR", help="the evidence folder itself")
    parser.set_defaults(run=_purge)


def _add_verify(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "verify",
        help="whether a log and its evidence are as they were written",
        description="Check the chain, the signatures and every file of the evidence; reads only. Exit code 1: broken.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the evidence.folder of a configuration")
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="a copy kept elsewhere of the log's public key")
    parser.add_argument("--expect-head", metavar="HASH", help="a head kept elsewhere, which the log must still hold")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_verify)


# Commands import what they need when they run: `unmask --help` must not load GStreamer or ONNX Runtime.


def _watch(options: argparse.Namespace) -> int:
    from stream.app import watch
    from stream.observers import StreamFacts
    from stream.reload import Reload
    from stream.service_notify import ServiceNotify
    from stream.sinks.table import TableSink
    from stream.watch_options import watch_config

    config = watch_config(options)
    facts = StreamFacts()
    reload = Reload(lambda: watch_config(options), _say) if options.config else None
    with _stopping_on_signals() as stop, _reading_again_on_hangup(reload, stop):
        result = watch(
            config,
            stop=stop,
            sinks=[TableSink(drops=facts.drops)],
            observers=[facts],
            on_started=_say_where,
            on_playing=_say_what,
            service=ServiceNotify.from_environment(os.environ),
            reload=reload,
        )
    for failure in result.failures:
        print(f"unmask: {failure}", file=sys.stderr)
    return result.exit_code


def _say_where(started: Started) -> None:
    print(f"model: {started.model}", file=sys.stderr)
    if started.metrics_url is not None:
        print(f"metrics: {started.metrics_url}", file=sys.stderr)
    if started.log:
        print(f"log: {started.log}", file=sys.stderr)
    if started.page_url is not None:
        print(f"page {started.page_url}", file=sys.stderr)
    for url in started.restream_urls:
        print(f"overlaid video: {url}", file=sys.stderr)


def _say(line: str) -> None:
    print(f"unmask: {line}", file=sys.stderr)


def _say_what(playing: Playing) -> None:
    encoded = f", encoded by {playing.encoder}" if playing.encoder is not None else ""
    print(f"{playing.stream}: decoded by {playing.decoder}{encoded}", file=sys.stderr)


@contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event, so that outputs are finished; a second Ctrl-C interrupts at once."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _reading_again_on_hangup(reload: Reload | None, stop: threading.Event) -> Iterator[None]:
    """SIGHUP reads the configuration file again. Without a file, or when it says that the terminal is gone, it ends."""
    had_terminal = os.isatty(0)

    def ask(_number: int, _frame: FrameType | None) -> None:
        if reload is None or (had_terminal and not os.isatty(0)):
            stop.set()
        else:
            reload.ask()

    before = signal.getsignal(signal.SIGHUP)
    if reload is not None or before is not signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _purge(options: argparse.Namespace) -> int:
    import time

    from stream.config import load_config
    from stream.config_evidence import EvidenceConfig
    from stream.evidence.chain import CommandRecord, open_record
    from stream.evidence.chain_line import LOG_FOLDER
    from stream.evidence.purge import handed_in_line, lines_of, purge
    from stream.evidence.retention import Wish, no_record

    kept = EvidenceConfig(folder=options.folder) if options.config is None else load_config(options.config).evidence
    root = kept.folder
    if root is None:
        raise UsageError(f"{options.config} keeps no evidence: set evidence.folder, or give --folder")
    wish = Wish(options.older_than, options.stream, options.alert, options.takes_all)
    no_log = nullcontext(CommandRecord(no_record))
    with no_log if options.dry_run else open_record(root / LOG_FOLDER, kept.key) as record:
        folders = purge(root, wish, time.time(), record, is_rehearsal=options.dry_run)
    print("\n".join(lines_of(folders, is_rehearsal=options.dry_run)))
    if folders and record.is_handed_in:
        print(handed_in_line(root / LOG_FOLDER))
    return 0


def _score(options: argparse.Namespace) -> int:
    from stream.score import score_files
    from stream.watch_options import score_config

    return score_files(options.files, score_config(options), as_json=options.json)


def _models(options: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from stream.models_table import model_rows, models_table

    rows = model_rows()
    if options.json:
        print(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        Console().print(models_table(rows))
    for row in rows:
        if row.problem is not None:
            print(f"unmask: {row.problem}", file=sys.stderr)
    return 0


def _extract(options: argparse.Namespace) -> int:
    from stream.dataset.cutter import CutSettings
    from stream.dataset.extract import Order, run_extract
    from stream.watch_options import score_config

    config = score_config(options)
    given = {
        "size": options.size,
        "margin": options.margin,
        "period_s": 1 / options.fps if options.fps else options.period,
        "detect_period_s": 1 / config.detector.rate_hz,
        "detector": config.detector.name,
    }
    settings = CutSettings(**{key: value for key, value in given.items() if value is not None})
    order = Order(options.dataset, options.root, options.split, options.limit, options.force_leaky_split)
    return run_extract(order, options.out, settings, config)


def _import(options: argparse.Namespace) -> int:
    from engines.importing import import_model

    done = import_model(
        options.file, options.name, backbone=options.backbone, out=options.out, positive=options.positive
    )
    for line in done.recognised:
        print(f"recognised  {line}")
    print(f"parameters  {done.parameters:,}")
    for what, line in done.facts.items():
        print(f"{what:<11} {line}")
    print(f"written     {done.folder}")
    print(f"use         {done.advice}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from stream.evaluation.run import run_evaluate

    return run_evaluate(options)


def _train(options: argparse.Namespace) -> int:
    from engines.model_store import own_folder
    from engines.training.errors import TrainingError
    from engines.training.recipe import load_recipe

    logging.getLogger("engines").setLevel(logging.INFO)
    try:
        recipe = load_recipe(options.recipe)
        try:
            from engines.training.run import Run, install
        except ModuleNotFoundError as error:
            raise MissingPartError(f"training needs {error.name}: pip install -e '.[train]'") from None
        recipe = recipe.model_copy(update={"start": options.start} if options.start else {})
        run = Run(recipe, options.data, options.scratch, options.out, options.device, options.force_leaky_split)
        run.train(resume=options.resume)
        if options.install:
            install(run.model_folder, own_folder(recipe.name))
    except TrainingError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or options.out} ({error.strerror or error})") from None
    print(f"model    {own_folder(recipe.name) if options.install else run.model_folder}")
    print(f"use it   unmask watch webcam --model {recipe.name if options.install else run.model_folder}")
    return 0


def _demo(options: argparse.Namespace) -> int:
    if options.page:
        from stream.demo.page import run_page

        with _stopping_on_signals() as stop:
            return run_page(options.folder, stop=stop, port=options.port).exit_code
    from stream.demo.run import run_demo

    return run_demo(options.folder)


def _doctor(options: argparse.Namespace) -> int:
    from stream.doctor import run_doctor

    return run_doctor(as_json=options.json)


def _bench(options: argparse.Namespace) -> int:
    from stream.benchmark.run import BenchOrder, run_bench
    from stream.watch_options import score_config

    names = ("streams", "mode", "seconds", "json", "stall", "compare", "grow")
    given = {name: getattr(options, name) for name in names}
    clip = {} if options.clip is None else {"clip": options.clip}
    return run_bench(BenchOrder(score_config(options), **given, **clip))


def _config_check(options: argparse.Namespace) -> int:
    """Unlike the other commands, says all that is wrong, a line each."""
    from stream.config import check
    from stream.config_check import check_named_files
    from stream.config_file import ConfigError

    try:
        lines = check(options.file)
        check_named_files(options.file)
    except ConfigError as error:
        return max(_complain(problem, error.exit_code) for problem in error.problems)
    print("\n".join(lines))
    return 0


def _web_user(options: argparse.Namespace) -> int:
    from stream.web.users import changed_user, new_token, removed_user

    if options.remove:
        removed_user(options.users, options.name)
        print(f"removed  {options.name}")
        return 0
    token = new_token() if options.token else None
    password = None if options.token or options.keep_password else _asked_password(options.name)
    user = changed_user(options.users, options.name, options.role, password=password, token=token)
    print(f"written  {user.name}, {user.role.word}, to {options.users}")
    if token is not None:
        print(f"token    {token}\nit is not shown again; send it as `Authorization: Bearer TOKEN`")
    return 0


def _asked_password(name: str) -> str:
    """Twice without an echo, or the first line of what is piped in."""
    import getpass

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != password:
        raise UsageError("the two differ: try again")
    return password


def _alerts_test(options: argparse.Namespace) -> int:
    """The exit code is 1 when it did not reach every sink."""
    from stream.alerts.trial import try_sink
    from stream.config import load_config

    sinks = load_config(options.config).alerts.to
    if not sinks:
        raise UsageError(f"{options.config} names no sinks: list them under alerts.to (docs/alerts.md)")
    problems = 0
    for sink in sinks:
        problem = try_sink(sink)
        problems += problem is not None
        print(f"{sink.name} ({sink.kind}): {'arrived' if problem is None else problem}", flush=True)
    return 1 if problems else 0


def _verify(options: argparse.Namespace) -> int:
    import json

    from stream.evidence.verify import report_lines, verify

    report = verify(options.folder, public_key=options.public_key, expect_head=options.expect_head)
    print(json.dumps(report.to_json(), indent=2) if options.json else "\n".join(report_lines(report)))
    return 0 if report.is_intact else 1
