"""Write "Measured here" into the pages of the bonuses, and the tables of exploration's two pages, from docs/data.

    purejaxrl bench exploration --suite small --out bench/small
    cp bench/small/results.parquet docs/data/exploration-small.parquet
    python docs/measured.py

Tables stand between two comments that name their file, `<!-- small -->` and `<!-- end -->`: that over all its tasks in
docs/exploration.md, each task's in docs/exploration_tables.md.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from purejaxrl.bench import tables
from purejaxrl.bench.suites import METHODS

DOCS = Path(__file__).parent
TASKS = {
    "deepsea": "DeepSea, size 20",
    "deepsea-30": "size 30",
    "mountaincar": "MountainCar, sparse",
    "fourrooms": "FourRooms",
}
TASKS |= {"doorkey": "DoorKey-8x8", "multiroom": "MultiRoom-N4-S5"}
INTRO = """Sparse tasks, ten seeds, `coef` tuned on others; PPO with its best entropy bonus solves {alone} of 10.
150,000 steps (size 30, DoorKey: 500,000; MultiRoom: a million); *solved*: a mean return above 0.5 over 5 % of updates.
All with `normalise="return_std"` and learning rates of 5e-4, where a bonus has one: its `coef` is of that scale.
[Side by side](../exploration.md) has the other methods, the settings and the commands.
"""


def section(rows, alone):
    """The lines of one bonus: what came of it on each task."""
    rows = [rows.loc[task] for task in TASKS if task in rows.index]
    steps = lambda value: f"{value:,.0f}" if np.isfinite(value) else "–"  # noqa: E731
    percent = lambda value: "" if np.isnan(value) else f"{100 * value:.0f} %"  # noqa: E731
    lines = {
        "": [TASKS[row.name] for row in rows],
        "solved": [f"{row['solved']} of {row['seeds']}" for row in rows],
        "median steps to solve": [steps(row["median_steps_to_solve"]) for row in rows],
        "IQM of final returns": [f"{row['iqm']:z.2f}" for row in rows],
        "true states visited": [percent(row["coverage"]) for row in rows],
        "rank correlation with 1/√n": [f"{row['rank_correlation']:z.2f}" for row in rows],
        "tuned `coef`": [f"{row['value']:g}" for row in rows],
    }
    table = [f"| {name} | {' | '.join(cells)} |" for name, cells in lines.items()]
    table.insert(1, "|---" * (len(rows) + 1) + "|")
    counts = [str(alone.loc[row.name, "solved"]) for row in rows]
    return INTRO.format(alone=", ".join(counts[:-1]) + " and " + counts[-1]) + "\n" + "\n".join(table) + "\n"


def replaced(page, start, end, text):
    """The page with what is between the two marks replaced."""
    found, count = re.subn(
        f"({start}\n).*?({end})", lambda match: f"{match[1]}\n{text}\n{match[2]}", page, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{start} stands {count} times in the page")
    return found


def main():
    frames = {
        path.stem.removeprefix("exploration-"): pd.read_parquet(path)
        for path in sorted(DOCS.glob("data/exploration-*.parquet"), reverse=True)
    }
    summary = tables.summarise(pd.concat(frames.values())).drop_duplicates(["task", "method"]).set_index("task")
    alone = summary[summary["method"] == "entropy"]
    for method in METHODS:
        if method.bonus and "*" not in method.bonus:
            path = DOCS / "bonuses" / f"{method.bonus.lower()}.md"
            text = section(summary[summary["method"] == method.name], alone)
            path.write_text(replaced(path.read_text(), "## Measured here", "Cost: ", text))
    paths = DOCS / "exploration.md", DOCS / "exploration_tables.md"
    pages = [path.read_text() for path in paths]
    for name, frame in frames.items():
        joined, _, each = tables.markdown(frame).partition("\n**")
        for index, text in enumerate([f"{joined.strip()}\n", f"**{each.strip()}\n"]):
            pages[index] = replaced(pages[index], f"<!-- {name} -->", "<!-- end -->", text)
    for path, page in zip(paths, pages, strict=True):
        path.write_text(page)


if __name__ == "__main__":
    main()
