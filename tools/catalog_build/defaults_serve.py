"""What a serving plan, the power of a node's host and a room assume where the user says nothing."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.defaults import KIND, OURS, Default

__all__ = ["KIND", "build"]

AZURE = "Azure LLM inference trace 2023, conversation (Splitwise, ISCA 2024), CC-BY 4.0"
SERVE = (
    Default("serve.input_tokens", 1024.0, "token", f"{AZURE}: mean prompt 1,155", "derived",
            "prompt where a workload gives none, rounded to a power of two"),
    Default("serve.output_tokens", 256.0, "token", f"{AZURE}: mean answer 211", "derived",
            "answer where a workload gives none, rounded to a power of two"),
    Default("serve.requests_per_user_hour", 10.0, "1/h", OURS, "assumed",
            "requests of a person in the busiest hour; an agent sends many times more", 3.0, 30.0),
    Default("serve.hours", 8760.0, "h", OURS, "assumed", "a year of service, as budgets are made"),
    Default("serve.start_bytes_per_s", 1e9, "byte/s", "weights from storage into devices: 22 GB in 142 s from a local "
            "drive without streaming (route179.dev, 2026-06-30) to 5 GB/s streamed in parallel", "assumed",
            "of a replica's weights, when it starts", 2e8, 5e9),
    Default("serve.start_engine_s", 90.0, "s", "steps of starting vLLM: arXiv:2606.07362; compilation 39 s and "
            "profiling beside it (route179.dev, 2026-06-30)", "assumed",
            "from a machine that is there to an engine that answers, loading its weights left out", 45.0, 240.0),
    Default("serve.host_memory_bytes_per_s", 60e9, "byte/s", "two channels of DDR5-5600 move 89.6 GB/s (JEDEC "
            "JESD79-5), of DDR4-3200 51.2 (JESD79-4); a server's eight channels several times that", "assumed",
            "what a host's cores read weights at, of layers left to them: two thirds of two channels", 35e9, 250e9),
    Default("serve.host_link_share", 0.8, "", "nvbandwidth from pinned memory: 26 GB/s of PCIe 4.0's 31.5 into RTX "
            "4090 (NVIDIA/nvbandwidth#15), 35 by kernels of PCIe 5.0's 63 into H100 (#24), 55.6 by copies (its blog)",
            "derived", "of a host link's rate that reading weights over it reaches", 0.55, 0.9),
    Default("serve.autoscale.target_share", 0.7, "", "Knative Serving: container-concurrency-target-percentage of its "
            "autoscaler, 70 by default", "published", "of the requests a second that one replica takes within its "
            "promises; as many as are then inside it are the target"),
    Default("serve.autoscale.every_s", 15.0, "s", "Kubernetes: horizontal-pod-autoscaler-sync-period, 15 s by default",
            "published", "between two looks of the autoscaler"),
    Default("serve.autoscale.down_after_s", 300.0, "s", "Kubernetes HorizontalPodAutoscalerBehavior: scale-down "
            "stabilization window, 300 s by default", "published", "the most that was wanted in this time stays"),
    Default("serve.acceptance.mtp", 0.75, "", "DeepSeek-V3 technical report, arXiv:2412.19437, section 5.4.3: second "
            "token accepted 85-90 %; later ones less", "derived", "chance that a drafted token is kept", 0.6, 0.9),
    Default("serve.acceptance.eagle", 0.7, "", OURS, "assumed", "chance that a drafted token is kept; give your own",
            0.5, 0.85),
    Default("serve.acceptance.draft", 0.6, "", OURS, "assumed", "chance that a drafted token is kept; give your own",
            0.4, 0.8),
    Default("serve.acceptance.ngram", 0.3, "", OURS, "assumed", "chance that a copied token is kept; depends on how "
            "much an answer repeats its prompt", 0.05, 0.6),
    Default("serve.image_tokens", 1275.0, "token", "Qwen2.5-VL technical report, arXiv:2502.13923: a token for 28 x 28 "
            "pixels; LLaVA-1.5, arXiv:2310.03744: 576 an image", "derived", "tokens of an image of a megapixel", 576.0,
            2900.0),
    Default("serve.adapter_layer_s", 2.5e-5, "s", OURS, "assumed", "small kernels of adapters in a layer: two for each "
            "adapted matrix", 1e-5, 6e-5),
    Default("serve.drafted_tokens", 1.0, "token", "DeepSeek-V3, arXiv:2412.19437: one prediction layer", "published",
            "tokens drafted a step"),
    Default("energy.host_share", 0.28, "", "Dell MLPerf Training v4.1 node power less eight H100 and supply losses "
            "(some 200 W a device); HGX H100 node peak of 8.4 kW, arXiv:2412.08602 (some 290 W)", "derived",
            "power of processors, memory, adapters and fans of a device's share of its node, whatever the device does, "
            "over the device's rated power", 0.18, 0.45),
    Default("energy.supply_factor", 1.06, "", "80 PLUS Titanium supplies: 91 to 96 % efficient at half to full load",
            "published", "drawn at the plug over delivered by a server's supply", 1.04, 1.1),
    Default("site.pue_own_room", 1.0, "", "PUE is 1 by definition (ISO/IEC 30134-2) where nothing but the machine "
            "draws power", "assumed", "one's own room, no data centre around it; cooling the room by air conditioning "
            "adds up to a third", 1.0, 1.1),
    Default("site.wue_own_room", 0.0, "L/kWh", "no cooling tower stands beside a room", "assumed",
            "one's own room, no data centre around it"),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    return [Row(d.id, "value", d.value, d.unit, d.source, CATALOG_DATE, d.how, d.low, d.high, d.note) for d in SERVE]
