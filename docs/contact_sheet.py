"""Write docs/images/environments.png and minigrid.png: environments in the middle of a random episode.

Example: python docs/contact_sheet.py
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from purejaxrl import envs, stepping
from purejaxrl.envs import drawing, scenes
from purejaxrl.types import SettingError

STEPS, WIDTH, MARGIN = 25, 1210, 10
LEVELS = ("DoorKey-8x8", "MultiRoom-N6", "KeyCorridorS4R3", "FourRooms", "ObstructedMaze-2Dlhb", "LavaCrossingS9N2")
LEVELS += ("Fetch-8x8-N3", "MemoryS13", "UnlockPickup", "PutNear-8x8-N3", "Dynamic-Obstacles-8x8", "RedBlueDoors-8x8")


def middle(env, params, key):
    """The state after 25 random steps, or the last one before the episode ended."""

    def step(state, key):
        action = stepping.random_action(env, params, key, stepping.action_mask(env, params, state))
        _, after, _, terminated, truncated = stepping.step(env, params, key, state, action)
        return jax.tree.map(lambda old, new: jnp.where(terminated | truncated, old, new), state, after), None

    _, start = stepping.reset(env, params, key)
    return jax.lax.scan(step, start, jax.random.split(key, STEPS))[0]


def tile(env_id, size):
    """The labelled picture, uint8 ``[H, size, 3]``, or None where there is none."""
    try:
        env, params = envs.make(env_id)
        paint = scenes.painter(env)
    except SettingError:
        return None
    state = jax.jit(lambda key: middle(env, params, key))(jax.random.key(1))
    picture = Image.fromarray(paint(jax.device_get(state), params))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), drawing.PAPER)
    square.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return drawing.captioned(np.asarray(square), env_id.removeprefix("MiniGrid-"), size=11)


def sheet(tiles, columns):
    """The tiles row by row with a margin around each, uint8 ``[H, W, 3]``."""
    blank = np.full_like(tiles[0], 255)
    tiles = [*tiles, *[blank] * (-len(tiles) % columns)]
    spaced = [np.pad(each, ((MARGIN, 0), (MARGIN, 0), (0, 0)), constant_values=255) for each in tiles]
    rows = [np.concatenate(spaced[i : i + columns], 1) for i in range(0, len(spaced), columns)]
    return np.pad(np.concatenate(rows), ((0, MARGIN), (0, MARGIN), (0, 0)), constant_values=255)


def write(name, env_ids, columns):
    """Draw those of the environments that have a picture into docs/images."""
    out, size = Path(__file__).parent / "images" / f"{name}.png", (WIDTH - MARGIN) // columns - MARGIN
    tiles = [found for env_id in env_ids if (found := tile(env_id, size)) is not None]
    image = Image.fromarray(sheet(tiles, columns))
    image.save(out, optimize=True)
    print(f"{out}: {image.width} x {image.height}, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)  # much is compiled, and little computed
    write("minigrid", [f"MiniGrid-{level}-v0" for level in LEVELS], columns=4)
    write("environments", [each for each in sorted(envs.ids(), key=str.lower) if not each.startswith("MiniGrid-")], 6)
