"""One self-contained HTML page about a run, several runs side by side, a sweep, or a population."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from purejaxrl.progress import Progress
from purejaxrl.report.commands import flags
from purejaxrl.report.style import COLOURS, STYLE, template
from purejaxrl.types import SettingError, check_new_path, check_path

__all__ = ["COLOURS", "STYLE", "flags", "template", "write"]


def write(
    folders: Sequence[Path],
    out: Path | None = None,
    *,
    title: str = "",
    films: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the page about these runs' folders, or about a sweep's or a population's, and return its path.

    Args:
      folders: of one run or several, or of one sweep or population.
      out: the page; by default report.html in the only folder, or in the folder that holds the first one.
      title: the heading; by default what was trained on.
      films: play an episode of each run's best and of its median seed, where the environment has a picture.
      progress: where to say what is being played; None: nowhere.

    Raises:
      SettingError: when a folder is of something else, damaged or named twice, or `out` cannot be written.
      CheckpointError: when an episode is to be played and no checkpoint can be used.
    """
    if not folders:
        raise SettingError("runs: name at least one run's folder")
    folders = [check_path(folder, "runs") for folder in folders]
    places = [folder.resolve() for folder in folders]
    if twice := [folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]:
        raise SettingError(f"runs: {twice[0]} stands there twice; name each run once")
    if out is None:
        out = (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    if out.is_dir():
        raise SettingError(f"out: {out} is a folder; name the page, such as {out / 'report.html'}")
    if folders[0].is_dir():  # else what is wrong is that
        check_new_path(out, "out")
    from purejaxrl.report import pages  # Bokeh takes a second to import

    pages.save(pages.make(folders, title, films=films, progress=progress), out)
    return out
