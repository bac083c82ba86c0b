"""The command of the command line that measures a bundle on a phone; see `cli`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from export.cli_quality import BundleFolder, Json, print_json


def bench(
    bundle: BundleFolder,
    adb: Annotated[
        bool, typer.Option("--adb", help="On the phone that adb sees, with the Android demo app.")
    ] = False,
    prompts: Annotated[str, typer.Option(help="Lengths of prompts to read.")] = "128,512",
    depths: Annotated[str, typer.Option(help="Contexts after which to write.")] = "128,2000",
    decode: Annotated[int, typer.Option(help="Tokens to write.")] = 64,
    rounds: Annotated[int, typer.Option(help="Of all of them, in changing order.")] = 5,
    cooldown: Annotated[int, typer.Option(help="Seconds between two measurements.")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the report.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the speed of a bundle on a phone.

    Example: tinyaya-export bench aya/onnx --adb --out phone.json
    """
    from export.adb_bench import PhoneBenchOptions, bench_on_phone
    from export.errors import AdbError

    if not adb:
        raise AdbError("expected --adb; on this machine, use python -m benchmarks.speed")
    options = PhoneBenchOptions(
        prompts=prompts, depths=depths, decode=decode, rounds=rounds, cooldown=cooldown
    )
    report = bench_on_phone(bundle, options)
    if out is not None:
        out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    if as_json:
        return print_json(report)
    print(" ".join(str(value) for value in report["device"].values()))
    for row in report["rows"]:
        print(
            f"{row['test']}: {row['median_ts']:.1f} tokens/s "
            f"[{row['q1_ts']:.1f}, {row['q3_ts']:.1f}], "
            f"first token after {row['ttft_ms']:.0f} ms, {row['rss_bytes'] / 1e6:.0f} MB, "
            f"{row['battery_celsius']:.0f} degrees"
        )
    return None
