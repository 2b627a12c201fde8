"""The front door: a scenario in, a `Result` out. The command line and the batch are thin over this."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outlay.result import Result
from outlay.scenario import Scenario
from outlay.scenario_io import scenario_from


def plan(scenario: Mapping[str, Any] | Scenario | str | Path, *,
         extra: Sequence[str | os.PathLike[str]] = (), around: bool = True, tables: bool = False) -> Result:
    """Plan every phase of a scenario: a mapping, a `Scenario`, or the path of a file that holds one.

    A file may be a scenario, a result, or another program's settings; what was read of the latter, and what
    could not be, is among the result's assumptions and warnings.

    extra: the user's own catalogue folders and price files, later ones on top.
    around: also look for what lies near: changes that would make it fit, the room that is left, other fleets.
    tables: keep every request and step of a serving plan that is replayed (`serve.replay`, or a trace), in `replay`
    of the result: `plan(scenario, tables=True).replay.write("requests.csv")`.
    Raises OutlayError subclasses for everything a user can get wrong.
    """
    from outlay.catalog import load
    from outlay.planner.run import run_plan

    if isinstance(scenario, (str, Path)):
        from outlay.subject import subject_of, with_reading

        subject = subject_of(str(scenario))
        found = run_plan(scenario_from(subject.scenario), load(tuple(extra)), around=around, tables=tables)
        return with_reading(found, [subject])
    return run_plan(_as_scenario(scenario), load(tuple(extra)), around=around, tables=tables)


def check(scenario: Mapping[str, Any] | Scenario | str | Path, *,
          extra: Sequence[str | os.PathLike[str]] = ()) -> dict[str, Any]:
    """The scenario as resolved, every default visible; raises where `plan` would."""
    from outlay.catalog import load
    from outlay.resolve import resolve

    return resolve(_as_scenario(scenario), load(tuple(extra))).scenario


def _as_scenario(scenario: Mapping[str, Any] | Scenario | str | Path) -> Scenario:
    if isinstance(scenario, Scenario):
        return scenario
    if isinstance(scenario, (str, Path)):
        from outlay.subject import subject_of

        return scenario_from(subject_of(str(scenario)).scenario)
    return scenario_from(scenario)


def load_subject(text: str | Sequence[str]) -> dict[str, Any]:
    """What a SUBJECT on the command line stands for: a model, a scenario file or a result's JSON, a trainer's or an
    engine's configuration, a log, or the words of a launch line. `outlay.subject.subject_of` tells how it was read.

    >>> load_subject("llama-3.1-8b")
    {'model': 'llama-3.1-8b'}
    """
    from outlay.subject import subject_of

    return dict(subject_of(text).scenario)
