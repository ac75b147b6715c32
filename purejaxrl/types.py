"""What every part of the library agrees on: the transition, the spec, the protocols, and how settings are declared.

A component (learner, bonus, resets) is a frozen dataclass of settings, registered as a pytree by
``flax.struct.PyTreeNode``. Its numbers, declared with :func:`number`, are leaves: they can be traced, vmapped and
differ from lane to lane without compiling again. What shapes the program is declared with :func:`static`. Components
hold no state: their methods are pure functions of the state that is passed in.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

Array = jax.Array
PyTree = Any
Metrics = Mapping[str, Array]
StartFn = Callable[[Array], tuple[PyTree, PyTree]]
RewardFn = Callable[["Transition", PyTree], Array]

NORMALISERS = ("none", "std", "return_std")  # what a bonus is divided by: nothing, its std, the std of its return
LARGEST_INT = 2**31 - 1  # sizes and counters are int32
MOST_SHOWN = 80  # characters of a value in a message


class SettingError(ValueError):
    """A setting is wrong; the message names the field and what would be right. Raised before anything compiles."""


_NONE: Any = None


def is_key(leaf: Any) -> bool:
    """Whether the leaf holds typed random keys."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_numpy(leaf: Any) -> np.ndarray:
    """The leaf on the host, of typed keys their data."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


class Transition(struct.PyTreeNode):
    """One environment step; stacked over a rollout, every leaf has the leading axes ``[num_steps, num_envs]``.

    What a run does not use is ``None`` and costs nothing.
    """

    obs: PyTree = _NONE  # observation acted on
    action: Array = _NONE  # as the policy chose it; the loop clips it to a Box's bounds before stepping
    reward: Array = _NONE  # float32, the environment's own
    bonus: Array | None = _NONE  # float32, weighed; None without a bonus, during warm-up and in `observe`
    terminated: Array = _NONE  # bool, the episode ended by its own rules: no bootstrap. Wins where both flags are true
    truncated: Array = _NONE  # bool, a time limit ended it: bootstrap from next_obs
    next_obs: PyTree = _NONE  # observation before auto-reset
    first: Array = _NONE  # bool, obs is the first of its episode
    mask: Array | None = _NONE  # bool [..., num_actions], actions allowed at obs
    next_mask: Array | None = _NONE  # the same at next_obs
    cell: Array | None = _NONE  # int32, id of the discretised true state behind next_obs
    memo: PyTree = _NONE  # what Bonus.observe returned for this step
    extras: PyTree = _NONE  # what Learner.act returned for this step


class OneHot(struct.PyTreeNode):
    """A one-hot vector by the place of its one: networks look a row up where they would multiply by zeros.

    Observations of thousands of states (DeepSea's N² cells) then cost what one number costs, in a replay too.
    """

    index: Array  # int32 [...]
    size: int = struct.field(pytree_node=False)  # the length of each vector

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the vectors, as `ndim` and `dtype` are."""
        return (*self.index.shape, self.size)

    @property
    def ndim(self) -> int:
        return self.index.ndim + 1

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def vector(self) -> Array:
        """The vectors themselves, float32 ``[..., size]``."""
        return jax.nn.one_hot(self.index, self.size)


def is_one_hot(leaf: Any) -> bool:
    """For ``jax.tree`` functions: a :class:`OneHot` is one leaf."""
    return isinstance(leaf, OneHot)


def map_numbers(function: Callable[..., Any], *trees: PyTree) -> PyTree:
    """``jax.tree.map``, but that a :class:`OneHot` of the last tree, which has no scale, is returned as it is."""

    def leaf(*leaves):
        return leaves[-1] if is_one_hot(leaves[-1]) else function(*leaves)

    return jax.tree.map(leaf, *trees, is_leaf=is_one_hot)


class Featured(NamedTuple):
    """An observation with a bonus's features beside it, as the learner sees it when ``Bonus.features`` exists."""

    obs: PyTree
    features: Array  # float32 [..., num_features]


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a component needs to know to build its state. Not a pytree: everything here is static."""

    observation_space: Any  # a gymnax space
    action_space: Any
    num_envs: int
    num_steps: int  # per env between updates
    num_updates: int  # of the whole run
    warmup_steps: int = 0  # over all envs, before the first update
    has_bonus: bool = False
    num_features: int = 0  # appended to observations by Bonus.features; the learner then sees `Featured`
    observation: PyTree = None  # shapes and dtypes that the env really emits, where they differ from what it declares
    transition: Any = None  # Transition of shapes and dtypes of one env's step as a rollout records it, for replay

    def example_obs(self) -> PyTree:
        """Zeros shaped like one observation (no leading axis), with features beside it when the spec has them."""
        if self.observation is not None:
            obs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self.observation)
        else:
            obs = _zeros(self.observation_space)
        return Featured(obs, jnp.zeros(self.num_features)) if self.num_features else obs


def _zeros(space: Any) -> PyTree:
    if hasattr(space, "spaces"):  # gymnax's Tuple and Dict
        children = space.spaces
        if isinstance(children, Mapping):
            return {name: _zeros(child) for name, child in children.items()}
        return tuple(_zeros(child) for child in children)
    return jnp.zeros(space.shape, space.dtype)


class Learner(Protocol):
    """Acts and learns. ``E`` below is ``spec.num_envs``; every argument of `act` has the leading axis ``[E]``.

    May also define ``check(spec)``, which raises :class:`SettingError` when settings and environment do not fit.
    """

    num_steps: int  # static; steps per env between updates

    def init(self, key: Array, spec: Spec) -> PyTree:
        """Return the learner's state: parameters, optimiser, running statistics, replay."""
        ...

    def init_actor(self, key: Array, spec: Spec) -> PyTree:
        """Return what belongs to single envs, leaves ``[E, ...]``: recurrent carry, ensemble member, repeats left."""
        ...

    def act(
        self, state: PyTree, actor: PyTree, key: Array, obs: PyTree, first: Array, mask: Array | None, *, greedy=False
    ) -> tuple[PyTree, Array, PyTree]:
        """Return the next actor, the actions ``[E, ...]`` and extras to keep in the transition."""
        ...

    def update(
        self, state: PyTree, key: Array, batch: Transition, actor0: PyTree, reward_fn: RewardFn
    ) -> tuple[PyTree, Metrics]:
        """Learn from ``[num_steps, num_envs]`` transitions; `actor0` is the actor at the rollout's start.

        ``reward_fn(transition, memo)`` gives the bonus of any transitions under the current bonus state.
        """
        ...


class Bonus(Protocol):
    """An exploration bonus. The loop applies `normalise`, `coef` and `decay`; the methods below know none of them.

    ``purejaxrl.intrinsic.Weighted`` has these settings, and the operators that combine bonuses. May also define
    ``features(state, obs)``, per-env features ``[E, F]`` appended to what the learner sees, and ``check(spec)`` as for
    learners.
    """

    coef: float  # traced; 1 where there is no such field
    normalise: str  # static: "none" (also where there is no such field), "std" or "return_std"
    warmup_steps: int  # static; random env steps (over all envs) before training, counted in env_steps; or no field: 0

    def init(self, key: Array, spec: Spec) -> PyTree:
        """Return the bonus's state: networks, statistics, counts, episodic memory ``[num_envs, ...]``."""
        ...

    def observe(self, state: PyTree, transition: Transition) -> tuple[PyTree, PyTree]:
        """At each step, with leading axis ``[num_envs]``: return the state and a memo of what depends on the episode.

        Reset a done env's memory here, after this step's memo: the next transition opens a new episode. Warm-up steps
        are observed too; their last one is marked as truncated, since training starts on fresh episodes.
        """
        ...

    def reward(self, state: PyTree, transition: Transition, memo: PyTree) -> Array:
        """Return raw bonuses for any leading axes; pure, with the parameters from before the update."""
        ...

    def update(self, state: PyTree, key: Array, batch: Transition) -> tuple[PyTree, Metrics]:
        """Learn from ``[num_steps, num_envs]`` transitions; ``batch.bonus is None`` marks the warm-up's batch."""
        ...


class Resets(Protocol):
    """Where episodes start: afresh, from a pool, or from an archive. May also define ``check(spec)``.

    ``start(key)`` begins one episode as the environment does: ``(obs, env_state)``.
    """

    def init(self, key: Array, spec: Spec, start: StartFn) -> PyTree: ...

    def observe(self, state: PyTree, env_state: PyTree, transition: Transition) -> PyTree:
        """See every step, leading axis ``[num_envs]``; `env_state` is the state before auto-reset."""
        ...

    def reset(
        self, state: PyTree, key: Array, done: Array, start: StartFn, current: tuple[PyTree, PyTree]
    ) -> tuple[PyTree, tuple[PyTree, PyTree]]:
        """Return the state, and `current` with every env that is `done` where its next episode begins.

        Called at every step, with `done` bool ``[num_envs]`` and `current` what the step led to, ``(obs, env_state)``,
        leaves ``[num_envs, ...]``.
        """
        ...


# --- settings -------------------------------------------------------------------------------------------------------


def number(default: float, *, gt=None, ge=None, lt=None, le=None, schedule: bool = False) -> Any:
    """Declare a traced setting with its bounds: a pytree leaf that may be a float, an array scalar or a tracer.

    `schedule` marks what runs over `total_steps`, so that a longer run differs from its first update on.
    """
    return struct.field(default=default, metadata={"bounds": (gt, ge, lt, le), "schedule": schedule})


def static(
    default: Any,
    *,
    gt=None,
    ge=None,
    lt=None,
    le=None,
    choices: tuple[str, ...] | None = None,
    power_of_two: bool = False,
    schedule: bool = False,
) -> Any:
    """Declare a setting that shapes the program: part of the tree's structure, a new value compiles again."""
    metadata = {"bounds": (gt, ge, lt, le), "choices": choices, "power_of_two": power_of_two, "schedule": schedule}
    return struct.field(pytree_node=False, default=default, metadata=metadata)


def schedules(component: Any) -> list[str]:
    """The settings of `component` that run over `total_steps` and are on."""
    fields = dataclasses.fields(component)
    return [field.name for field in fields if field.metadata.get("schedule") and getattr(component, field.name)]


LEARNER = ("init", "init_actor", "act", "update")
BONUS = ("init", "observe", "reward", "update")
RESETS = ("init", "observe", "reset")


def check_protocol(env: Any) -> None:
    """Raise :class:`SettingError` unless `env` has what the loop calls; :func:`purejaxrl.check_env` tries it out."""
    if isinstance(env, str):
        raise SettingError(f"env must be an environment, got an id: use env, env_params = purejaxrl.make({env!r})")
    if isinstance(env, tuple):
        raise SettingError("env must be one environment, got a tuple: purejaxrl.make returns (env, env_params)")
    if isinstance(env, type):
        raise SettingError(f"env must be an instance: {env.__name__}(), not {env.__name__}")
    needed = ("step_env", "reset_env", "is_truncated", "action_space", "observation_space")
    missing = [name for name in needed if not hasattr(env, name)]
    if missing:
        raise SettingError(f"env must be a gymnax environment; {type(env).__name__} has no {', '.join(missing)}")


def check_component(component: Any, name: str, methods: tuple[str, ...]) -> None:
    """Raise :class:`SettingError` unless `component` has these methods, and its settings are within their bounds."""
    if isinstance(component, type):
        raise SettingError(f"{name} must be an instance: {component.__name__}(), not {component.__name__}")
    missing = [method for method in methods if not callable(getattr(component, method, None))]
    if missing:
        kind = type(component).__name__
        raise SettingError(f"{name}: {kind} has no {', '.join(missing)} (see purejaxrl.types), got {shown(component)}")
    if dataclasses.is_dataclass(component):
        check_settings(component, name)


def check_settings(component: Any, name: str) -> None:
    """Raise :class:`SettingError` where a field of `component` breaks the bounds it was declared with.

    Only concrete values are looked at: a traced number passes. `name` prefixes the field in the message.
    """
    for field in dataclasses.fields(component):
        meta, value, label = field.metadata, getattr(component, field.name), f"{name}.{field.name}"
        if meta.get("choices"):
            check_choice(value, meta["choices"], label)
        elif "bounds" in meta:
            kind = "number" if meta["pytree_node"] else str(getattr(field.type, "__name__", field.type))
            _, ge, _, le = meta["bounds"]
            if kind == "bool":
                check_bool(value, label)
            elif kind == "int":
                check_int(value, label, ge=ge, le=LARGEST_INT if le is None else le)
                if meta.get("power_of_two") and value & (value - 1):
                    raise SettingError(f"{label} must be a power of two, got {value}")
            elif kind in ("number", "float"):
                if kind == "float" and isinstance(value, (jax.Array, np.ndarray)):  # a tracer, too
                    raise SettingError(f"{label} must be a Python number (it shapes the program), got {shown(value)}")
                check_number(value, label, *meta["bounds"])
            elif kind.startswith("tuple") and not _are_sizes(value):
                raise SettingError(f"{label} must be a tuple of positive layer sizes, got {shown(value)}")


def _are_sizes(value: Any) -> bool:
    sizes = isinstance(value, tuple) and all(_is_int(size) and 0 < size <= LARGEST_INT for size in value)
    return sizes and len(value) > 0


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a program can take it as an argument: a number, a truth value, or an array."""
    return hasattr(value, "dtype") or isinstance(value, (bool, int, float, complex))


def is_real(value: Any) -> bool:
    """Whether it is a real number, or an array of them: Python's, NumPy's or JAX's, and no truth value."""
    if hasattr(value, "dtype"):
        return jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_like(value: Any, default: Any, label: str, *, ge: int | None = None) -> None:
    """Raise :class:`SettingError` unless `value` is what its default is: a truth value, an integer, a number, a word.

    `ge` is a bound of integers. Defaults of other kinds say nothing.
    """
    if isinstance(default, bool):
        check_bool(value, label)
    elif isinstance(default, int):
        check_int(value, label, ge=ge)
    elif isinstance(default, float):
        check_number(value, label)
    elif isinstance(default, str) and not isinstance(value, str):
        raise SettingError(f"{label} must be a word like {default!r}, got {shown(value)}")


def check_bool(value: Any, label: str) -> None:
    """Raise :class:`SettingError` unless `value` is True or False."""
    if not isinstance(value, bool):
        raise SettingError(f"{label} must be True or False, got {shown(value)}")


def check_number(value: Any, label: str, gt=None, ge=None, lt=None, le=None) -> None:
    """Raise :class:`SettingError` unless `value` is a tracer or one finite number within the bounds.

    In float32 as well, which it becomes: there 1e-50 is 0, 1 - 1e-9 is 1 and 1e39 is infinite.
    """
    if isinstance(value, Tracer):
        return
    if not is_real(value):
        raise SettingError(f"{label} must be a number, got {shown(value)}")
    if np.ndim(value):
        raise SettingError(
            f"{label} must be one number, got shape {np.shape(value)}; jax.vmap over several values instead"
        )
    try:
        exact = float(value)
    except OverflowError:  # of an integer
        exact = math.inf
    limits = [(gt, ">", operator.gt), (ge, ">=", operator.ge), (lt, "<", operator.lt), (le, "<=", operator.le)]
    limits = [limit for limit in limits if limit[0] is not None]
    dtype = np.dtype(jnp.result_type(float))
    for kind in (np.dtype(float), dtype):
        with np.errstate(over="ignore"):
            found, *bounds = np.asarray([exact, *(bound for bound, *_ in limits)], kind)
        fits = all(holds(found, bound) for bound, (*_, holds) in zip(bounds, limits, strict=True))
        if not (np.isfinite(found) and fits):
            wanted = "".join(f" and {sign} {bound:g}" for bound, sign, _ in limits)
            rounded = "" if kind.itemsize == 8 else f", which is {found:g} in {dtype}"
            raise SettingError(f"{label} must be finite{wanted}, got {shown(_plain(value))}{rounded}")


def check_int(value: Any, label: str, *, ge: int | None = None, le: int | None = LARGEST_INT) -> None:
    """Raise :class:`SettingError` unless `value` is a Python (or NumPy) integer within the bounds."""
    if not _is_int(value):
        hint = " (it shapes the program, so it cannot be traced)" if isinstance(value, Tracer) else ""
        raise SettingError(f"{label} must be an integer{hint}, got {shown(value)}")
    if ge is not None and value < ge:
        raise SettingError(f"{label} must be >= {ge}, got {shown(_plain(value))}")
    if le is not None and value > le:
        raise SettingError(f"{label} must be <= {le}, got {shown(_plain(value))}")


def check_odd(value: Any, label: str, *, ge: int, le: int | None = LARGEST_INT) -> None:
    """Raise :class:`SettingError` unless `value` is an odd integer within the bounds."""
    check_int(value, label, ge=ge, le=le)
    if value % 2 == 0:
        raise SettingError(f"{label} must be odd, got {value}")


def check_key(key: Any, label: str = "key") -> None:
    """Raise :class:`SettingError` unless `key` is one of JAX's random keys, or a tracer of one."""
    shape = getattr(key, "shape", None)
    raw = getattr(key, "dtype", None) == np.uint32 and shape is not None and len(shape) == 1
    if not (raw or (is_key(key) and shape == ())):
        found = shown(key) if shape is None else f"an array of {key.dtype} and shape {shape}"
        raise SettingError(f"{label} must be one key, such as jax.random.key(0), got {found}; jax.vmap over several")


def check_path(value: Any, label: str) -> Path:
    """The path, or :class:`SettingError` where no file can have it."""
    if not isinstance(value, (str, os.PathLike)):
        raise SettingError(f"{label} must be a path, got {shown(value)}")
    path = Path(value)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # too long, a NUL, a folder that is closed to us
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise SettingError(f"{label}: {shown(str(value))} is no path that can be used: {reason}") from None
    return path


def check_new_path(value: Any, label: str) -> Path:
    """The path, or :class:`SettingError` where nothing can be made there: below a file, or where we may not write."""
    path = check_path(value, label)
    above = next(place for place in ([path] if path.is_dir() else path.absolute().parents) if place.exists())
    if not above.is_dir():
        raise SettingError(f"{label}: {path} cannot be made: {above} is no folder")
    if not os.access(above, os.W_OK):
        raise SettingError(f"{label}: {path} cannot be made: {above} cannot be written")
    return path


def check_minibatches(value: int, label: str, spec: Spec, *, whole_envs: bool = False) -> None:
    """Raise :class:`SettingError` where there are more minibatches than samples in a batch, or than whole envs."""
    samples = spec.num_envs * (1 if whole_envs else spec.num_steps)
    if value > samples:
        wanted = "num_envs (a memory learns from whole envs)" if whole_envs else "num_envs * num_steps"
        raise SettingError(f"{label} must be at most {wanted} = {samples}, got {value}")


def check_less(low: Any, high: Any, low_label: str, high_label: str) -> None:
    """Raise :class:`SettingError` unless ``low < high``; a tracer passes."""
    if not (isinstance(low, Tracer) or isinstance(high, Tracer)) and not low < high:
        raise SettingError(f"{low_label} must be below {high_label}, got {low} and {high}")


def check_action_space(spec: Spec, learner: str, **kinds: str) -> None:
    """Raise :class:`SettingError` unless the action space is of a kind the learner knows.

    `kinds` maps the attribute that tells a kind (`n`, `nvec`, `low`) to its name.
    """
    if not any(hasattr(spec.action_space, attribute) for attribute in kinds):
        *others, last = kinds.values()
        wanted = f"{', '.join(others)} or {last}" if others else last
        found = type(spec.action_space).__name__
        raise SettingError(f"algo: {learner} acts in {wanted} spaces, the environment's is {found}; choose another")


def check_choice(value: Any, choices: Iterable[str], label: str) -> None:
    """Raise :class:`SettingError` unless `value` is one of `choices`; the message offers the nearest."""
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return
    if near := nearest(value[:MOST_SHOWN] if isinstance(value, str) else shown(value), choices):
        hint = f"did you mean {' or '.join(near)}?"
    elif choices:
        more = f" and {len(choices) - 12} more" if len(choices) > 12 else ""
        hint = f"choose from {', '.join(choices[:12])}{more}"
    else:
        hint = "there are none"
    raise SettingError(f"{label}: unknown value {shown(value)}; {hint}")


def shown(value: Any) -> str:
    """A value in a message: in one line, and cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an integer of more digits than Python writes
        text = f"{type(value).__name__} that is too long to show"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 4]} ..."


def _plain(value: Any) -> Any:
    """A number of NumPy's or JAX's as Python's."""
    return value.item() if hasattr(value, "item") else value


def are_initials(word: str, name: str) -> bool:
    """Whether the word abbreviates the name, of two parts at least: ``lr`` for ``learning_rate``."""
    return "_" in name and word == "".join(part[:1] for part in name.split("_"))


def nearest(word: str, words: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `words` that `word` are the initials of or looks like, best first, whatever the case."""
    lowered = {candidate.lower(): candidate for candidate in words}
    found = [name for name in lowered if are_initials(word.lower(), name)] or difflib.get_close_matches(
        word.lower(), lowered, n=count, cutoff=0.5
    )
    found += [name for name in lowered if word and name.startswith(word.lower()) and name not in found]
    return [lowered[name] for name in found[:count]]
