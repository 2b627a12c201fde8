"""What every planning verb does once its flags are read: plan, show, save, and say yes or no."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from outlay.cli.answer import check_outputs, form_of, save_scenario, to_json, write, write_blocks
from outlay.cli.ask import ask, scenario_of, variants
from outlay.cli.shell import NO, YES

if TYPE_CHECKING:
    from outlay.api import Result
    from outlay.report.blocks import Block


def answer(subject: str | None, flags: dict[str, Any], phase: str) -> int:
    """Plan the scenario of a command line and write the result; the exit code says whether it works out."""
    check_outputs(flags)
    scenario = scenario_of(subject, flags, phase)
    flags["subject"] = subject
    if flags.get("opt_vary"):
        from outlay.cli.vary import compare

        return compare(variants(scenario, flags, phase), flags)
    result = ask(scenario, flags)
    show(result, scenario, flags)
    if flags.get("opt_save"):
        save_scenario(scenario, flags["opt_save"])
    return result.exit_code


def show(result: Result, scenario: dict[str, Any], flags: dict[str, Any]) -> None:
    document = result.to_dict()
    form = form_of(flags)
    if form == "json":
        write(to_json(document) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import lines_csv

        write(lines_csv(document.get("lines") or []), flags)
    else:
        write_blocks(blocks_of(result, document, flags), flags)


def blocks_of(result: Result, document: dict[str, Any], flags: dict[str, Any]) -> list[Block]:
    from outlay.report import screen
    from outlay.report.influence import hangs_on

    if flags.get("opt_quiet"):
        return screen.quiet(document)
    if "serve" in document and not document.get("pretrain"):
        from outlay.report import serving

        return serving.page(document, bool(flags.get("opt_verbose")), serve_commands(document, flags))
    following = next_commands(document, flags)
    return screen.page(document, bool(flags.get("opt_verbose")), following, hangs_on(result))


def next_commands(document: dict[str, Any], flags: dict[str, Any]) -> list[str]:
    """Two commands worth running after this one, ready to paste."""
    base, phase = command_line(document, flags), document.get("pretrain") or document.get("finetune") or {}
    explain = base.replace("outlay train", "outlay explain", 1)
    if "finetune" in document:
        return _tune_commands(base, phase, flags)
    if phase.get("fits") is False:
        return [f"{base}{_nearest_that_fits(phase, flags)}", f"{explain} memory_per_device_bytes"]
    if phase.get("elapsed_s") is None:
        return [f"{base} -n 1T", f"{explain} step_time_s"]
    return [f"{explain} device_hours", f"{base} --vary {_other(document)}"]


def serve_commands(document: dict[str, Any], flags: dict[str, Any]) -> list[str]:
    """The nearest change, or another length and precision, ready to paste."""
    phase = document["serve"]
    base = f"outlay serve {flags.get('subject') or ''}".rstrip()
    if flags.get("opt_fleet"):
        base += f" -g {shlex.quote(flags['opt_fleet'])}"
    for text in flags.get("opt_set") or ():
        base += f" --set {shlex.quote(text)}"
    if phase.get("fits") is False:
        changes = [entry["set"] for entry in phase.get("nearest") or [] if entry.get("set")]
        more = [f" --set {path}={value}" for path, value in (changes[0] if changes else {}).items()]
        return [base + "".join(more), f"{base} --vary precision=fp8,awq-int4"]
    return [f"{base} --vary max_model_len=8192,32768,131072", f"{base} --vary kv_precision=bf16,fp8"]


def _tune_commands(base: str, phase: dict[str, Any], flags: dict[str, Any]) -> list[str]:
    if phase.get("fits") is False and phase.get("nearest"):
        return [f"{base}{_nearest_that_fits(phase, flags)}", f"{base} --vary method=lora,qlora"]
    if phase.get("elapsed_s") is None:
        return [f"{base} --examples 50k", f"{base} --vary sequence_length=1024,2048,4096"]
    return [f"{base} --vary method=lora,qlora,full", f"{base} --vary sequence_length=1024,2048,4096"]


def _nearest_that_fits(phase: dict[str, Any], flags: dict[str, Any]) -> str:
    """The first verified change as flags; the change that frees most where none was found."""
    changes = [entry.get("set") for entry in phase.get("nearest") or [] if entry.get("set")]
    if not changes:
        return " --recompute full"
    typed = [text.partition("=")[0] for text in flags.get("opt_set") or ()]
    wanted = {path: "null" if value is None else value for path, value in changes[0].items()
              if value is not None or path == "pretrain.layout" or flags.get("opt_file") or path in typed}
    return "".join(f" --set {shlex.quote(f'{path}={value}')}" for path, value in wanted.items())


def _other(document: dict[str, Any]) -> str:
    """The field most worth varying: the place when none was given or it is dirty, else the precision."""
    scenario = document.get("scenario") or {}
    if (scenario.get("pretrain") or {}).get("device_hours"):
        return "site=SE,FR,US,IN"
    if not scenario.get("site"):
        return "site=FR,DE,US,IN"
    precision = (scenario.get("pretrain") or {}).get("precision")
    return "precision=bf16,fp8" if precision != "fp8" else "tokens=1T,2T,4T"


def command_line(document: dict[str, Any], flags: dict[str, Any]) -> str:
    """The command that was typed, rebuilt from its flags."""
    from outlay.cli.options import FIELDS

    words = ["outlay", "tune" if "finetune" in document else "train"]
    if flags.get("subject"):
        words.append(shlex.quote(str(flags["subject"])))
    if flags.get("opt_file"):
        words += ["-f", shlex.quote(flags["opt_file"])]
    for flag in FIELDS:
        if flags.get(flag.name) is not None:
            words += [flag.spellings[0], shlex.quote(flags[flag.name])]
    for text in flags.get("opt_set") or ():
        words += ["--set", shlex.quote(text)]
    return " ".join(words)


def verdict_code(yes: bool) -> int:
    return YES if yes else NO
