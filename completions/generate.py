"""Writes the completions of bash, zsh and fish beside this file, from the Typer app.

    python completions/generate.py

Static scripts rather than Typer's own completion (`geseg --install-completion`), which starts Python at every TAB: a
fifth of a second on a warm machine, where a script answers at once. It also offers file names where a number is due.
The price is that a script can be stale, which tests/test_completions.py finds.

Names and help come from `typer.main.get_command`, but what a value may be from the type hints of the commands: Typer
keeps that in a private place, which has moved between its releases.
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from geseg.cli.app import app

HERE = Path(__file__).parent
SHIPPED = "shipped"
"""Stands for the weights inside geseg; where it may, the help says so, and it is offered beside file names."""
HEADER = "written by `python completions/generate.py`: change that, not this."


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command.

    Attributes:
        names: All spellings, such as ("-o", "--out").
        off: The spelling that negates a flag, such as ("--no-colour",), or none.
        about: Help in one sentence, without its full stop.
        value: bool for a flag, Path, an Enum, or another type, whose values cannot be listed.
        repeats: Whether it may be given several times.
    """

    names: tuple[str, ...]
    off: tuple[str, ...]
    about: str
    value: type
    repeats: bool

    @property
    def shipped(self) -> bool:
        return SHIPPED in self.about

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(str(member.value) for member in self.value) if issubclass(self.value, Enum) else ()


@dataclass(frozen=True, slots=True)
class Argument:
    """A path on the command line: by its place, or the rest if there may be many."""

    name: str
    shipped: bool
    required: bool
    many: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command; the program itself is the one without a name."""

    name: str
    about: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...] = ()

    @property
    def words(self) -> str:
        """All spellings of all options, as the shell splits them."""
        return " ".join(name for option in self.options for name in (*option.names, *option.off))


HELP = Option(("--help",), (), "Show this message and exit", bool, False)


def read_app(program: typer.Typer) -> tuple[Command, ...]:
    """The program itself, then its commands in their order."""
    assert program.registered_callback is not None
    group: Any = typer.main.get_command(program)
    callbacks = {command.name: command.callback for command in program.registered_commands}
    commands = (_read_command(name, group.commands[name].params, callbacks[name]) for name in group.commands)
    return _read_command("", group.params, program.registered_callback.callback), *commands


def _read_command(name: str, params: list[Any], callback: Callable[..., Any] | None) -> Command:
    assert callback is not None
    hints = {key: _plain(hint) for key, hint in typing.get_type_hints(callback).items()}
    options, arguments = [], []
    for given in params:
        value = hints.get(given.name, bool)  # Typer's own --show-completion and --install-completion have no hint
        if given.param_type_name == "option":
            options.append(
                Option(tuple(given.opts), tuple(given.secondary_opts), _brief(given.help), value, given.multiple)
            )
        else:
            assert value is Path, f"{name}: {given.name} is no path: teach the scripts to complete it"
            arguments.append(Argument(given.name, SHIPPED in given.help, given.required, given.nargs == -1))
    about = _brief((inspect.getdoc(callback) or "").partition("\n")[0])
    return Command(name, about, (*options, HELP), tuple(arguments))


def _plain(hint: object) -> type:
    """The type of one value: `list[Path]` and `Path | None` are both Path."""
    if typing.get_origin(hint) in (list, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    assert isinstance(hint, type)
    return hint


def _brief(text: str) -> str:
    return text.rstrip(".")


BASH = """\
# bash completion of geseg, {header}
# Wants no bash-completion; without an answer of ours (`return`), bash completes file names.

# Beside what bash offers by itself; bash 3.2 does not know compopt and offers file names alone.
_geseg_shipped() {{
    local name
    [[ shipped == "$word"* ]] && compopt -o filenames 2>/dev/null || return
    COMPREPLY=(shipped)
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$word")
}}

_geseg() {{
    local IFS=$' \\t\\n' word=$2 previous=$3 command="" words i
    [[ $previous == "=" ]] && previous=${{COMP_WORDS[COMP_CWORD - 2]}} # --name=value is three words to bash
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${{COMP_WORDS[i]}} == -* ]] || {{ command=${{COMP_WORDS[i]}} && break; }}
    done
    case $command:$previous in
{cases}
    *) return ;;
    esac
    compopt +o default 2>/dev/null # no file names here; bash 3.2 does not know compopt and offers them
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _geseg geseg
"""


def bash(commands: tuple[Command, ...]) -> str:
    """One `case` over the command and the word before the cursor."""
    program, *rest = commands
    names = " ".join(command.name for command in rest)
    cases = [case for command in rest for case in _bash_cases(command)]
    cases.append(f':*) if [[ $word == -* ]]; then words="{program.words}"; else words="{names}"; fi ;;')
    return BASH.format(header=HEADER, cases="\n".join(f"    {case}" for case in cases))


def _bash_cases(command: Command) -> Iterator[str]:
    def pattern(options: list[Option]) -> str:
        return " | ".join(f"{command.name}:{name}" for option in options for name in option.names)

    valued = [option for option in command.options if option.value is not bool]
    for option in valued:
        if option.choices:
            yield f'{pattern([option])}) words="{" ".join(option.choices)}" ;;'
    if shipped := [option for option in valued if option.shipped]:
        yield f"{pattern(shipped)}) _geseg_shipped; return ;;"
    if paths := [option for option in valued if option.value is Path and not option.shipped]:
        yield f"{pattern(paths)}) return ;;"
    if others := [option for option in valued if option.value is not Path and not option.choices]:
        yield f'{pattern(others)}) words="" ;;'
    files = "{ _geseg_shipped; return; }" if any(argument.shipped for argument in command.arguments) else "return"
    yield f'{command.name}:*) [[ $word == -* ]] || {files}; words="{command.words}" ;;'


ZSH = """\
#compdef geseg
# zsh completion of geseg, {header}

_geseg() {{
    local curcontext=$curcontext state state_descr line
    typeset -A opt_args
    _arguments -C \\
{program}
        '1: :->command' \\
        '*:: :->rest'
    case $state in
    command)
        local -a commands=(
{commands}
        )
        _describe command commands
        ;;
    rest)
        case $words[1] in
{cases}
        esac
        ;;
    esac
}}

# Autoloaded from $fpath, this file is the body of _geseg; sourced, it only has to be registered.
if [[ $funcstack[1] == _geseg ]]; then _geseg "$@"; else compdef _geseg geseg; fi
"""


ZSH_SHIPPED = r'{_alternative "weights\:weights\:(shipped)" "files\:file\:_files"}'


ZSH_CASE = """\
        {name})
            _arguments -s -S \\
{specs}
            ;;"""


def zsh(commands: tuple[Command, ...]) -> str:
    """The specifications of `_arguments`, which does the parsing."""
    program, *rest = commands
    cases = []
    for command in rest:
        specs = [*(spec for option in command.options for spec in _zsh_option(option)), *_zsh_arguments(command)]
        cases.append(ZSH_CASE.format(name=command.name, specs=_zsh_lines(specs, 16)))
    own = [spec for option in program.options for spec in _zsh_option(option)]
    described = (f"            {_quoted(f'{command.name}:{command.about}')}" for command in rest)
    return ZSH.format(
        header=HEADER, program=_zsh_lines(own, 8) + " \\", commands="\n".join(described), cases="\n".join(cases)
    )


def _zsh_lines(specs: list[str], indent: int) -> str:
    return " \\\n".join(" " * indent + spec for spec in specs)


def _zsh_option(option: Option) -> Iterator[str]:
    """(spellings that exclude each other){spellings}[help]:what the value is:what completes it."""
    about = "".join(f"\\{letter}" if letter in "[]:\\" else letter for letter in option.about)
    every = [*option.names, *option.off]
    others = "*" if option.repeats else f"({' '.join(every)})" if len(every) > 1 else ""
    if option.value is bool:
        for name in every:
            yield _quoted(f"{others}{name}[{about if name in option.names else f'Not {option.names[0]}'}]")
        return
    action = f"({' '.join(option.choices)})" if option.choices else " "
    if option.value is Path:
        action = ZSH_SHIPPED if option.shipped else "_files"
    for name in option.names:
        glued = "=" if name.startswith("--") else "+"  # the value may be joined: --out=FILE, -oFILE
        yield _quoted(f"{others}{name}{glued}[{about}]:{option.names[-1].lstrip('-')}:{action}")


def _zsh_arguments(command: Command) -> Iterator[str]:
    for place, argument in enumerate(command.arguments, 1):
        where = "*:" if argument.many else f"{place}:" if argument.required else f"{place}::"
        yield _quoted(f"{where}{argument.name}:{ZSH_SHIPPED if argument.shipped else '_files'}")


FISH = """\
# fish completion of geseg, {header}

# Whether the command before the cursor is the given one, or, given none, whether there is none yet.
function __geseg_at --argument-names command
    for word in (commandline -opc)[2..]
        if not string match -q -- '-*' $word
            test "$word" = "$command"
            return
        end
    end
    test -z "$command"
end

complete -c geseg -n __geseg_at -f
{lines}
"""


def fish(commands: tuple[Command, ...]) -> str:
    """One `complete` per command and option; file names are what fish completes unless told otherwise."""
    lines = [
        f"complete -c geseg -n __geseg_at -a {command.name} -d {_quoted(command.about)}" for command in commands[1:]
    ]
    for command in commands:
        at = f"'__geseg_at {command.name}'" if command.name else "__geseg_at"
        lines += [f"complete -c geseg -n {at} {line}" for option in command.options for line in _fish_option(option)]
        if any(argument.shipped for argument in command.arguments):
            lines.append(f"complete -c geseg -n {at} -a {SHIPPED}")
    return FISH.format(header=HEADER, lines="\n".join(lines))


def _fish_option(option: Option) -> Iterator[str]:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    choices = f" -a {_quoted(' '.join(option.choices))}" if option.choices else ""
    files = f" -rF -a {SHIPPED}" if option.shipped else " -rF"
    value = "" if option.value is bool else files if option.value is Path else f" -kx{choices}" if choices else " -x"
    yield f"{names}{value} -d {_quoted(option.about)}"
    for name in option.off:
        yield f"-l {name[2:]} -d {_quoted(f'Not {option.names[0]}')}"


def _quoted(text: str) -> str:
    r"""In single quotes; '\'' closes, adds a quote and opens again, in zsh and in fish alike."""
    return "'" + text.replace("'", r"'\''") + "'"


def scripts() -> dict[str, str]:
    """The text of each file by its name."""
    commands = read_app(app)
    return {"geseg.bash": bash(commands), "_geseg": zsh(commands), "geseg.fish": fish(commands)}


if __name__ == "__main__":
    for file, text in scripts().items():
        (HERE / file).write_text(text, encoding="utf-8", newline="\n")
