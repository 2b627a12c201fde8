"""Calculon's own search code on GPT-3 175B, in one process for a given time; run with its checkout at hand.

Calls `OptimalExecution.search` as its command does, over the same nested choices, and counts executions, once as
it is and once with its logging switched off (formatting its log lines takes most of an evaluation).
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from typing import Any

PROCESSORS, BATCH, DATATYPE = 512, 512, "float16"


def parts(app: Any, llm: Any, optimal: Any) -> list[tuple[Any, ...]]:
    """What its command hands to its workers, in a fixed random order so that a part of it is a fair sample."""
    found = []
    for tensor in llm.get_all_tensor_parallelisms(PROCESSORS, app.hidden, app.attn_heads):
        for pipeline in llm.get_all_pipeline_parallelisms(PROCESSORS, tensor, app.num_blocks):
            data = llm.get_data_parallelism(PROCESSORS, tensor, pipeline)
            batch = optimal.get_batch_size(data, BATCH)
            if batch is None:
                continue
            for chunks in llm.get_valid_pipeline_interleavings(app.num_blocks, pipeline):
                for recompute in ("full", "attn_only", "none"):
                    for sharding in (True, False) if data > 1 else (False,):
                        for communication in ("ar", "p2p_rs_ag", "rs_ag"):
                            found.append((tensor, pipeline, data, chunks, batch, recompute, sharding, communication))
    random.Random(0).shuffle(found)
    return found


def rate(app: Any, system: Any, llm: Any, optimal: Any, seconds: float) -> dict[str, float]:
    done, started, cpu = 0, time.perf_counter(), time.process_time()
    for part in parts(app, llm, optimal):
        answer = optimal.search(False, 1, False, PROCESSORS, BATCH, DATATYPE, app, system, *part, [True], False,
                                True, True)
        done += answer[1]
        if time.perf_counter() - started > seconds:
            break
    return {"per_s": done / (time.perf_counter() - started), "per_cpu_s": done / (time.process_time() - cpu)}


def main() -> None:
    asked = json.loads(sys.argv[1])
    sys.path.insert(0, asked["checkout"])
    import calculon  # type: ignore[import-not-found]
    from calculon.llm import Llm, OptimalExecution  # type: ignore[import-not-found]
    from calculon.system import System  # type: ignore[import-not-found]

    app = Llm.Application(calculon.io.read_json_file("models/gpt3-175B.json"))
    system = System(calculon.io.read_json_file("systems/a100_80g.json"))
    answer = {"on": rate(app, system, Llm, OptimalExecution, asked["seconds"])}
    logging.Logger.debug = lambda self, *args, **more: None  # type: ignore[method-assign]
    answer["off"] = rate(app, system, Llm, OptimalExecution, asked["seconds"])
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
