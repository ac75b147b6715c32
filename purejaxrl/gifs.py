"""An episode of a trained policy as an animated GIF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from purejaxrl import evaluation, files, runs
from purejaxrl.envs import drawing, scenes
from purejaxrl.progress import Progress
from purejaxrl.runs import Reached
from purejaxrl.types import SettingError, check_new_path

FRAMES = 500  # of a longer episode every n-th step is shown
SECONDS = 10  # what a GIF takes where 5 to 50 frames a second allow it
COLOURS = 128


def check(folder: Path, out: Path) -> None:
    """See that :func:`record` could write `out`, before anything is played.

    Raises:
      SettingError: for another format, and where the run's environment has no picture.
    """
    if out.suffix.lower() != ".gif":
        raise SettingError(f"gif: {out} must end in .gif, the only format there is")
    if out.is_dir():
        raise SettingError(f"gif: {out} is a folder; name a file in it")
    check_new_path(out, "gif")
    scenes.painter(runs.build(runs.read_config(folder)).env)


def record(
    reached: Reached,
    out: Path,
    progress: Progress,
    *,
    policy: int,
    seed: int = 0,
    greedy: bool = True,
    num_frames: int = FRAMES,
) -> float:
    """Play one fresh episode with a run's policy and write it to `out`, which is replaced if it is there.

    Args:
      reached: the run's checkpoint, from :func:`purejaxrl.runs.restore`.
      policy: the training seed whose policy plays.
      seed: the episode's own.
      greedy: the mode of the policy, or samples from it.
      num_frames: of a longer episode every n-th step is shown.

    Returns:
      The episode's return.

    Raises:
      SettingError: where the run's environment has no picture.
    """
    train, paint = reached.train, scenes.painter(reached.train.env)
    lane = reached.config.seed_numbers.index(policy)

    @jax.jit
    def play(state: Any, lane: int, key: jax.Array) -> evaluation.Film:  # one program for all policies of a run
        state = jax.tree.map(lambda leaf: leaf[lane], state)
        settings = {"env_params": train.env_params, "greedy": greedy, "bonus": train.bonus}
        return evaluation.film(train.env, train.learner, state, key, num_frames, **settings)

    with progress.phase("playing an episode"):
        film = jax.device_get(play(reached.state, lane, jax.random.key(seed)))
    steps, kept = np.unique(film.step, return_index=True)

    def frame(index: int) -> np.ndarray:
        picture = paint(jax.tree.map(lambda leaf: leaf[index], film.env_state), train.env_params)
        caption = f"{reached.config.env}   step {film.step[index]}   return {film.episode_return[index]:.4g}"
        return drawing.captioned(picture, caption)

    with progress.phase(f"drawing {len(kept)} frames"):
        frames = [frame(index) for index in kept]
        out.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(out) as temporary:
            write(temporary, frames)
    progress.say(
        f"{out}: seed {policy}, return {film.episode_return[-1]:.4g} in {steps[-1]} steps, {len(frames)} frames"
    )
    return float(film.episode_return[-1])


def write(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Write pictures, uint8 ``[H, W, 3]`` each, as a GIF that goes on for ever; the last one stays for a second."""
    each = round(100 / np.clip(len(frames) / SECONDS, 5, 50)) * 10  # ms; the format counts hundredths of a second
    palette = _palette(frames)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [each] * (len(frames) - 1) + [1000]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


def _palette(frames: Sequence[np.ndarray]) -> Image.Image:
    """An image of the most frequent colours of all frames together, by every fourth pixel.

    One palette for all, so that what stands still also stays equal; exact ones, for few colours fill most of a picture.
    """
    pixels = np.concatenate([frame[::4, ::4].reshape(-1, 3) for frame in frames]).astype(np.int32)
    codes, counts = np.unique(pixels @ [65536, 256, 1], return_counts=True)
    codes = codes[np.argsort(-counts)[:COLOURS]]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1).astype(np.uint8).tobytes())
    return palette
