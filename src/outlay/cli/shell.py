"""The edge between the program and the terminal: errors, exit codes, broken pipes, files written whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from outlay.errors import BadValue, OutlayError

YES, NO, BAD_INPUT, DEFECT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 70, 130, 141


def run(arguments: list[str]) -> int:
    """Run one command line; every way it can end becomes an exit code and at most one message."""
    import click

    from outlay.cli.app import outlay

    _open_closed()
    _speak_plainly()
    try:
        if "_OUTLAY_COMPLETE" in os.environ:  # the shell asks for completions
            outlay.main(args=arguments, prog_name="outlay")
        with outlay.make_context("outlay", arguments) as context:
            code = outlay.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else YES
    except OutlayError as error:
        return _refuse(error.to_dict(), arguments)
    except click.UsageError as error:
        message = _of_another_verb(error) or error.format_message()
        return _refuse({"kind": "bad_value", "message": message, "field": ""}, arguments, _try_help(error))
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        _mute_stdout()
        say("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        _mute_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno == errno.EPIPE:
            _mute_stdout()
            return BROKEN_PIPE
        _mute_stdout()
        say(f"error: {describe_os_error(error)}")
        return BAD_INPUT
    except Exception as error:
        if os.environ.get("OUTLAY_DEBUG"):
            raise
        message = f"defect in outlay: {type(error).__name__}: {error}"
        _refuse({"kind": "internal", "message": message, "field": ""}, arguments, "OUTLAY_DEBUG=1 shows it")
        return DEFECT


def _open_closed() -> None:
    """Streams that the caller closed lead nowhere, instead of to the next file that is opened."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


_PLAIN = str.maketrans(
    {"×": "x", "–": "-", "—": "-", "·": "/", "³": "3", "→": "->", "…": "...", "−": "-", "│": "|"}
    | {"├": "+", "└": "+", "’": "'"}
)


def _speak_plainly() -> None:
    """On a terminal that knows only ASCII, signs become the letters closest to them."""
    import codecs

    def nearest_letters(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        said = error.object[error.start : error.end].translate(_PLAIN)
        return said.encode("ascii", "replace").decode("ascii"), error.end

    codecs.register_error("outlay.plain", nearest_letters)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="outlay.plain")  # type: ignore[union-attr]


def _of_another_verb(error: Exception) -> str:
    """A flag that this verb lacks and a field of a phase is: how to give that field here; or nothing."""
    import click

    if not isinstance(error, click.NoSuchOption):
        return ""
    from outlay.cli import phase_fields

    given = error.option_name
    for phase, verb in (("serve", "serve"), ("finetune", "tune")):
        for spellings, field, metavar, _ in phase_fields.OF_PHASE[phase]:
            if given in spellings:
                said = f"No such option {given!r}, which is one of `outlay {verb}`"
                return f"{said}; here: --set {phase}.{field}={metavar}"
    return ""


def _try_help(error: object) -> str:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path} --help` lists what is allowed" if context is not None else ""


def _refuse(error: dict[str, str], arguments: list[str], hint: str = "") -> int:
    """Say what is wrong on stderr, and on stdout as JSON where JSON was asked for."""
    message, field = error["message"], error["field"]
    section, colon, rest = message.partition(": ")
    if colon and field.startswith(f"{section}."):  # the field says where; its section need not say so again
        message = rest
    flag = _typed(field, arguments)
    if flag:
        message, field = message.removeprefix(f"{field}: "), flag
    say(message if field and message.startswith(field) else f"{field or 'error'}: {message}")
    if hint:
        say(hint)
    if "--json" in arguments:
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps({"error": error}) + "\n")
            sys.stdout.flush()
    return BAD_INPUT


def _typed(field: str, arguments: list[str]) -> str:
    """The flag a person typed for a field of the options, which are seldom written otherwise; or nothing."""
    section, _, path = field.partition(".")
    if not path.startswith("options."):
        return ""
    from outlay.cli import phase_fields

    given = {argument.partition("=")[0] for argument in arguments}
    flags = phase_fields.SERVE if section == "serve" else ()
    return next((s for spellings, own, *_ in flags if own == path for s in spellings if s in given), "")


def say(message: str) -> None:
    """Talk to the person: stderr, never stdout."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


def describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _mute_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot complain."""
    with contextlib.suppress(OSError, ValueError):
        number = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


@contextlib.contextmanager
def whole_file(path: str, field: str = "-o", binary: bool = False) -> Iterator[Any]:
    """A text file, or one of bytes, that appears complete or not at all: written beside its place, then renamed."""
    target = Path(path)
    if target.is_dir():
        raise BadValue(f"{path} is a folder; name a file", field)
    form: dict[str, Any] = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8"}
    if target.exists() and not target.is_file():  # a device or a pipe cannot be renamed over
        with _writing(path, field), target.open(**form) as stream:
            yield stream
        return
    temporary = ""
    try:
        with _writing(path, field):
            import tempfile

            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
            with os.fdopen(handle, **form) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, _mode_for(target))
            os.replace(temporary, target)
    except BaseException:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise


@contextlib.contextmanager
def _writing(path: str, field: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadValue(f"cannot write {path}: {error.strerror or error}", field) from error


def _mode_for(target: Path) -> int:
    """The permissions a plain `open` would have given, or those the file already has."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def check_writable(path: str, field: str = "-o") -> None:
    """Refuse a path that cannot be written before any work is done for it."""
    target = Path(path)
    if target.is_dir():
        raise BadValue(f"{path} is a folder; name a file", field)
    parent = target.parent
    if not parent.is_dir():
        raise BadValue(f"cannot write {path}: folder {parent} does not exist", field)
    if target.exists():
        if not os.access(target, os.W_OK):
            raise BadValue(f"cannot write {path}: permission denied", field)
    elif not os.access(parent, os.W_OK):
        raise BadValue(f"cannot write {path}: folder {parent} is not writable", field)
