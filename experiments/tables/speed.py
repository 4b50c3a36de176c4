"""Tables of speed: beside peers, time to the notebook's result, and cost of more of everything."""

import statistics
from collections.abc import Iterable
from typing import Any

from cifsel.workdir.provenance import Devices
from experiments.bench import bulk, commands, entries, growth, scaling, time_to_result
from experiments.tables.markdown import table
from experiments.tables.records import machine_lines, read

KERAS = "keras-tensorflow"
_PEERS = {
    KERAS: "Keras",
    "torch-timm": "timm",
    "torch-compile": "compiled timm",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
}


def bench_table(record: dict[str, Any], *, pipeline: bool) -> str:
    """Speeds and ratios of a record of the benchmark, of models or of their input pipeline."""
    measured = entries.of(record)
    peers = list(dict.fromkeys(entry.peer for entry in measured))
    kept = [
        entry
        for entry in measured
        if (entry.kind == "pipeline") == pipeline and not (pipeline and entry.model != "mobilenet")
    ]
    machine = entries.Machine(**record["machine"])
    return "\n".join(entries.header(peers) + entries.rows(kept, peers, machine))


def ratio_range(measured: Iterable[entries.Entry], kind: str, peer: str) -> str:
    """Lowest and highest ratio to a peer over models and sizes, by the medians."""
    by_work: dict[tuple[str, int], dict[str, entries.Entry]] = {}
    for entry in measured:
        if entry.kind == kind:
            by_work.setdefault((entry.model, entry.size), {})[entry.peer] = entry
    ratios = [
        entries.times_as_fast(by_peer["cifsel"], by_peer[peer])[0]
        for by_peer in by_work.values()
        if peer in by_peer
    ]
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""


def ratios(name: str) -> str:
    """How many times as fast as its peers, over both models at all sizes of a record."""
    measured = entries.of(read(name))
    kinds = dict.fromkeys(entry.kind for entry in measured if entry.kind != "pipeline")
    known = {entry.peer for entry in measured}
    peers = [peer for peer in _PEERS if peer in known]
    rows = [(kind, *(ratio_range(measured, kind, peer) for peer in peers)) for kind in kinds]
    return table(("work", *(f"times as fast as {_PEERS[peer]}" for peer in peers)), rows)


def times() -> str:
    """Wall times to the notebook's result."""
    return time_to_result.table(read("time_to_result")["runs"])


def scaling_table(record: dict[str, Any]) -> str:
    """Medians and ranges over processes for each value of what was varied."""
    by_point = {
        (result["varied"], result["value"], result["model"]): result for result in record["results"]
    }
    rows = []
    for varied, (_, values) in scaling.SWEEPS.items():
        for value in values:
            cells = [scaling.LABELS[varied], f"{value:,}"]
            for model in scaling.MODELS:
                result = by_point[varied, value, model]
                cells += [
                    with_range(result["seconds"], ".3g"),
                    with_range(result["peak_gigabytes"], ".2f"),
                ]
            rows.append(cells)
    header = ["varied", "value"]
    for name in scaling.MODELS.values():
        header += [f"{name}, s", f"{name}, GB"]
    return table(header, rows)


def exponents(record: dict[str, Any]) -> str:
    """Exponents of the growth of seconds over the last three values of what was varied."""
    rows = []
    for varied, (_, values) in scaling.SWEEPS.items():
        cells = [scaling.LABELS[varied]]
        for model in scaling.MODELS:
            seconds = {
                result["value"]: statistics.median(result["seconds"])
                for result in record["results"]
                if (result["varied"], result["model"]) == (varied, model)
            }
            last = values[-3:]
            power = scaling.exponent(last, [seconds[value] for value in last])
            cells.append(f"{power:z.2f}")
        rows.append(cells)
    return table(["varied", *scaling.MODELS.values()], rows)


def growth_section() -> str:
    """Seconds of searches and of task 2's protocol by number, and the power of their growth."""
    record = read("growth")
    rows = []
    for work, label in growth.LABELS.items():
        seconds = growth.seconds_of(record["results"], work)
        cells = ", ".join(f"{count:,}: {value:.2g} s" for count, value in seconds.items())
        rows.append((label, cells, f"{growth.power(seconds):.2f}"))
    return f"""## More images to compare, and more photos

`python -m experiments.bench.growth`, {record["date"]}, {record["processor"]},
{record["cores"]} cores, one process. Copies are the same image, rescaled or compressed anew. Twins
are two pictures of 32 pixels from one photograph: one test image is compared to five others. Task 2
has made-up features and the settings of configs/selfie.py. Seconds include compiling. The power is
fitted to the last three values. [growth.json](growth.json) is the record.

{machine_lines("growth")}

![Seconds of searches and of task 2 by number](growth.png)

{table(("work", "number: seconds", "power"), rows)}"""


def with_range(amounts: list[float], digits: str) -> str:
    """Median with the lowest and the highest amount."""
    texts = [f"{amount:{digits}}" for amount in (min(amounts), max(amounts))]
    return f"{statistics.median(amounts):{digits}} ({' to '.join(texts)})"


def command_of(record: dict[str, Any]) -> str:
    """The command line of a record of the benchmark."""
    return f"`python -m experiments.bench {' '.join(record['command'])}`"


def versions_of(record: dict[str, Any]) -> str:
    """Versions of a record of the benchmark."""
    machine = record["machine"]
    return f"{record['date']}, {machine['processor']}, jax {machine['jax']}"


def bulk_section() -> str:
    """How `predict` on many photos compares with its two parts."""
    record = read("bulk")
    environment = record["environment"]
    devices = Devices(**environment["devices"])
    return f"""## Many photos

`{environment["command"]}`, {environment["finished"][:10]}, {devices.words}. The model's input is
{record["input_side"]} px. Photos per second, medians of {record["rounds"]} rounds of
{record["photos"]} drawn JPEGs. Decoding and the forward pass share the cores of a CPU. Then
`predict` can at best be as quick as both in turn. [bulk.json](bulk.json) is the record.

{machine_lines("bulk")}

{bulk.table([bulk.Speed(**speed) for speed in record["speeds"]])}"""


def page() -> str:
    """results/speed.md."""
    bench, keras_jax, avx2 = read("bench"), read("bench-keras-jax"), read("bench-avx2")
    one_image = read("bench-one-image")
    runs, costs = read("time_to_result"), read("scaling")
    timings = [commands.Timing(**timing) for timing in bench["commands"]]
    return f"""# Speed

## Beside Keras and PyTorch

{command_of(bench)},
{versions_of(bench)}. Keras runs on TensorFlow with oneDNN, timm on PyTorch. torch-compile is
PyTorch with timm, compiled by Inductor. onnxruntime and openvino run the graphs that cifsel
exports. Batches have 32 images in float32. All peers do the same work: a forward pass, or a
training step of AdamW on all parameters.

The peers take turns call by call, in three processes each. Speeds are medians and half the distance
between the quartiles. Ratios are of the medians, with their range over the processes. The share is
of the rate of a large matrix product, {bench["machine"]["matmul_gflops"]:.0f} GFLOP/s. A training
step counts as three forward passes. [bench.json](bench.json) has every time.

{machine_lines("bench")}

![Ratios to Keras, and the time to the notebook's result](speed.png)

{ratios("bench")}

{bench_table(bench, pipeline=False)}

Augmentation and enlarging (mirror, shift by 4 of 32 pixels, bicubic), in the processes of
MobileNet:

{bench_table(bench, pipeline=True)}

Whole processes, once each (`python -m experiments.bench.commands`). The run `first` has an empty
cache folder:

{chr(10).join(commands.table(timings))}

## Beside Keras on JAX

{command_of(keras_jax)}, {versions_of(keras_jax)}.
[bench-keras-jax.json](bench-keras-jax.json) has every time.

{machine_lines("bench-keras-jax")}

{bench_table(keras_jax, pipeline=False)}

## On a processor without AVX-512

{command_of(avx2)},
{versions_of(avx2)}. The peers take turns as above, in two processes each. A matrix product runs at
{avx2["machine"]["matmul_gflops"]:.0f} GFLOP/s.
[bench-avx2.json](bench-avx2.json) has every time.

{machine_lines("bench-avx2")}

{ratios("bench-avx2")}

{bench_table(avx2, pipeline=False)}

## One image at a time

{command_of(one_image)}, {versions_of(one_image)}.
Batches of one image. onnxruntime and openvino run the graphs that cifsel exports.
[bench-one-image.json](bench-one-image.json) has every time.

{machine_lines("bench-one-image")}

{bench_table(one_image, pipeline=False)}

## Time to the notebook's result

`python -m experiments.bench.time_to_result`, {runs["date"]}, {runs["processor"]},
{runs["cores"]} cores, seed 0. Whole processes, start-up and compiling included. The notebook
reported 61.0 %. Its procedure runs in Keras with EfficientNetV2-B0 at 96 px. Keras reads the images
from arrays that cifsel has cached. The first run of cifsel has an empty cache folder. Both score
2,000 test images. [time_to_result.json](time_to_result.json) has all times.

{machine_lines("time_to_result")}

cifsel: `python {runs["commands"]["cifsel"]}`

{times()}

{bulk_section()}

## More images, pixels and classes

`JAX_PLATFORMS=cpu python -m experiments.bench.scaling`, {costs["date"]}, {costs["cores"]} cores.
Every point is a median over three new processes, with the range. A probe is features and
{costs["iterations"]} iterations of the solver. A step is a training step with fixed batch norm.
Values that do not vary are 2,000 images, 96 px, 32 images per step and 50 classes.
[scaling.json](scaling.json) is the record.

{machine_lines("scaling")}

![Seconds and memory against images, pixels, batch and classes](scaling.png)

Seconds grow with the varied quantity to these powers, fitted to its last three values. A power of 1
means that twice as much takes twice as long:

{exponents(costs)}

{scaling_table(costs)}

{growth_section()}
"""
