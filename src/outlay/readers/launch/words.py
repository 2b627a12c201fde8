"""Shell text → commands: quotes, continuations, comments, variables set in the text itself. Nothing is run.

Only what launch scripts use is understood: words, `NAME=value` and `NAME=( … )`, `$NAME`, `${NAME}`,
`${NAME[@]}`, `${NAME:-default}`, `$((2 * NAME))`, here-documents. Anything else (`$(…)`) stays as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from outlay.errors import Unreadable

MAX_TEXT = 2_000_000
MAX_WORDS = 10_000
MAX_COMMANDS = 2_000
_ENDS = ";&|\n()"
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_MAX_DEPTH = 20
_LONGEST = 2_000  # characters between the brackets of one variable or substitution
_PER_VARIABLE = 50  # looks that a variable costs, beside those for its closing bracket
_KEPT = frozenset(
    (
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "WORLD_SIZE",
        "NNODES",
        "GPUS_PER_NODE",
        "NPROC_PER_NODE",
        "NUM_GPUS",
        "NGPU",
        "CONFIG_FILE",
        "SLURM_NNODES",
    )
)
_ENGINES_OWN = ("VLLM_", "SGLANG_", "SGL_", "TRTLLM_", "TLLM_", "LLAMA_ARG_", "GGML_")
_EXPORTS = ("export", "declare", "local", "readonly", "set", "-x")


class Command(Struct, frozen=True):
    """One command: its words, and the variables set before it in the text or in front of it."""

    words: tuple[str, ...]
    variables: Mapping[str, str]


class _Scan(Struct):
    text: str
    at: int = 0
    depth: int = 0
    words_left: int = MAX_WORDS
    chars_left: int = 2 * MAX_TEXT
    looks_left: int = 500_000  # for variables and for the brackets that close them
    lists: dict[str, list[str]] = field(default_factory=dict)

    own: dict[str, str] = field(default_factory=dict)  # variables that are handed on with a command

    def assign(self, name: str, words: list[str]) -> None:
        if len(self.lists) < MAX_COMMANDS:
            self.lists[name] = words
            if name in _KEPT or (_engine_s(name) and len(self.own) < 100):
                self.own[name] = " ".join(words)[:1000]

    def spend(self, words: list[str]) -> None:
        self.words_left -= len(words)
        self.chars_left -= sum(map(len, words))
        if self.words_left < 0 or self.chars_left < 0:
            raise Unreadable("the launch text is too long")


def commands(text: str) -> list[Command]:
    """Every command of a line or script, in order.

    >>> [c.words for c in commands('''M=org/x; vllm serve "$M" \\\\
    ...   --tensor-parallel-size=4  # all of it''')]
    [('vllm', 'serve', 'org/x', '--tensor-parallel-size=4')]
    """
    if len(text) > MAX_TEXT:
        raise Unreadable(f"the launch text has {len(text):,} characters; the limit is {MAX_TEXT:,}")
    for before, after in (("\r\n", "\n"), ("\\\n", " "), ("\0", " "), ("2>&1", " "), ("&>", ">")):
        text = text.replace(before, after)
    scan = _Scan(text)
    found: list[Command] = []
    while scan.at < len(scan.text):
        words = _command(scan)
        if any(word.startswith("<<") for word in words):
            _here_document(scan, words)
        words = _assignments(_without_redirection(words), scan)
        if words:
            found.append(Command(tuple(words), dict(scan.own)))
            if len(found) > MAX_COMMANDS:
                raise Unreadable(f"more than {MAX_COMMANDS:,} commands in the launch text")
    return found


def _engine_s(name: str) -> bool:
    return name.startswith(_ENGINES_OWN) and len(name) < 80


def environment(words: tuple[str, ...]) -> dict[str, str]:
    """An engine's own variables as `docker run -e NAME=value`, `env NAME=value` give them."""
    found = {}
    for word in words:
        name, equals, value = word.removeprefix("--env=").removeprefix("-e").strip().partition("=")
        if equals and _engine_s(name):
            found[name] = value
    return found


def _without_redirection(words: list[str]) -> list[str]:
    """Words without `> file`, `2>file`, `< file`."""
    kept: list[str] = []
    skip = False
    for word in words:
        start = word.lstrip("12")[:1]
        if skip:
            skip = False
        elif start in ("<", ">") and not word.startswith(("<|", "<>")):
            skip = not word.lstrip("12<>")
        else:
            kept.append(word)
    return kept


def _assignments(words: list[str], scan: _Scan) -> list[str]:
    """Take `NAME=value` from the front of a command and remember it."""
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals and name and not name[0].isdigit() and set(name.removesuffix("+")) <= _NAME:
            before = scan.lists.get(name[:-1], []) if name[-1] == "+" else []
            scan.spend(before)
            scan.assign(name.rstrip("+"), [*before, value])
        elif word not in _EXPORTS:
            return words[at:]
    return []


def _command(scan: _Scan) -> list[str]:
    """Words up to the end of one command."""
    words: list[str] = []
    while scan.at < len(scan.text):
        mark = scan.text[scan.at]
        if mark in " \t":
            scan.at += 1
        elif mark == "#":
            end = scan.text.find("\n", scan.at)
            scan.at = len(scan.text) if end < 0 else end
        elif mark in _ENDS:
            scan.at += 1
            if words:
                break
        else:
            more = _word(scan)
            scan.spend(more)
            words += more
    return words


def _word(scan: _Scan) -> list[str]:
    """One word as written; an unquoted variable may give several, an array assignment gives none."""
    done: list[str] = []
    parts: list[str] = []  # pieces of the word being read
    quoted = False
    while scan.at < len(scan.text):
        mark = scan.text[scan.at]
        if mark in " \t" or (mark in _ENDS and mark != "("):
            break
        if mark == "(":
            before = "".join(parts)
            if before.endswith("=") and set(before.rstrip("=+")) <= _NAME:
                _array(scan, before.rstrip("=+"), before.endswith("+="))
                return []
            break
        if scan.text.startswith('"${', scan.at) and (words := _whole_array(scan)) is not None:
            return [*done, *words]
        if mark in "'\"":
            quoted = True
            parts.append(_quoted(scan, mark))
        elif mark == "\\":
            parts.append(scan.text[scan.at + 1 : scan.at + 2])
            scan.at += 2
        elif mark == "$":
            pieces = _variable(scan).split()
            if len(pieces) > 1:
                done += ["".join([*parts, pieces[0]]), *pieces[1:-1]]
                parts = []
            parts += pieces[-1:]
        else:
            end = scan.at + 1
            while end < len(scan.text) and scan.text[end] not in " \t\n'\"\\$;&|()":
                end += 1
            parts.append(scan.text[scan.at : end])
            scan.at = end
    word = "".join(parts)
    return [*done, word] if word or quoted else done


def _array(scan: _Scan, name: str, append: bool) -> None:
    """`NAME=( … )`: words to the closing bracket, over several lines."""
    scan.at += 1
    scan.depth += 1
    if scan.depth > _MAX_DEPTH:
        raise Unreadable("arrays within arrays in the launch text")
    words: list[str] = []
    while scan.at < len(scan.text):
        mark = scan.text[scan.at]
        if mark == ")":
            scan.at += 1
            break
        if mark == "#":
            end = scan.text.find("\n", scan.at)
            scan.at = len(scan.text) if end < 0 else end
        elif mark in " \t\n" or mark in _ENDS:
            scan.at += 1
        else:
            before = scan.at
            words += _word(scan)
            scan.at += scan.at == before
    scan.depth -= 1
    scan.spend(words)
    earlier = scan.lists.get(name, []) if append else []
    scan.spend(earlier)
    scan.assign(name, [*earlier, *words])


def _whole_array(scan: _Scan) -> list[str] | None:
    """The words of `"${NAME[@]}"`, which stay apart in spite of the quotes."""
    end = scan.text.find('[@]}"', scan.at, scan.at + 200)
    known = scan.lists.get(scan.text[scan.at + 3 : end]) if end > 0 else None
    if known is not None:
        scan.at = end + 5
    return known


def _quoted(scan: _Scan, mark: str) -> str:
    """The inside of quotes; in double quotes backslashes and variables count."""
    scan.at += 1
    out: list[str] = []
    while scan.at < len(scan.text) and scan.text[scan.at] != mark:
        here = scan.text[scan.at]
        if mark == '"' and here == "\\" and scan.text[scan.at + 1 : scan.at + 2] in ('"', "\\", "$", "`"):
            out.append(scan.text[scan.at + 1])
            scan.at += 2
        elif mark == '"' and here == "$":
            out.append(_variable(scan))
        else:
            end = scan.at + 1
            while end < len(scan.text) and scan.text[end] not in ("\\", "$", mark):
                end += 1
            out.append(scan.text[scan.at : end])
            scan.at = end
    scan.at += 1
    return "".join(out)


def _variable(scan: _Scan) -> str:
    """What a `$…` stands for, or itself when that is not in the text."""
    scan.looks_left -= _PER_VARIABLE
    if scan.looks_left < 0:
        raise Unreadable("too many variables or brackets in the launch text")
    start = scan.at
    scan.at += 1
    after = scan.text[scan.at : scan.at + 1]
    if after == "(":
        return _substitution(scan, start)
    if after == "{":
        end = _closing(scan, "{}")
        if end < 0:
            return "$"
        inside, scan.at = scan.text[scan.at + 1 : end], end + 1
    else:
        end = scan.at
        while end < len(scan.text) and scan.text[end] in _NAME:
            end += 1
        inside, scan.at = scan.text[scan.at : end], end
    name = inside.split(":", 1)[0].removesuffix("[@]").removesuffix("[*]")
    known = scan.lists.get(name)
    _, when_set, text = inside.partition(":+")
    if when_set:
        return _expanded(scan, text.replace('"', "").replace("'", "")) if known is not None else ""
    if known is not None:
        scan.spend(known)
        return " ".join(known)
    _, default, fallback = inside.partition(":-")
    return _expanded(scan, fallback.replace('"', "").replace("'", "")) if default else scan.text[start : scan.at]


def _closing(scan: _Scan, pair: str) -> int:
    """Where the bracket that opens here closes, within reason; -1 when it does not."""
    depth = 0
    last = scan.text.find(pair[1], scan.at, scan.at + _LONGEST)
    for end in range(scan.at, min(len(scan.text), scan.at + _LONGEST) if last >= 0 else 0):
        depth += (scan.text[end] == pair[0]) - (scan.text[end] == pair[1])
        scan.looks_left -= 1
        if not depth:
            return end
    return -1


def _expanded(scan: _Scan, text: str) -> str:
    """Text with its variables replaced, as between double quotes."""
    if "$" not in text:
        return text
    if scan.depth >= _MAX_DEPTH:
        raise Unreadable("variables within variables in the launch text")
    inner = _Scan(f'"{text}"', 0, scan.depth + 1, scan.words_left, scan.chars_left, scan.looks_left, scan.lists)
    word = _quoted(inner, '"')
    scan.words_left, scan.chars_left, scan.looks_left = inner.words_left, inner.chars_left, inner.looks_left
    return word


def _substitution(scan: _Scan, start: int) -> str:
    """`$((…))` worked out where it is plain arithmetic; else as written, blanks as underscores."""
    end = _closing(scan, "()")
    if end < 0:
        return "$"
    inside, scan.at = scan.text[scan.at + 1 : end], end + 1
    if inside.startswith("(") and inside.endswith(")"):
        value = _arithmetic(scan, _expanded(scan, inside[1:-1]))
        if value is not None:
            return str(value)
    return "_".join(scan.text[start : scan.at].split())


def _arithmetic(scan: _Scan, text: str) -> int | None:
    """A sum or product of whole numbers and known variables; None when it is anything else.

    >>> _arithmetic(_Scan(""), "1024 * (2 + 6)")
    8192
    """
    import ast

    if len(text) > 200 or not set(text) <= _NAME | set(" +-*/%()"):
        return None
    try:
        return _worked_out(scan, ast.parse(text.strip().replace("/", "//"), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _worked_out(scan: _Scan, node: object) -> int:
    import ast
    import operator

    signs = {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) < 10**15:
        return node.value
    if isinstance(node, ast.Name):
        return int("".join(scan.lists.get(node.id, ["?"]))[:15])
    if isinstance(node, ast.BinOp) and type(node.op) in signs:
        value = signs[type(node.op)](_worked_out(scan, node.left), _worked_out(scan, node.right))
        if abs(value) < 10**15:
            return int(value)
    raise ValueError("not plain arithmetic")


def _here_document(scan: _Scan, words: list[str]) -> None:
    """`<<EOF`: lines up to the mark; `read … NAME <<EOF` keeps them as a variable, other commands are passed by."""
    mark = next((word[2:].lstrip("-") for word in words if word.startswith("<<") and word[2:3] != "<"), "")
    mark = mark.strip("'\"")
    if not mark:
        return
    end = scan.text.find(f"\n{mark}", scan.at - 1)
    body = scan.text[scan.at : end] if end > 0 else ""
    if words[0] == "read" and len(body) < MAX_TEXT // 4:
        name = next((word for word in reversed(words) if set(word) <= _NAME), "")
        kept = _expanded(scan, body.replace('"', "'")).split()
        scan.spend(kept)
        scan.assign(name, kept)
    scan.at = end + 1 + len(mark) if end > 0 else len(scan.text)
