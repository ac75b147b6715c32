"""Pages as text: what is common to those of runs, sweeps and populations, and the file."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.resources import Resources
from markupsafe import Markup

from purejaxrl import files, population_based, sweeps
from purejaxrl.progress import Progress
from purejaxrl.report import data, figures, stills
from purejaxrl.report.figures import Drawn, Table
from purejaxrl.report.style import template
from purejaxrl.report.verdicts import Verdict
from purejaxrl.types import SettingError

# Metrics by group, each with its title and what it means; what is not among them is said by its name.
KNOWN = {
    "episode_return": ("Episode return", "Rewards of the environment, summed over an episode; no bonus."),
    "episode_length": ("Episode length", "Steps from a reset to the end of the episode."),
    "episode_return_max": ("Best episode", "The highest return among the episodes that ended at that time."),
    "coverage": ("Coverage", "The share of the true states that were visited at all so far."),
    "visit_entropy": ("Entropy of visits", "How evenly the true states were visited, in nats."),
    "bonus_rank_correlation": ("True novelty", "Rank correlation of the bonus with 1/√n of the state arrived at."),
    "bonus_mean": ("Bonus", "As the learner gets it: normalised, and times its coefficient."),
    "bonus_raw_mean": ("Raw bonus", "Before normaliser and coefficient."),
    "first_reward": ("First reward", "The environment step of the first reward above zero."),
}
# What a browser may load and run: the page's own two scripts, and nothing from elsewhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
EPISODES = ("episode_return", "episode_length", "episode_return_max")


@dataclasses.dataclass(frozen=True)
class Group:
    """Figures under one heading; a folded one waits to be opened."""

    title: str
    drawn: list[Drawn]
    note: str = ""
    folded: bool = False
    kind: str = ""  # "maps" are as wide as they need to be


@dataclasses.dataclass(frozen=True)
class Film:
    """An episode as an animation, with its first frame for those who want no motion; both in base 64."""

    title: str
    caption: str
    animation: str
    still: str


@dataclasses.dataclass
class Page:
    """What a page shows, from top to bottom."""

    title: str
    lead: str
    verdicts: list[Verdict]
    legend: list[data.Series]
    groups: list[Group]
    commands: list[tuple[str, str]]
    configs: list[tuple[str, str]]
    versions: dict[str, Any]
    facts: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    compared: tuple[str, Table] | None = None
    best: tuple[str, Table] | None = None
    front: tuple[str, Table] | None = None  # the Pareto set, of several objectives
    shares: list[tuple[str, float]] = dataclasses.field(default_factory=list)  # of the variance, by field
    measure: str = "final return"  # whose variance that is
    stills: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # alternative text, PNG in base 64
    films: list[Film] = dataclasses.field(default_factory=list)
    numbers: Table | None = None
    band: str = "95 % intervals"  # what a band around a line is
    single: str = "each seed"  # lines that it stands for; nothing where there are none

    @property
    def own(self) -> list[data.Series]:
        """The lines with a colour of their own."""
        return [one for one in self.legend if one.place >= 0]

    @property
    def has_seeds(self) -> bool:
        return any(len(one.final) > 1 for one in self.own)


def make(folders: Sequence[Path], title: str, *, films: bool, progress: Progress | None) -> str:
    """The page about these folders.

    Raises:
      SettingError: where one is of something else or damaged.
    """
    from purejaxrl.report import population_page, run_page, sweep_page

    alone = {sweeps.PLAN: ("a sweep", sweep_page.page), population_based.PLAN: ("a population", population_page.page)}
    kinds = {folder: kind for folder in folders for plan, kind in alone.items() if (folder / plan).is_file()}
    if kinds and len(folders) > 1:
        folder, (what, _) = next(iter(kinds.items()))
        raise SettingError(f"runs: {folder} is {what}'s folder, which has a page of its own: name it alone")
    if kinds:
        page = kinds[folders[0]][1](folders[0])
    else:
        page = run_page.page(folders, films=films, progress=progress or Progress(quiet=True))
    scripts = [_script(text) for text in (_bokeh(), template("report.js").render())]
    return template("report.html").render(
        page=page,
        title=title or page.title,
        scripts=scripts,
        policy=f"{POLICY}; script-src {' '.join(map(_digest, scripts))}",
    )


def save(page: str, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # what of JSON's strings is no Unicode


def env_name(env: Any, settings: Any) -> str:
    """An environment as a heading has it, with its size where that is set."""
    size = settings.get("size") if isinstance(settings, dict) else None
    name = env if isinstance(env, str) else "an environment of its own"
    return f"{name} of size {size}" if size else name


def curve_groups(
    lines: Sequence[data.Series], names: Sequence[str], of: str = "seed"
) -> tuple[list[Group], list[tuple[data.Series, data.Curve]]]:
    """The curves of these metrics, and that of the return once more for a still one."""
    seeds = sum(len(one.final) for one in lines if one.place >= 0)
    points = int(np.clip(data.SEED_POINTS // max(seeds, 1), 20, data.POINTS))
    found: dict[str, list[tuple[data.Series, data.Curve]]] = {name: [] for name in names}
    for series in lines:
        if series.frame.empty:
            continue
        wanted = names if series.place >= 0 else ["episode_return"]
        for name, curve in data.curves(series.frame, wanted, points).items():
            found[name].append((series, curve))

    def drawn(name: str) -> Drawn:
        title, note = KNOWN.get(name, (name.replace("_", " "), ""))
        wide = name == "episode_return"
        return figures.curve(f"curve-{names.index(name)}", title, note, found[name], wide=wide, of=of)

    shown = [name for name in (*KNOWN, *names) if found.get(name)]
    shown = list(dict.fromkeys(shown))
    exploring = [name for name in shown if name in KNOWN and name not in EPISODES]
    learning = [name for name in shown if name not in KNOWN]
    groups = [
        Group("Learning curves", [drawn(name) for name in shown if name in EPISODES]),
        Group("Exploration", [drawn(name) for name in exploring]),
        Group(
            "Inside the learner", [drawn(name) for name in learning], "Losses and what else it measures.", folded=True
        ),
    ]
    return [group for group in groups if group.drawn], found.get("episode_return", [])


def still(lines: Sequence[tuple[data.Series, data.Curve]], verdicts: Sequence[Verdict]) -> tuple[str, str]:
    """The learning curves as a picture, with the answers as its alternative text."""
    text = "Episode return over environment steps. " + " ".join(f"{one.word}: {one.text}" for one in verdicts)
    return text, stills.curves(lines, "episode return")


def _bokeh() -> str:
    """Bokeh's own script."""
    return Resources(mode="inline", components=["bokeh"]).js_raw[0]


def _script(text: str) -> Markup:
    """A script of ours or of Bokeh's, never a user's text, as it stands between its tags."""
    return Markup("\n" + text.replace("</script", r"<\/script").replace("<!--", r"<\!--") + "\n")


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
