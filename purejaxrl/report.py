"""One self-contained HTML page about a run, or comparing several: learning curves and visitation maps."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import matplotlib.cm
import matplotlib.colors
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from purejaxrl import expressions, files, metrics, runs, stats
from purejaxrl.types import SettingError, check_new_path

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # Okabe & Ito: safe for colour blindness
NUMBERS = ("env_steps", "num_episodes", "episode_return", "episode_return_max")  # columns that a page is made of
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",
}


@dataclasses.dataclass(frozen=True)
class RunData:
    """What a page shows of one run."""

    folder: Path
    label: str
    colour: str
    config: runs.Config
    summary: dict[str, Any]
    frame: pd.DataFrame
    visits: Any  # int [num_seeds, num_cells], or None
    cells: Any  # envs.Cells, or None


def write(folders: Sequence[Path], out: Path | None = None, *, title: str = "") -> Path:
    """Write the page for these runs' folders and return its path.

    Raises:
      SettingError: when a folder is not a run's.
    """
    if not folders:
        raise SettingError("runs: name at least one run's folder")
    if out is not None and out.is_dir():
        raise SettingError(f"out: {out} is a folder; name the page, such as {out / 'report.html'}")
    if out is not None:
        check_new_path(out, "out")
    data = _read([Path(folder) for folder in folders])
    if out is None:
        out = (data[0].folder if len(data) == 1 else data[0].folder.parent) / "report.html"
    title = title or " and ".join(dict.fromkeys(_env_label(run.config) for run in data))
    page = template("report.html").render(
        title=title,
        answers=[_answer(run) for run in data],
        runs=data,
        rows=[_row(run) for run in data],
        curves=_curves(data),
        maps=_maps(data),
        commands=[_command(run.config) for run in data],
        configs=[json.dumps(dataclasses.asdict(run.config), indent=2) for run in data],
        versions=data[0].summary.get("versions", {}),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # what of JSON's strings is no Unicode
    return out


def _read(folders: list[Path]) -> list[RunData]:
    for folder in folders:
        files.check_contents(folder)
    configs = [runs.read_config(folder) for folder in folders]
    found = []
    for number, (folder, config, label) in enumerate(zip(folders, configs, _labels(configs), strict=True)):
        parts, summary = runs.build(config), runs.read_summary(folder)
        visits = _visits(folder / "visits.npz", config, parts.cells)
        colour = COLOURS[number % len(COLOURS)]
        found.append(RunData(folder, label, colour, config, summary, _frame(folder), visits, parts.cells))
    return found


def _frame(folder: Path) -> pd.DataFrame:
    frame = metrics.load(folder)
    try:
        files.check_columns(frame, ("seed", "update"), (*NUMBERS, *(["coverage"] if "coverage" in frame else [])))
    except ValueError as error:
        raise SettingError(f"{folder / metrics.FILE} is damaged: {error}") from None
    if np.any(np.asarray(frame["update"]) < 1):
        raise SettingError(f"{folder / metrics.FILE} is damaged: updates count from 1")
    return frame


def _visits(path: Path, config: runs.Config, cells: Any) -> Any:
    """The exact counts of a run, ``[num_seeds, num_cells]``; None where it has none."""
    if cells is None or not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            visits = stored["visits"]
    except Exception:  # of damage NumPy, zipfile and zlib have each their own errors
        raise SettingError(f"{path} is damaged") from None
    if visits.shape != (config.seeds, cells.num_cells) or visits.dtype.kind not in "iu":
        raise SettingError(f"{path} is damaged: it has no counts of {config.seeds} seeds and {cells.num_cells} cells")
    return visits


def _labels(configs: list[runs.Config]) -> list[str]:
    """Algorithm and bonus, with the environment where it differs, numbered where that is not enough."""
    names = []
    for config in configs:
        learner, bonus = runs.make_learner(config.algo, {}), expressions.parse(config.bonus)
        names.append(type(learner).__name__ + (" alone" if bonus is None else f" + {bonus}"))
    if len({config.env for config in configs}) > 1:
        names = [f"{name} on {config.env}" for name, config in zip(names, configs, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def _env_label(config: runs.Config) -> str:
    size = config.env_settings.get("size")
    return f"{config.env}{f' of size {size}' if size else ''}"


def _final(run: RunData) -> np.ndarray:
    values = [math.nan if value is None else value for value in run.summary["final_return_per_seed"]]
    if len(values) != run.config.seeds or not all(isinstance(value, float) for value in values):
        raise SettingError(f"{run.folder / 'summary.json'} is damaged: a return of each seed is no number")
    return np.asarray(values)


def _answer(run: RunData) -> str:
    final = _final(run)
    start = f"{run.label} took {run.summary['env_steps']:,} steps with each of {run.config.seeds} seeds"
    if run.summary.get("interrupted"):
        start += " before it was interrupted"
    if not np.isfinite(final).any():
        return f"{start}; no episode ended in the last tenth of the updates."
    mean, low, high = stats.mean_interval(final)
    interval = f" (95 % interval over seeds {_number(low)} to {_number(high)})" if len(final) > 1 else ""
    return f"{start} and ended with a mean return of {_number(mean)}{interval}."


def _row(run: RunData) -> dict[str, str]:
    final, best = _final(run), np.asarray(run.frame["episode_return_max"])
    coverage = np.asarray(run.frame.groupby("seed")["coverage"].last()).mean() if "coverage" in run.frame else math.nan
    shown = {
        "seeds": str(run.config.seeds),
        "steps per seed": f"{run.summary['env_steps']:,}",
        "final return, each seed": ", ".join(_number(value) for value in final),
        "best episode": _number(np.nanmax(best) if np.isfinite(best).any() else math.nan),
        "cells visited, mean of seeds": "" if math.isnan(coverage) else f"{100 * coverage:.0f} %",
        "steps/s": f"{run.summary['steps_per_second']:,.0f}",
        "compile": f"{run.summary['compile_seconds']:.0f} s",
        "run": f"{run.summary['run_seconds']:.0f} s",
    }
    return shown


def _number(value: Any) -> str:
    """Three digits, and what is as good as zero as 0; a dash where there is nothing."""
    return "–" if math.isnan(value) else "0" if abs(value) < 5e-4 else f"{value:.3g}"


def _curves(data: list[RunData]) -> str:
    """Mean episode return over environment steps, a 95 % bootstrap band over seeds, and each seed as a thin line."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for run in data:
            if run.frame.empty:
                continue
            steps, values = metrics.curve(run.frame, "episode_return")
            mean, low, high = stats.mean_interval(values)
            axes.plot(steps, values.T, color=run.colour, alpha=0.2, linewidth=0.7)
            axes.fill_between(steps, low, high, color=run.colour, alpha=0.2, linewidth=0)
            axes.plot(steps, mean, color=run.colour, linewidth=2.2, label=run.label)
        axes.set_xlabel("environment steps (one seed)")
        axes.set_ylabel("episode return")
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        axes.margins(x=0.01)
        if axes.lines:
            axes.legend(frameon=False, loc="best")
        return _image(figure)


def _maps(data: list[RunData]) -> str:
    """How often each cell was visited, seeds together, on one logarithmic scale; unvisited cells stay hatched."""
    shown = [run for run in data if run.visits is not None]
    if not shown:
        return ""
    grids = []
    for run in shown:
        layout = run.cells.layout
        grids.append(np.where(layout >= 0, run.visits.sum(0)[np.maximum(layout, 0)], -1))
    top = max(2, *(grid.max() for grid in grids))
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(4.2 * len(shown) + 0.8, 4.4), layout="constrained")
        axes_row = figure.subplots(1, len(shown), squeeze=False)[0]
        norm = matplotlib.colors.LogNorm(1, top)
        for axes, run, grid in zip(axes_row, shown, grids, strict=True):
            axes.imshow(np.where(grid == 0, 1.0, np.nan), cmap=matplotlib.colors.ListedColormap(["#e9e9ee"]))
            axes.imshow(np.where(grid > 0, grid, np.nan), cmap="viridis", norm=norm)
            real = grid >= 0
            axes.set_title(f"{run.label}: {100 * (grid[real] > 0).mean():.0f} % of {real.sum()} cells", fontsize=11)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        figure.colorbar(
            matplotlib.cm.ScalarMappable(norm, "viridis"),
            ax=axes_row.tolist(),
            label="visits, all seeds (grey: none)",
            shrink=0.85,
        )
        return _image(figure)


def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return base64.b64encode(buffer.getvalue()).decode()


def _command(config: runs.Config) -> str:
    """The command that reproduces the run."""
    words = ["purejaxrl train", f"--env {shlex.quote(config.env)}"]
    for kind in ("env", "algo", "bonus"):
        if kind != "env" and getattr(config, kind) != "none":
            words.append(f"--{kind} {shlex.quote(getattr(config, kind))}")
        words += flags(config, kind)
    words += [f"--total-steps {config.total_steps}", f"--num-envs {config.num_envs}"]
    words += [f"--seeds {config.seeds}", f"--seed {config.seed}", *(["--visits"] if config.visits else [])]
    return " ".join(words)


def flags(config: runs.Config, kind: str) -> list[str]:
    """Those settings of a component that differ from its defaults, as flags."""
    settings = getattr(config, f"{kind}_settings")
    if kind == "env":
        constructor = runs.envs.constructor_settings(config.env)
        given = {name: value for name, value in settings.items() if name in constructor}
        return _differing(kind, settings, runs.envs.settings(config.env, **given) | constructor)
    if kind == "algo":
        return _differing(kind, settings, dataclasses.asdict(runs.make_learner(config.algo, {})))
    expression = expressions.parse(config.bonus)
    return [] if expression is None else _differing(kind, settings, expressions.settings_class(expression)())


def _differing(prefix: str, settings: dict[str, Any], defaults: Any) -> list[str]:
    """Flags of the settings that are not the defaults, a mapping or a dataclass; nested ones have dotted names."""
    found = []
    for name, value in settings.items():
        default = defaults[name] if isinstance(defaults, dict) else getattr(defaults, name)
        flag = f"--{prefix}.{name.replace('_', '-')}"
        if isinstance(value, dict) and dataclasses.is_dataclass(default):
            found += _differing(f"{prefix}.{name}", value, default)
        elif _equal(value, default):
            continue
        elif isinstance(value, bool):
            found.append(flag if value else f"--{prefix}.no-{name.replace('_', '-')}")
        else:
            words = value if isinstance(value, list) else [value]
            found.append(" ".join([flag, *(shlex.quote(str(word)) for word in words)]))
    return found


def _equal(value: Any, default: Any) -> bool:
    """Whether JSON's value is the default, which may be a tuple or an array."""
    return bool(np.array_equal(value, default))


def template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("purejaxrl", "templates"), autoescape=True)
    return environment.get_template(name)
