"""Episodes of a run's best and of its median seed, as animations."""

from __future__ import annotations

import base64
import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from purejaxrl import gifs, runs
from purejaxrl.envs import scenes
from purejaxrl.progress import Progress
from purejaxrl.report.data import Run
from purejaxrl.report.numbers import number
from purejaxrl.report.pages import Film
from purejaxrl.types import SettingError

FRAMES = 150  # of a longer episode every n-th step is shown
LARGEST = 1_000_000  # bytes of one animation


def of(run: Run, progress: Progress) -> Iterator[Film]:
    """The films of a run; none where its environment has no picture, or it has no checkpoint or no result.

    Raises:
      CheckpointError: where none of its checkpoints can be used.
    """
    if not runs.checkpoints(run.folder) or not np.isfinite(run.final).any():
        return
    with contextlib.suppress(SettingError):  # of an environment without a picture
        scenes.painter(run.parts.env)
        reached = runs.restore(run.folder, say=progress.say)
        for name, lane in _chosen(run.final):
            seed = run.config.seed_numbers[lane]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "episode.gif"
                with progress.phase(f"{run.label}: an episode of the {name}"):
                    gained = gifs.record(reached, path, Progress(quiet=True), policy=seed, num_frames=FRAMES)
                content = path.read_bytes()
            if len(content) > LARGEST:
                progress.say(f"left out: {len(content) / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}")
                continue
            caption = f"{name}, seed {seed}: this episode returned {number(gained)}, training ended with "
            yield Film(run.label, caption + number(run.final[lane]), _text(content), _text(_first(content)))


def _chosen(final: np.ndarray) -> list[tuple[str, int]]:
    """The best lane, and the one that as many are better as worse than."""
    order = [lane for lane in np.argsort(final, kind="stable") if np.isfinite(final[lane])]
    best, median = int(order[-1]), int(order[(len(order) - 1) // 2])
    return [("best seed", best)] + ([("median seed", median)] if median != best else [])


def _first(animation: bytes) -> bytes:
    """The first frame as PNG."""
    found = io.BytesIO()
    Image.open(io.BytesIO(animation)).convert("RGB").save(found, format="PNG", optimize=True)
    return found.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
