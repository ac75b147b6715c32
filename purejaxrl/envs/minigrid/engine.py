"""MiniGrid's world (Chevalier-Boisvert et al. 2023, arXiv:2306.13831) in JAX, by the rules of the `minigrid` package.

**A family** is a small file: a class on :class:`MiniGrid` that calls its constructor with the grid's size and step
limit, and defines `generate(key) -> State`, a level. What else differs has a hook: `transition` (how the world
moves) and `outcome` (what pays and what ends). A line per id in this package's `__init__` registers it.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from purejaxrl.envs.maps import Cells
from purejaxrl.envs.minigrid import drawing, objects, picture, tiles
from purejaxrl.types import Array, check_bool, check_choice, check_int, check_odd

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
EAST, SOUTH, WEST, NORTH = range(4)


class State(struct.PyTreeNode):
    """One level as it stands. Cells are uint16 as in `objects`."""

    grid: Array  # uint16 [height, width]
    y: Array  # int32, the agent's row
    x: Array  # int32, its column
    direction: Array  # int32: east, south, west, north
    carrying: Array  # uint16, objects.EMPTY for nothing
    time: Array  # int32, steps so far
    mission: Array | None = None  # uint16 [k], the objects that the mission names
    places: Array | None = None  # int32 [n, 2], rows and columns that a family's rules ask for


@struct.dataclass
class EnvParams(environment.EnvParams):
    max_steps_in_episode: int = 100


def start(
    grid: Any, y: Any, x: Any, direction: Any, *, mission: tuple[Any, ...] = (), places: tuple[Any, ...] = ()
) -> State:
    """The state at a level's beginning; `places` are pairs of row and column."""
    return State(
        grid=jnp.asarray(grid, jnp.uint16),
        y=jnp.asarray(y, jnp.int32),
        x=jnp.asarray(x, jnp.int32),
        direction=jnp.asarray(direction, jnp.int32),
        carrying=jnp.asarray(objects.EMPTY, jnp.uint16),
        time=jnp.zeros((), jnp.int32),
        mission=jnp.array(mission, jnp.uint16) if mission else None,
        places=jnp.array(places, jnp.int32) if places else None,
    )


def heading(direction: Array) -> tuple[Array, Array]:
    """The step forward, as change of row and of column."""
    dy = (direction == SOUTH).astype(jnp.int32) - (direction == NORTH)
    dx = (direction == EAST).astype(jnp.int32) - (direction == WEST)
    return dy, dx


def front(state: State) -> tuple[Array, Array]:
    """Row and column of the cell before the agent."""
    dy, dx = heading(state.direction)
    return state.y + dy, state.x + dx


def front_cell(state: State) -> Array:
    return drawing.get(state.grid, *front(state))


def act(state: State, action: Array) -> State:
    """One action of the agent: MiniGrid's own rules, which every family shares. The clock moves too."""
    y, x = front(state)
    cell = drawing.get(state.grid, y, x)
    free_hand = state.carrying == objects.EMPTY
    walks = (action == FORWARD) & objects.can_overlap(cell)
    takes = (action == PICKUP) & objects.can_pick_up(cell) & free_hand
    drops = (action == DROP) & (cell == objects.EMPTY) & ~free_hand
    empty = jnp.uint16(objects.EMPTY)
    changed = jnp.where(action == TOGGLE, objects.toggled(cell, state.carrying), cell)
    changed = jnp.where(takes, empty, jnp.where(drops, state.carrying, changed))
    turn = (action == RIGHT).astype(jnp.int32) - (action == LEFT)
    return state.replace(
        grid=drawing.put(state.grid, y, x, changed),
        y=jnp.where(walks, y, state.y),
        x=jnp.where(walks, x, state.x),
        direction=(state.direction + turn) & 3,
        carrying=jnp.where(takes, cell, jnp.where(drops, empty, state.carrying)),
        time=state.time + 1,
    )


def seen_from(y: Any, x: Any, direction: Any, size: int) -> tuple[Any, Any]:
    """Row and column, ``[size, size]`` each, of the cells of a view by its column and row; some lie outside."""
    ahead, right = size - 1 - np.arange(size), np.arange(size)[:, None] - size // 2
    dy, dx = heading(direction)
    return y + ahead * dy + right * dx, x + ahead * dx - right * dy


def view(state: State, size: int, see_through_walls: bool = False) -> Array:
    """What the agent sees, as cells ``[size, size]`` by column and row of its view; 0 is what it does not see.

    It looks up from the middle of the last row, where what it carries is shown.
    """
    ahead, right = size - 1 - np.arange(size), np.arange(size)[:, None] - size // 2
    y, x = seen_from(state.y, state.x, state.direction, size)
    height, width = state.grid.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    cells = drawing.get(state.grid, jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1))
    cells = jnp.where(inside, cells, jnp.uint16(objects.WALL))
    if not see_through_walls:
        cells = jnp.where(visible(objects.transparent(cells)), cells, jnp.uint16(objects.UNSEEN))
    return jnp.where((ahead == 0) & (right == 0), state.carrying, cells)


def seen(state: State, size: int, see_through_walls: bool = False) -> Array:
    """Which cells of the grid the agent sees, bool ``[height, width]``.

    A scatter of the view, where for each cell of the grid to look it up would be a gather: XLA's CPU backend fuses that
    with what :func:`view` computes, and takes minutes to compile pictures made of it.
    """
    height, width = state.grid.shape
    y, x = seen_from(state.y, state.x, state.direction, size)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    shown = view(state, size, see_through_walls) != objects.UNSEEN
    place = jnp.where(inside, y * width + x, height * width)  # beyond the grid: dropped
    return jnp.zeros(height * width, bool).at[place].set(shown, mode="drop").reshape(height, width)


def visible(transparent: Array) -> Array:
    """Which cells of a view light reaches, bool ``[size, size]`` by column and row, as `Grid.process_vis` has it.

    Row by row from the agent's: light runs to the right through transparent cells, then to the left; each cell that it
    leaves lights its neighbour on that side and, in the row above, that neighbour's and its own column. The last column
    is never left to the right, nor the first to the left. A row is the bits of one number here, and several rows
    share a number in the result: on a CPU a stack of single rows would compute each of them anew.
    """
    size = transparent.shape[0]
    bits = np.arange(size, dtype=np.int32)
    rows = jnp.sum(transparent.astype(jnp.int32) << bits[:, None], 0)
    every = (1 << size) - 1
    lit, words, per_word = jnp.int32(1 << size // 2), [], 31 // size
    for row in range(size):  # from the agent's row upwards
        through = rows[size - 1 - row]
        to_right = _spread(lit, through & every >> 1, jnp.left_shift)
        lit = lit | to_right << 1
        to_left = _spread(lit, through & every - 1, jnp.right_shift)
        lit = lit | to_left >> 1
        if row % per_word == 0:
            words.append(lit)
        else:
            words[-1] = words[-1] | lit << size * (row % per_word)
        lit = to_right | to_right << 1 | to_left | to_left >> 1
    row = size - 1 - bits
    word = jnp.broadcast_to(words[0], (size,))
    for index in range(1, len(words)):
        word = jnp.where(row // per_word == index, words[index], word)
    return (word >> size * (row % per_word) + bits[:, None] & 1).astype(bool)


def _spread(lit: Array, through: Array, shift: Any) -> Array:
    """The bits of `through` that light starts from or runs into, along runs of such bits; doubling its reach."""
    reached, distance = lit & through, 1
    while distance < 31:
        reached = reached | shift(reached, distance) & through
        through = through & shift(through, distance)
        distance *= 2
    return reached


def symbolic(cells: Array) -> Array:
    """MiniGrid's own image: kind, colour and door state of each cell, uint8 ``[..., 3]``."""
    shifts, masks = (np.array(numbers, np.uint16) for numbers in (objects.SHIFTS, objects.MASKS))
    return (cells[..., None] >> shifts & masks).astype(jnp.uint8)


def one_hot(cells: Array) -> Array:
    """Kind, colour and door state as planes of zeros and ones, uint8 ``[..., 20]``."""
    sizes = (objects.NUM_KINDS, objects.NUM_COLOURS, objects.NUM_STATES)
    owner = np.repeat(np.arange(3), sizes)
    value = np.concatenate([np.arange(size) for size in sizes])
    shifts, masks = (np.array(numbers, np.uint16)[owner] for numbers in (objects.SHIFTS, objects.MASKS))
    return ((cells[..., None] >> shifts & masks) == value).astype(jnp.uint8)


# How a view is shown as planes: the function and the highest value of each channel.
PLANES = {
    "symbolic": (symbolic, (objects.NUM_KINDS - 1, objects.NUM_COLOURS - 1, objects.NUM_STATES - 1)),
    "one_hot": (one_hot, (1,) * (objects.NUM_KINDS + objects.NUM_COLOURS + objects.NUM_STATES)),
}
OBSERVATIONS = (*PLANES, "rgb", "rgb_grid")


class MiniGrid(environment.Environment):
    """The base of every family.

    The observation is an image, uint8. By `observation`:

    * ``"symbolic"``: MiniGrid's own, the agent's view by column and row, ``[view_size, view_size, 3]``;
    * ``"one_hot"``: the same as planes, ``[view_size, view_size, 20]``;
    * ``"rgb"``: the pixels of its RGBImgPartialObsWrapper, the view by row and column in tiles of `tile_size` pixels,
      ``[view_size * tile_size, view_size * tile_size, 3]``;
    * ``"rgb_grid"``: those of its RGBImgObsWrapper, the whole level from above, the agent's view highlighted,
      ``[height * tile_size, width * tile_size, 3]``.

    With `direction`, or where the mission is shown, it is a tuple ``(image, vector)``: the vector, float32, holds the
    direction one-hot ``[4]``, then kind and colour of each object that the mission names, one-hot ``[17]`` each.
    `mission` None shows it where the task cannot be solved without.

    Actions beyond MiniGrid's seven are clipped to them; :class:`~purejaxrl.envs.CheckActions` reports those outside the
    space.

    Raises:
      SettingError: where `view_size` is no odd integer from 3 to 15, `tile_size` none from 1 to 64, or `observation` is
        unknown.
    """

    needs_mission = False  # whether tasks of one family differ by what the mission names alone
    num_named = 0  # objects that the mission names
    see_through_walls = False

    def __init__(
        self,
        height: int,
        width: int,
        max_steps: int,
        *,
        view_size: int = 7,
        direction: bool = False,
        mission: bool | None = None,
        observation: str = "symbolic",
        tile_size: int = 8,
    ):
        super().__init__()
        check_odd(view_size, "env.view_size", ge=3, le=15)
        if mission is not None:
            check_bool(mission, "env.mission")
        check_choice(observation, OBSERVATIONS, "env.observation")
        check_int(tile_size, "env.tile_size", ge=1, le=64)
        self.height, self.width, self.max_steps = height, width, max_steps
        self.view_size, self.direction = view_size, direction
        self.mission = self.needs_mission if mission is None else mission
        self.observation, self.tile_size = observation, tile_size

    def __init_subclass__(cls, **kwargs: Any):
        """Show the options above in a family's own signature, where settings are looked up."""
        super().__init_subclass__(**kwargs)
        own, options = (
            list(inspect.signature(init).parameters.values())[1:] for init in (cls.__init__, MiniGrid.__init__)
        )
        named = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
        shown = [parameter for parameter in options if parameter.kind is parameter.KEYWORD_ONLY]
        cls.__signature__ = inspect.Signature(named + (shown if len(named) < len(own) else []))

    def generate(self, key: Array) -> State:
        """A level, drawn as MiniGrid draws it."""
        raise NotImplementedError

    def transition(self, key: Array, state: State, action: Array) -> State:
        """How an action changes the world."""
        del key
        return act(state, action)

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        """Reward and natural termination of a step. `prize` is what success pays at this time."""
        ahead = jnp.where(action == FORWARD, front_cell(before), jnp.uint16(objects.EMPTY))
        wins = objects.is_kind(ahead, objects.GOAL_KIND)
        return jnp.where(wins, prize, 0.0), wins | objects.is_kind(ahead, objects.LAVA_KIND)

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=self.max_steps)

    def reset_env(self, key: Array, params: EnvParams) -> tuple[Any, State]:
        state = self.generate(key)
        return self.get_obs(state, params), state

    def step_env(self, key: Array, state: State, action: Any, params: EnvParams) -> tuple:
        action = jnp.clip(jnp.asarray(action, jnp.int32), LEFT, DONE)
        after = self.transition(key, state, action)
        prize = 1.0 - 0.9 * (after.time / params.max_steps_in_episode)
        reward, terminated = self.outcome(state, action, after, prize)
        return self.get_obs(after, params), after, reward, terminated, {}

    def get_obs(self, state: State, params: Any = None, key: Array | None = None) -> Any:
        del params, key
        image, vector = self._image(state), []
        if self.direction:
            vector.append(state.direction == np.arange(4))
        if self._shows_mission and state.mission is not None:
            kinds = objects.kind(state.mission)[:, None] == np.arange(objects.NUM_KINDS)
            colours = objects.colour(state.mission)[:, None] == np.arange(objects.NUM_COLOURS)
            vector.append(jnp.concatenate([kinds, colours], 1).reshape(-1))
        return (image, jnp.concatenate(vector).astype(jnp.float32)) if vector else image

    def _image(self, state: State) -> Array:
        if self.observation == "rgb_grid":
            lit = seen(state, self.view_size, self.see_through_walls)
            return tiles.shown(state.grid, lit, state.y, state.x, state.direction, self.tile_size)
        cells = view(state, self.view_size, self.see_through_walls)
        if self.observation == "rgb":
            cells, size = cells.T, self.view_size
            return tiles.shown(cells, cells != objects.UNSEEN, size - 1, size // 2, NORTH, self.tile_size)
        return PLANES[self.observation][0](cells)

    @property
    def _shows_mission(self) -> bool:
        return self.mission and self.num_named > 0

    @property
    def num_actions(self) -> int:
        return 7

    @property
    def name(self) -> str:
        return f"MiniGrid-{type(self).__name__}"

    def action_space(self, params: Any = None) -> spaces.Discrete:
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: Any = None) -> Any:
        planes = self.observation in PLANES
        rows, columns = (self.height, self.width) if self.observation == "rgb_grid" else (self.view_size,) * 2
        scale, high = (1, PLANES[self.observation][1]) if planes else (self.tile_size, (255,) * 3)
        shape = (rows * scale, columns * scale, len(high))
        top = jnp.broadcast_to(jnp.array(high, jnp.uint8), shape)
        image = spaces.Box(jnp.zeros_like(top), top, shape, jnp.uint8)
        size = 4 * self.direction + (objects.NUM_KINDS + objects.NUM_COLOURS) * self.num_named * self._shows_mission
        return spaces.Tuple((image, spaces.Box(0.0, 1.0, (size,), jnp.float32))) if size else image

    def render_frame(self, state: State, params: Any = None) -> np.ndarray:
        """The level from above, what the agent sees in a lighter shade: see :func:`purejaxrl.envs.render`."""
        del params
        state = jax.tree.map(jnp.asarray, state)  # films hold NumPy's arrays
        lit = np.asarray(seen(state, self.view_size, self.see_through_walls))
        return picture.draw(state.grid, int(state.y), int(state.x), int(state.direction), int(state.carrying), lit)

    def cells(self) -> Cells:
        """The agent's position, a cell of the grid each, those with walls included: levels differ."""
        layout = np.arange(self.height * self.width).reshape(self.height, self.width)
        return Cells(lambda state: state.y * self.width + state.x, layout.size, layout)
