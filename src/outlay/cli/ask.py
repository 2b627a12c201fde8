"""From a command line to a scenario, and from a scenario to a result: the path every planning verb takes."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlay.cli.options import FIELDS
from outlay.cli.phase_fields import OF_PHASE, tables_asked
from outlay.cli.shell import say
from outlay.errors import BadValue, Inconsistent, Unreadable

if TYPE_CHECKING:
    from outlay.result import Result

PHASES = ("data", "pretrain", "finetune", "serve", "maintain")
MAX_VARIANTS = 200


def scenario_of(subject: str | None, flags: dict[str, Any], phase: str) -> dict[str, Any]:
    """The scenario a planning verb asks about: only its own phase, and never without a model."""
    from outlay.subject import with_fleet

    document = whole_scenario(subject, flags, phase)
    if not document.get("model"):
        raise BadValue(f"name a model: outlay {_verb(phase)} llama-3.1-8b -g 64xh100-sxm -n 1T", "model")
    left = [p for p in (*PHASES, "life") if p in document and p != phase]
    if left:
        say(f"note: `outlay {_verb(phase)}` leaves out the {' and '.join(left)} of this scenario")
    document = {k: v for k, v in document.items() if k not in left}
    document.setdefault(phase, {})
    document = with_fleet(document, flags.get("read") or (), phase)
    if flags.get("opt_fleet") and isinstance(document.get("fleet"), str):
        flags["opt_fleet"] = document["fleet"]  # with the number of devices, for what is offered next
    return document


def whole_scenario(
    subject: str | None, flags: dict[str, Any], phase: str, asked: bool = True
) -> dict[str, Any]:
    """File, then launch line, then subject, then flags, then --set; the later wins.

    asked: the phase is the one wanted, and a file of another program that holds something else is refused.
    """
    from outlay.cli.subjects import merged, read_subject
    from outlay.scenario_io import set_path

    file = _file(flags, phase, asked)
    mine = read_subject(subject, flags, phase, asked)
    document = merged(file, mine) if any(s.foreign for s in flags.get("read") or ()) else {**file, **mine}
    for flag in FIELDS:
        given = flags.get(flag.name)
        if given is not None:
            if flag.path == "goal.deadline" and given.strip().isdigit():
                say(f"note: --deadline {given} is read as {given} seconds; write {given}d for days")
            document = set_path(document, full_path(flag.short_path, phase), literal(given))
    document = _books(document, flags)
    for text in flags.get("opt_set") or ():
        path, value = _assignment(text, "--set", phase)
        document = set_path(document, path, None if value == "null" else literal(value))  # null: as if never given
    return document


def _books(document: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Tags and the budget file, where they were given."""
    from outlay.scenario_io import load_file, set_path

    for text in flags.get("opt_tag") or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BadValue(f"--tag {text}: write --tag key=value, for example --tag team=search", "--tag")
        document = {**document, "tags": {**(document.get("tags") or {}), key.strip(): value.strip()}}
    if flags.get("opt_budget_file"):
        limits = load_file(flags["opt_budget_file"])
        if not isinstance(limits, dict) or not limits:
            raise BadValue(f"{flags['opt_budget_file']}: expected limits by name, such as total: 5000", "--budget-file")
        document = set_path(document, "goal.budgets", limits)
    return document


def _verb(phase: str) -> str:
    return {"pretrain": "train", "finetune": "tune"}.get(phase, phase)


def _file(flags: dict[str, Any], phase: str, asked: bool) -> dict[str, Any]:
    from outlay.cli.subjects import keep
    from outlay.subject import subject_of

    file, ready = flags.get("opt_file"), flags.get("preset")
    if ready is not None:
        from outlay.readers.presets import preset

        if file is not None:
            raise Inconsistent("--preset and -f at once; choose one", "--preset")
        return preset(ready).scenario
    if file is None:
        return {}
    if file == "-":
        return _mapping(_standard_input(), "-f")
    if not Path(file).is_file():
        raise Unreadable(f"{file}: no such file", "-f")
    return keep(subject_of(file), flags, phase, asked)


def _mapping(document: object, field: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Unreadable("this is not a scenario: expected a mapping of fields", field)
    inner = document.get("scenario")
    if "outlay" in document and isinstance(inner, dict):
        document = inner
    return dict(document)


def _standard_input() -> object:
    from outlay.scenario_io import load_text

    try:
        text = sys.stdin.read()
    except UnicodeDecodeError:
        raise Unreadable("standard input: not UTF-8 text", "-f") from None
    return load_text(text, ".json" if text.lstrip().startswith("{") else ".yaml", "standard input")


def literal(text: str) -> Any:
    """What a flag's text stands for: number, true or false, list or mapping, else text for units to read.

    >>> literal("8"), literal("15T"), literal("true"), literal("[1, 2]")
    (8, '15T', True, [1, 2])
    """
    if text[:1] in "[{" and text:
        from outlay.scenario_io import load_text

        return load_text(text, ".yaml", text[:40])
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float)) else text


def _assignment(text: str, flag: str, phase: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip() or not value.strip():
        form, example = ("a,b,c", "1T,2T") if flag == "--vary" else ("value", "1T")
        raise BadValue(f"{flag} {text}: write {flag} field={form}, for example {flag} tokens={example}", flag)
    return full_path(path.strip(), phase), value.strip()


def full_path(path: str, phase: str) -> str:
    """A field by its flag's name, by its name within the phase, or by its whole path.

    >>> [full_path(p, "pretrain") for p in ("tokens", "layout.shard", "fleet.tenure")]
    ['pretrain.tokens', 'pretrain.layout.shard', 'fleet.tenure']
    >>> [full_path("tp", phase) for phase in ("pretrain", "serve")]
    ['pretrain.layout.tensor', 'serve.tensor']
    """
    from outlay.scenario import Finetune, Pretrain, Scenario, Serve
    from outlay.scenario_life import Data, Life, Maintain

    plain, head = path.replace("-", "_"), path.partition(".")[0]
    train = {"pretrain": Pretrain, "finetune": Finetune, "serve": Serve}
    record = {**train, "data": Data, "maintain": Maintain, "life": Life}.get(phase)
    fields = () if record is None else record.__struct_fields__
    for spellings, field, _, _ in OF_PHASE.get(phase, ()):
        for spelling in spellings:
            if plain == spelling.lstrip("-").replace("-", "_") and head not in fields:
                return f"{phase}.{field}"
    for flag in FIELDS:
        if plain == flag.short_path:
            return flag.path.format(phase=phase)
    if head in Scenario.__struct_fields__:
        return path
    return f"{phase}.{path}" if head in fields else path


def split_choices(text: str) -> list[str]:
    """The values of --vary: cut at commas outside brackets.

    >>> split_choices("bf16, fp8"), split_choices("[1,2],[3]")
    (['bf16', 'fp8'], ['[1,2]', '[3]'])
    """
    parts, depth = [""], 0
    for character in text:
        depth += character in "[{"
        depth -= character in "]}"
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [p.strip() for p in parts if p.strip()]


def variants(
    scenario: dict[str, Any], flags: dict[str, Any], phase: str
) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Every combination that --vary asks for: (what was chosen, the scenario)."""
    from outlay.scenario_io import set_path

    axes = []
    for text in flags.get("opt_vary") or ():
        path, values = _assignment(text, "--vary", phase)
        axes.append([(text.partition("=")[0].strip(), path, v) for v in split_choices(values)])
    found = []
    for chosen in product(*axes):
        document = scenario
        for _, path, value in chosen:
            document = set_path(document, path, literal(value))
        found.append(({name: value for name, _, value in chosen}, document))
        if len(found) > MAX_VARIANTS:
            raise BadValue(f"--vary asks for more than {MAX_VARIANTS} plans; use `outlay batch`", "--vary")
    return found


def plan_options(flags: dict[str, Any]) -> dict[str, Any]:
    """What is asked of the planner beside the scenario: the user's own facts, later ones on top."""
    extra = (*(flags.get("opt_catalog") or ()), *(flags.get("opt_prices") or ()))
    return ({"extra": extra} if extra else {}) | ({"tables": True} if tables_asked(flags) else {})


def ask(scenario: dict[str, Any], flags: dict[str, Any]) -> Result:
    """Plan it, saying so when it takes a while."""
    from outlay.api import plan
    from outlay.cli.progress import waiting
    from outlay.subject import with_reading

    with waiting("planning", quiet=bool(flags.get("opt_quiet"))):
        return with_reading(plan(scenario, **plan_options(flags)), flags.get("read") or ())
