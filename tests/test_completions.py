"""Completions: made from the app as it is, and tried in the shells themselves; help texts that say enough."""

import inspect
import os
import re
import runpy
import select
import shutil
import subprocess
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geseg.cli.app import app

FOLDER = Path(__file__).parents[1] / "completions"
GENERATOR = runpy.run_path(str(FOLDER / "generate.py"))
PROGRAM, *COMMANDS = GENERATOR["read_app"](app)
WORDS = {command.name: command.words for command in (PROGRAM, *COMMANDS)}
VALUED = [(command, option) for command in COMMANDS for option in command.options if option.value is not bool]
FILES = ["a photo.png", "eyes", "model.onnx"]
"""What lies in the folder where the shells run."""

Complete = Callable[[str], list[str]]


@pytest.mark.parametrize("name", ["geseg.bash", "_geseg", "geseg.fish"])
def test_scripts_are_those_of_the_app(name: str) -> None:
    stale = (FOLDER / name).read_text(encoding="utf-8") != GENERATOR["scripts"]()[name]
    assert not stale, f"completions/{name} is stale: run `python completions/generate.py`"


@pytest.mark.parametrize("name", WORDS)
def test_options_are_those_of_the_help_page(name: str) -> None:
    """Asked of Typer in another way than the generator does, so that nothing is forgotten in both."""
    page = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"}).stdout
    rows = re.findall(r"^│ [* ]*((?:-\S+ +)+)", page, re.MULTILINE)
    assert sorted(name for row in rows for name in row.split()) == sorted(WORDS[name].split())


START_UP = {
    "bash": rf"""
bind '"\C-xa": insert-completions'
source '{FOLDER}/geseg.bash'
""",
    "zsh": rf"""
fpath=('{FOLDER}' $fpath)
autoload -Uz compinit && compinit -D -u
""",
    "zsh sourced": rf"""
autoload -Uz compinit && compinit -D -u
source '{FOLDER}/_geseg'
""",
}
INSERT_ALL = r"""
unsetopt prompt_sp prompt_cr
zle -C insert-all complete-word _generic
bindkey '^Xa' insert-all
zstyle ':completion:insert-all::::' completer _all_matches _complete
zstyle ':completion:insert-all:*' insert true
"""
"""Gives zsh what bash has: a key that puts all completions on the line."""


class Terminal:
    """A shell on a terminal of its own, where `geseg` is a function that prints its arguments.

    A key puts all completions on the line, and Enter hands them to that function: it prints what TAB would offer.
    """

    def __init__(self, shell: str, here: Path, settings: Path) -> None:
        import pty

        geseg = r"""geseg() { printf '\002'; printf '%s\n' "$@"; printf '\003'; }"""
        ready = r"PS1=$'\005'"
        start_up = START_UP[shell] + (INSERT_ALL if "zsh" in shell else "")
        settings.write_text(f"{start_up}\n{geseg}\n{ready}\n")
        command = ["zsh", "-d", "-i"] if "zsh" in shell else ["bash", "--noprofile", "--rcfile", str(settings), "-i"]
        env = {**os.environ, "TERM": "dumb", "HOME": str(settings.parent), "ZDOTDIR": str(settings.parent)}
        self._end, far = pty.openpty()
        self._shell = subprocess.Popen(
            command, stdin=far, stdout=far, stderr=far, cwd=here, env=env, start_new_session=True
        )  # a session of its own keeps job control off the terminal that the tests run in
        os.close(far)
        self._unread = b""
        self._until(b"\x05")

    def complete(self, line: str) -> list[str]:
        os.write(self._end, line.encode() + b"\x18a\r")
        self._until(b"\x02")
        words = self._until(b"\x03").decode().split("\r\n")[:-1]
        self._until(b"\x05")
        typed = line.split()[1:] if line.endswith(" ") else line.split()[1:-1]
        assert words[: len(typed)] == typed
        return words[len(typed) :]

    def _until(self, mark: bytes) -> bytes:
        """What is shown before `mark`, within ten seconds."""
        late = time.monotonic() + 10
        while mark not in self._unread:
            if not select.select([self._end], [], [], max(0, late - time.monotonic()))[0]:
                raise TimeoutError(f"{mark!r} did not come; the terminal shows {self._unread!r}")
            self._unread += os.read(self._end, 65536)
        shown, _, self._unread = self._unread.partition(mark)
        return shown

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._end)


def complete_in_fish(here: Path, settings: Path, line: str) -> list[str]:
    """Fish tells its completions by itself, each with a tab and its description."""
    command = ["fish", "--no-config", "-c", f"source '{FOLDER}/geseg.fish'; complete -C $argv[1]", line]
    env = {**os.environ, "HOME": str(settings), "XDG_CONFIG_HOME": str(settings), "XDG_DATA_HOME": str(settings)}
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, check=True)
    assert not done.stderr
    return [answer.partition("\t")[0] for answer in done.stdout.splitlines()]


@pytest.fixture(scope="module", params=["bash", "zsh", "zsh sourced", "fish"])
def complete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Complete]:
    """What a shell offers for a line, without the `--name=` and the closing `=` or `/` that some shells show."""
    shell = request.param
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"{shell.split()[0]} is not installed")
    if os.name == "nt":
        pytest.skip("no terminals to open on Windows")
    here, settings = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("settings")
    (here / "eyes" / "left").mkdir(parents=True)
    for name in ("a photo.png", "model.onnx"):
        (here / name).touch()
    terminal = None if shell == "fish" else Terminal(shell, here, settings / ".zshrc")

    def ask(line: str) -> list[str]:
        answers = complete_in_fish(here, settings, line) if terminal is None else terminal.complete(line)
        name = re.search(r"(--[\w-]+=)?\S*$", line)
        assert name
        return sorted(answer.removeprefix(name[1] or "").rstrip("=/") for answer in answers)

    yield ask
    if terminal is not None:
        terminal.close()


def test_commands(complete: Complete) -> None:
    assert complete("geseg ") == sorted(command.name for command in COMMANDS)
    assert complete("geseg pre") == ["predict", "prepare"]
    assert complete("geseg --") == sorted(PROGRAM.words.split())


def test_options_of_every_command(complete: Complete) -> None:
    for command in COMMANDS:
        assert complete(f"geseg {command.name} -") == sorted(command.words.split())
    assert complete("geseg train --fraction") == ["--fraction", "--fraction-of"]
    assert complete("geseg train --no-m") == ["--no-mirror"]


def test_fixed_choices(complete: Complete) -> None:
    assert complete("geseg eval --split ") == ["test", "train", "val"]
    assert complete("geseg eval runs/drive-d4 --split t") == ["test", "train"]
    assert complete("geseg eval runs/drive-d4 --split=t") == ["test", "train"]
    assert complete("geseg train --loss dice") == ["dice", "dice+bce", "dice+bce+cldice"]
    for command, option in VALUED:
        if option.choices:
            for line in (f"geseg {command.name} {option.names[-1]} ", f"geseg {command.name} {option.names[-1]}="):
                assert complete(line) == sorted(option.choices), line


def test_file_names_where_a_path_is_due(complete: Complete) -> None:
    assert complete("geseg predict e") == ["eyes"]
    assert complete("geseg predict eyes/") == ["eyes/left"]
    assert complete("geseg predict eyes --model=mod") == ["model.onnx"]
    for command in COMMANDS:
        more = ["shipped"] if command.name in ("eval", "info") else []
        assert complete(f"geseg {command.name} ") == FILES + more
    for command, option in VALUED:
        if option.value is Path:
            for name in option.names:
                more = ["shipped"] if name in ("--from", "--model") else []
                assert complete(f"geseg {command.name} {name} ") == FILES + more, (command.name, name)


def test_the_weights_inside_geseg_where_a_model_is_due(complete: Complete) -> None:
    assert complete("geseg info sh") == ["shipped"]
    assert complete("geseg predict eyes --model=sh") == ["shipped"]


def test_nothing_where_a_number_or_a_name_is_due(complete: Complete) -> None:
    assert complete("geseg train --epochs ") == []
    for command, option in VALUED:
        if option.value is not Path and not option.choices:
            assert complete(f"geseg {command.name} {option.names[-1]} ") == [], (command.name, option.names)


def test_a_path_named_like_a_command_is_a_path(complete: Complete) -> None:
    assert complete("geseg predict eval --e") == ["--engine"]


HINTS = {
    command.name: typing.get_type_hints(command.callback, include_extras=True) for command in app.registered_commands
}
"""The parameters of each command, annotated with what Typer is told about them."""
PARAMETERS = [
    pytest.param(hint, id=f"{command} {name}")
    for command, hints in HINTS.items()
    for name, hint in hints.items()
    if name != "return"
]
RANGE = re.compile(r"\bin [\[(]-?[\d.]+, [\d.]+[\])]")
UNIT = re.compile(r"\b(pixels|patches|degrees|minutes|seconds)\b", re.IGNORECASE)


def test_every_command_has_a_help_text() -> None:
    for command in app.registered_commands:
        assert re.match(r"[A-Z].*\.$", (inspect.getdoc(command.callback) or "").partition("\n")[0]), command.name


@pytest.mark.parametrize(("command", "default"), [
    ("train", "runs/NAME"), ("train", "0.02; with --from 0.002"), ("eval", "test if labelled, else val, else train"),
    ("export", "model.onnx beside the weights"), ("predict", "the model's own"),
])  # fmt: skip
def test_defaults_in_words_are_on_the_help_page(command: str, default: str) -> None:
    page = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
    assert f"[default: ({default})]" in page


@pytest.mark.parametrize("hint", PARAMETERS)
def test_no_help_text_loses_what_is_in_brackets(hint: object) -> None:
    """Typer's help pages take them for markup and drop them."""
    assert not re.search(r"\[[a-z]", typing.get_args(hint)[1].help)


@pytest.mark.parametrize("hint", PARAMETERS)
def test_every_option_has_a_help_text_and_every_number_a_unit_or_range(hint: object) -> None:
    value, info = typing.get_args(hint)
    assert info.help, "no help text"
    if {int, float} & {value, *typing.get_args(value)}:
        printed = info.min is not None or info.max is not None  # Typer prints these on the help page
        assert printed or RANGE.search(info.help) or UNIT.search(info.help), (
            f"{info.help!r} has no unit and no range: give `min=` or `max=`, or say 'in (0, 1]' or 'in pixels'"
        )
