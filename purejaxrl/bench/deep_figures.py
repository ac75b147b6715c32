"""The table and figures of deep exploration: episodes to solve DeepSea by size, success on MiniGrid's tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purejaxrl import files, stats
from purejaxrl.bench.tables import median_with_censoring

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row


def summarise(results: Frame) -> Frame:
    """A row per method and task: over seeds how many solved it, medians of what it took, means of what came of it."""
    rows = []
    groups: Any = results.sort_values(["task", "size"], kind="stable").groupby(["task", "size", "method"], sort=False)
    for (task, size, method), runs in groups:
        pieces = runs.drop_duplicates("seconds")  # seeds that trained together share their time
        row = {
            "task": task,
            "size": size,
            "method": method,
            "seeds": len(runs),
            "solved": int(runs["solved"].sum()),
            "median_episodes": median_with_censoring(np.asarray(runs["episodes_to_solve"])),
            "median_steps": median_with_censoring(np.asarray(runs["steps_to_solve"])),
            "final_success": float(runs["final_success"].mean()),
            "final_return": float(runs["final_return"].mean()),
            "env_steps": int(runs["env_steps"].max()),
            "seconds": float(pieces["seconds"].sum()),
            "compile_seconds": float(pieces["compile_seconds"].sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def in_one_line(results: Frame) -> str:
    row = summarise(results).iloc[0]
    return (
        f"{row['task']}, {row['method']}: {row['solved']} of {row['seeds']} solved, median "
        f"{_count(row['median_steps'])} steps of {row['env_steps']:,}, {row['seconds']:,.0f} s and {row['compile_seconds']:,.0f} s to compile"
    )


def markdown(study: str, results: Frame) -> str:
    """The table: a row per method and task."""
    summary = summarise(results)
    unit = "episodes" if study == "deepsea" else "frames"
    lines = [
        f"| task | method | solved [95 % interval] | median {unit} to solve | final success | final return | steps per "
        "seed | seconds, all seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in summary.itertuples():
        low, high = stats.wilson_interval(row.solved, row.seeds)
        median = _count(row.median_episodes if study == "deepsea" else row.median_steps)
        rate = f"{row.solved} of {row.seeds} [{100 * low:.0f} %, {100 * high:.0f} %]"
        lines.append(
            f"| {row.task} | {row.method} | {rate} | {median} "
            f"| {100 * row.final_success:.0f} % | {row.final_return:z.2f} | {row.env_steps:,} | {row.seconds:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "–"


def write(out: Path, study: str, results: Frame, curves: Frame) -> None:
    """Fill the folder: ``results.parquet``, ``table.md`` and ``*.png``."""
    del curves
    with files.replacing(out / "results.parquet") as temporary:
        results.to_parquet(temporary, index=False)
    with files.replacing(out / "table.md") as temporary:
        temporary.write_text(markdown(study, results), encoding="utf-8")
