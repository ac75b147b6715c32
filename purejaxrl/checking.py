"""Is this environment one that the loop can train on? Everything that can be found out by tracing and random play."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl import stepping
from purejaxrl.envs.maps import cells
from purejaxrl.envs.spaces import bounds, parts
from purejaxrl.envs.wrappers import UNBOUNDED
from purejaxrl.types import Array, PyTree, SettingError, check_int, check_protocol, is_one_hot, to_numpy

LARGE = 10.0  # networks learn slowly from inputs far beyond 1
LAPACK = re.compile(r"lapack_\w+")
CALLBACK = re.compile(r"custom_call @\w*callback\w*")
# Random play runs once, and compiling it takes longest. By platform: what one of them knows is an error on others.
QUICK_TO_COMPILE: dict[str, dict[str, bool | int | str]] = {
    "cpu": {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
}


class Findings(NamedTuple):
    errors: list[str]  # what breaks the loop, or makes it learn something wrong
    hints: list[str]  # what works, but may not be meant


def check_env(env: Any, env_params: PyTree = None, *, num_envs: int = 8, num_steps: int = 1000, seed: int = 0) -> None:
    """Check an environment of your own, as Gymnasium's ``check_env`` does: by tracing it, then by random play.

    What `make_train` asks of an environment before it compiles is the first of it; this takes some seconds and looks
    at everything else that the loop relies on:

    * ``reset_env`` returns two values and ``step_env`` five, of the same shapes each time, with traced parameters, too;
    * ``is_truncated`` is apart from termination; gymnax's six-value ``step`` works where it is offered;
    * observations, actions and masks are what the spaces declare; rewards are finite scalars;
    * the program is the same each time it is traced, calls neither the host nor LAPACK, and does the same under
      ``vmap`` as for single environments.

    Args:
      env: the environment, gymnax's interface.
      env_params: its parameters; None means its defaults.
      num_envs: environments that random play steps side by side.
      num_steps: of each of them. More than an episode's length is best.
      seed: of random play.

    Raises:
      SettingError: (a ValueError) listing every error, one a line, each with what to do.

    Warns:
      UserWarning: for each thing that works, but may not be meant: :func:`inspect` returns them.
    """
    errors, hints = inspect(env, env_params, num_envs=num_envs, num_steps=num_steps, seed=seed)
    for hint in hints:
        warnings.warn(f"{type(env).__name__}: {hint}", stacklevel=2)
    if errors:
        count = f"{len(errors)} error{'s' * (len(errors) > 1)}"
        raise SettingError("\n- ".join([f"{type(env).__name__} has {count}:", *errors]))


def inspect(
    env: Any, env_params: PyTree = None, *, num_envs: int = 8, num_steps: int = 1000, seed: int = 0
) -> Findings:
    """What :func:`check_env` raises and warns, as two lists.

    Raises:
      SettingError: only where `env` lacks what everything else asks for, or an argument is wrong.
    """
    check_protocol(env)
    for value, label in ((num_envs, "num_envs"), (num_steps, "num_steps")):
        check_int(value, label, ge=1)
    check_int(seed, "seed", ge=0)
    params = stepping.check_params(env, env_params)
    found = Findings([], [])
    found.errors.extend(stepping.params_errors(params))
    found.errors.extend(_action_space(env, params))
    if found.errors:
        return found
    if _shapes(env, params, found):
        declared = _declared(env, params, found)
        _gymnax_step(env, params, found)
        if _program(env, params, found):
            _play(env, params, num_envs, num_steps, jax.random.key(seed), declared, found)
    return found


# --- what is declared -------------------------------------------------------------------------------------------------


def _action_space(env: Any, params: PyTree) -> Iterator[str]:
    try:
        space = env.action_space(params)
    except Exception as error:
        yield f"action_space(params) raises {_said(error)}"
        return
    if not any(hasattr(space, kind) for kind in ("n", "nvec", "low")):
        yield f"action_space is {space!r}: the library acts in Discrete, MultiDiscrete and Box spaces"
        return
    yield from _space(space, "action_space")


def _space(space: Any, name: str) -> Iterator[str]:
    """Whether a space without children makes sense, and whether its own samples lie in it."""
    if hasattr(space, "n") and not (isinstance(space.n, (int, np.integer)) and space.n >= 1):
        yield f"{name} is Discrete with n = {space.n!r}: n must be a Python integer >= 1"
        return
    try:
        limits = bounds(space)
    except (TypeError, ValueError):
        yield f"{name} has bounds that do not fit its shape {space.shape}: low and high must broadcast to it"
        return
    if limits is None:
        return
    low, high = (np.asarray(bound) for bound in limits)
    if not (low <= high).all():
        yield f"{name} has a lower bound above the upper one, or NaN: low {low}, high {high}"
    elif (high - low.astype(float) < UNBOUNDED).all():  # gymnax samples wider ones to inf
        sample = space.sample(jax.random.key(0))
        sample = np.asarray(sample.vector() if is_one_hot(sample) else sample)
        if sample.shape != tuple(space.shape) or not ((sample >= low) & (sample <= high)).all():
            yield f"{name}.sample gives {sample}, which is no element of {space!r}: see its sample"


# --- what tracing shows -----------------------------------------------------------------------------------------------


def _traced(found: Findings, name: str, function: Callable[..., Any], *args: Any, count: int = 0) -> Any:
    """Shapes of what `function` returns, `count` values (0: any one); None where it cannot be traced, which is said."""
    try:
        out = jax.eval_shape(function, *args)
    except Exception as error:
        advice = ""
        if isinstance(error, (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)):
            advice = ": values are traced, so use jnp.where or jax.lax.cond, not Python's if, and jnp, not np"
        found.errors.append(f"{name} cannot be traced, {_said(error)}{advice}")
        return None
    if count and not (isinstance(out, tuple) and len(out) == count):
        got = f"{len(out)} values" if isinstance(out, tuple) else f"one {type(out).__name__}"
        found.errors.append(f"{name} must return {count} values, got {got}: {RETURNS[name]}")
        return None
    return out


RETURNS = {
    "reset_env": "obs, state",
    "step_env": "obs, state, reward, terminated, info; a time limit belongs in is_truncated(state, params)",
    "step": "obs, state, reward, terminated, truncated, info; gymnax.environments.environment.Environment has it",
    "reset": "obs, state",
}


def _shapes(env: Any, params: PyTree, found: Findings) -> bool:
    """Trace everything the loop calls; whether it could take steps."""
    key = jax.random.key(0)
    begun = _traced(found, "reset_env", env.reset_env, key, params, count=2)
    if begun is None:
        return False
    action = jax.eval_shape(lambda key: stepping.random_action(env, params, key), key)
    stepped = _traced(found, "step_env", env.step_env, key, begun[1], action, params, count=5)
    if stepped is None:
        return False
    obs, state, reward, terminated, info = stepped
    steady = True
    for name, before, after in (("observation", begun[0], obs), ("state", begun[1], state)):
        steady &= _same(found, f"the {name} of reset_env", before, "step_env's", after, dtypes_are_cast=True)
    if steady:
        again = _traced(found, "step_env", env.step_env, key, state, action, params, count=5)
        steady = again is not None and _same(found, "step_env's state", state, "that of a second step", again[1])
    truncated = _traced(found, "is_truncated", env.is_truncated, state, params)
    for name, flag in (("step_env's reward", reward), ("terminated", terminated), ("is_truncated's value", truncated)):
        if flag is not None:
            steady &= _scalar(found, name, flag, boolean=flag is not reward)
    if not isinstance(info, dict):
        found.errors.append(f"step_env's info must be a dictionary, got a {type(info).__name__}: return {{}}")
    steady &= _mask_shape(env, params, state, found)
    _keys_are_used(found, "reset_env", env.reset_env, key, params)
    _keys_are_used(found, "step_env", env.step_env, key, begun[1], action, params)
    return steady and truncated is not None


def _keys_are_used(found: Findings, name: str, function: Callable[..., Any], *args: Any) -> None:
    """Say where `function` draws random numbers, but none from the key that is its first argument."""
    program = jax.make_jaxpr(function)(*args)
    used = any(program.jaxpr.invars[0] is var for equation in program.eqns for var in equation.invars)
    if not used and "random_bits" in str(program):
        found.hints.append(f"{name} draws random numbers, but not from its key: they are the same each time")


def _scalar(found: Findings, name: str, value: Any, *, boolean: bool) -> bool:
    kind = "bool" if boolean else "float32"
    if not hasattr(value, "shape") or value.shape != ():
        found.errors.append(f"{name} must be a scalar, got {_shown(value)}: one environment at a time, the loop vmaps")
        return False
    if (value.dtype != bool) if boolean else not jnp.issubdtype(value.dtype, jnp.floating):
        found.hints.append(f"{name} is {value.dtype}: the loop casts it to {kind}")
    return True


def _same(found: Findings, name: str, x: PyTree, other: str, y: PyTree, *, dtypes_are_cast: bool = False) -> bool:
    """Whether two trees have the same structure, shapes and dtypes; the first leaf that differs is named."""
    if jax.tree.structure(x) != jax.tree.structure(y):
        found.errors.append(
            f"{name} is built otherwise than {other}, {jax.tree.structure(x)} and {jax.tree.structure(y)}: "
            "the same types with the same fields, always"
        )
        return False
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(x), jax.tree.leaves(y), strict=True):
        at = f"{name}{jax.tree_util.keystr(path)} is {_shown(a)}, {other} {_shown(b)}"
        if a.shape != b.shape or (a.dtype != b.dtype and not dtypes_are_cast):
            found.errors.append(f"{at}: shapes and dtypes must stay the same")
            return False
        if a.dtype != b.dtype:
            found.hints.append(f"{at}: the loop casts it; gymnax's own step refuses it")
    return True


def _declared(env: Any, params: PyTree, found: Findings) -> bool:
    """Compare what is emitted with observation_space; whether values can be compared with it, too."""
    obs = jax.eval_shape(functools.partial(_one_step, env, params), jax.random.key(0))[3][0]
    try:
        space = env.observation_space(params)
        leaves = parts(space, obs)
    except SettingError as error:
        found.errors.append(f"{error}: correct observation_space")
        return False
    except Exception as error:
        found.errors.append(f"observation_space(params) raises {_said(error)}")
        return False
    before = len(found.errors)
    for path, leaf, value in leaves:
        shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
        if shape is None or dtype is None:
            found.hints.append(f"obs{path} is declared as {leaf!r}, which says nothing that can be checked")
        elif tuple(shape) != value.shape:
            found.errors.append(
                f"obs{path} has the shape {value.shape}, observation_space declares {tuple(shape)}: correct one of them"
            )
        else:
            found.errors.extend(_space(leaf, f"observation_space{path}"))
            if jnp.dtype(dtype) != value.dtype:
                found.hints.append(f"obs{path} is {value.dtype}, observation_space declares {jnp.dtype(dtype)}")
            if jnp.issubdtype(value.dtype, jnp.integer) and (hasattr(leaf, "n") or hasattr(leaf, "nvec")):
                found.hints.append(
                    f"obs{path} holds categories as numbers, {leaf!r}: networks see them one-hot through "
                    "envs.OneHotObservation"
                )
    return len(found.errors) == before


def _mask_shape(env: Any, params: PyTree, state: PyTree, found: Findings) -> bool:
    if not hasattr(env, "action_mask"):
        return True
    mask = _traced(found, "action_mask", env.action_mask, state, params)
    if mask is None:
        return False
    space = env.action_space(params)
    if not hasattr(space, "nvec") and not hasattr(space, "n"):
        found.errors.append(f"action_mask belongs to discrete actions, action_space is {space!r}: remove it")
        return False
    size = sum(space.nvec) if hasattr(space, "nvec") else space.n
    if mask.shape != (size,) or mask.dtype != bool:
        found.errors.append(f"action_mask must be bool{[size]}, True where an action is allowed, got {_shown(mask)}")
        return False
    return True


def _gymnax_step(env: Any, params: PyTree, found: Findings) -> None:
    """gymnax's own reset and six-value step, which the loop leaves alone, where they are offered."""
    if found.errors or any("gymnax's own step refuses" in hint for hint in found.hints):
        return  # what is wrong with the parts is wrong with these
    key = jax.random.key(0)
    obs, state = jax.eval_shape(env.reset_env, key, params)
    action = jax.eval_shape(functools.partial(stepping.random_action, env, params), key)
    if callable(getattr(env, "reset", None)):
        _traced(found, "reset", env.reset, key, params, count=2)
    if not callable(getattr(env, "step", None)):
        return
    out = _traced(found, "step", env.step, key, state, action, params, count=6)
    if out is None:
        return
    info = out[5]
    if not (isinstance(info, dict) and "final_observation" in info):
        found.errors.append("step's info has no final_observation: the observation before its reset belongs there")
    else:
        _same(found, "step's final_observation", info["final_observation"], "step_env's observation", obs)


# --- what the program shows -------------------------------------------------------------------------------------------


def _program(env: Any, params: PyTree, found: Findings) -> bool:
    """Look at the program that the loop would run on a CPU; whether it is worth playing."""
    text = _lowered(env, params)
    before = dict(getattr(env, "__dict__", {}))
    steady = _lowered(env, params) == text
    if not steady:
        found.errors.append(
            "reset_env or step_env is another program each time it is traced: draw random numbers with jax.random from "
            "`key`, not with NumPy or Python, and keep what changes in the state"
        )
    # What the first tracing has filled is a cache; what the second one changes again is state.
    changed = [name for name, value in getattr(env, "__dict__", {}).items() if value is not before.get(name, before)]
    found.errors.extend(f"self.{name} changes while stepping: it belongs in the state" for name in sorted(changed))
    calls_host = bool(CALLBACK.search(text))
    if calls_host:
        found.errors.append(
            "the program calls Python on the host (jax.debug.print, pure_callback, io_callback): nothing that is "
            "vmapped over thousands of environments may; write it in jnp"
        )
    if lapack := sorted(set(LAPACK.findall(text))):
        found.errors.append(
            f"the program calls {', '.join(lapack)}: batched LAPACK can wait for ever on the CPU; avoid jnp.linalg and "
            "orthogonal initialisers, or compute it in the constructor"
        )
    return steady and not calls_host


def _lowered(env: Any, params: PyTree) -> str:
    """The program of one reset and step, vmapped, as a CPU gets it. New functions, so that JAX remembers none."""
    keys = jax.random.split(jax.random.key(0), 2)
    program = jax.jit(lambda keys, params: jax.vmap(lambda key: _one_step(env, params, key))(keys))
    return program.trace(keys, params).lower(lowering_platforms=("cpu",)).as_text()


def _one_step(env: Any, params: PyTree, key: Array) -> PyTree:
    """A reset and a random step: all that they return."""
    obs, state = stepping.reset(env, params, key)
    mask = stepping.action_mask(env, params, state)
    action = stepping.random_action(env, params, key, mask)
    return obs, state, mask, stepping.step(env, params, key, state, action)


# --- what random play shows -------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What random play of one environment has seen, without its length: ``[num_envs]`` before each leaf's own axes."""

    low: PyTree  # each number's lowest value in any observation, the final ones included; NaN counts
    high: PyTree
    reward_low: Array
    reward_high: Array
    terminated: Array  # int32, steps that terminated
    truncated: Array
    both: Array
    forbidden: Array  # int32, steps of which the mask allowed nothing
    cell: Array  # int32, the highest id


def _play(env: Any, params: PyTree, num_envs: int, num_steps: int, key: Array, declared: bool, found: Findings) -> None:
    keys = jax.random.split(key, num_envs)
    (platform,) = {device.platform for device in keys.devices()}

    @functools.partial(jax.jit, compiler_options=QUICK_TO_COMPILE.get(platform))
    def run(keys, params):
        batched = jax.vmap(lambda key: _one_step(env, params, key))(keys)
        single = jax.lax.map(lambda key: _one_step(env, params, key), keys)
        return batched, single, _random_play(env, params, keys, num_steps)

    batched, single, seen = jax.tree.map(to_numpy, run(keys, params))
    _vmap_equals_loop(batched, single, found)
    if declared:
        _observed(env, params, seen, found)
    if not (np.isfinite(seen.reward_low).all() and np.isfinite(seen.reward_high).all()):
        found.errors.append("the reward is not always finite: an inf or NaN spoils every return")
    if seen.forbidden.any():
        found.errors.append(
            "action_mask forbids every action (or all of one component) in a state that is not final: the loop then "
            "allows them all; end the episode there, or allow one"
        )
    ground_truth = cells(env)
    if ground_truth is not None and seen.cell.max() >= ground_truth.num_cells:
        found.errors.append(
            f"cells: the id {seen.cell.max()} is not below num_cells = {ground_truth.num_cells}: number them from 0"
        )
    both, ended = int(seen.both.sum()), int((seen.terminated + seen.truncated - seen.both).sum())
    if both:
        found.hints.append(
            f"{both} of {ended} episodes ended terminated and truncated at once: termination wins, nothing is "
            "bootstrapped; step_env's flag must not contain the time limit"
        )
    if not ended:
        found.hints.append(f"no episode ended within {num_steps} random steps: play more num_steps, or add a limit")


def _random_play(env: Any, params: PyTree, keys: Array, num_steps: int) -> Seen:
    """Random steps with auto-reset in ``len(keys)`` environments side by side."""

    def begin(keys):
        return jax.vmap(lambda key: stepping.reset(env, params, key))(keys)

    ground_truth = cells(env)
    cell_fn = (lambda state: -1) if ground_truth is None else ground_truth.cell_fn

    def act(key, state):
        mask = stepping.action_mask(env, params, state)
        out = stepping.step(env, params, key, state, stepping.random_action(env, params, key, mask))
        return *out, jnp.zeros((), bool) if mask is None else ~_allows(env.action_space(params), mask)

    def step(carry, number):
        state, seen = carry
        now = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
        obs, state, reward, terminated, truncated, forbidden = jax.vmap(act)(now, state)
        cell = jnp.asarray(jax.vmap(cell_fn)(state), jnp.int32)
        seen = _extended(seen, obs)._replace(
            reward_low=jnp.minimum(seen.reward_low, reward),
            reward_high=jnp.maximum(seen.reward_high, reward),
            terminated=seen.terminated + terminated,
            truncated=seen.truncated + truncated,
            both=seen.both + (terminated & truncated),
            forbidden=seen.forbidden + forbidden,
            cell=jnp.maximum(seen.cell, cell),
        )
        done = terminated | truncated

        def restart(state, seen):
            obs, fresh = begin(now)
            state = jax.vmap(lambda ends, *pair: jax.tree.map(functools.partial(jnp.where, ends), *pair))(
                done, fresh, state
            )
            return state, _extended(seen, obs)

        return jax.lax.cond(done.any(), restart, lambda *same: same, state, seen), None  # resets may be dear

    obs, state = begin(keys)
    zeros, none = jnp.zeros(len(keys)), jnp.zeros(len(keys), jnp.int32)
    seen = Seen(obs, obs, zeros + jnp.inf, zeros - jnp.inf, none, none, none, none, none - 1)
    return jax.lax.scan(step, (state, seen), jnp.arange(num_steps))[0][1]


def _extended(seen: Seen, obs: PyTree) -> Seen:
    return seen._replace(low=jax.tree.map(jnp.minimum, seen.low, obs), high=jax.tree.map(jnp.maximum, seen.high, obs))


def _allows(space: Any, mask: Array) -> Array:
    """Whether a mask leaves an action of every component."""
    components = jnp.split(mask, np.cumsum(space.nvec)[:-1]) if hasattr(space, "nvec") else [mask]
    return jnp.stack([component.any() for component in components]).all()


def _vmap_equals_loop(batched: PyTree, single: PyTree, found: Findings) -> None:
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(batched), jax.tree.leaves(single), strict=True):
        if not np.allclose(x, y, rtol=1e-4, atol=1e-5, equal_nan=True):
            at = jax.tree_util.keystr(path)
            found.errors.append(
                f"under jax.vmap a reset and a step give something else than one environment at a time (at {at} of "
                "obs, state, mask, step): look for custom batching rules, and for axes counted from the front"
            )
            return


def _observed(env: Any, params: PyTree, seen: Seen, found: Findings) -> None:
    """Whether observations were finite, within what is declared, and of a size that networks like."""
    lows, highs = (parts(env.observation_space(params), tree) for tree in (seen.low, seen.high))
    for (path, space, low), (_, _, high) in zip(lows, highs, strict=True):
        limits = bounds(space)
        if is_one_hot(low):  # of its places, not of its numbers
            low, high, limits = low.index, high.index, (np.zeros(space.leading), np.full(space.leading, space.n - 1))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            found.errors.append(f"obs{path} is not always finite: networks learn nothing from inf and NaN")
            continue
        if limits is None:
            continue
        least, most = (np.asarray(limit) for limit in limits)
        outside = (low < least) | (high > most)
        if outside.any():
            where = tuple(int(i) for i in np.argwhere(outside)[0])
            got = low[where] if (low < least)[where] else high[where]
            entry = where[1:] if where[1:] else ""
            shown = f"[{least[where[1:]]}, {most[where[1:]]}]"
            found.errors.append(
                f"obs{path} leaves its space: {got:.6g}{f' at {list(entry)}' if entry else ''} is outside {shown}; "
                "widen observation_space, or clip the observation"
            )
        if hasattr(space, "low"):
            if not (most.astype(float) - least < UNBOUNDED).all():
                found.hints.append(f"obs{path} is declared without finite bounds: it cannot be rescaled by them")
            if max(abs(low.min()), abs(high.max())) > LARGE:
                found.hints.append(
                    f"obs{path} goes from {low.min():.4g} to {high.max():.4g}: networks learn best from about -1 to 1; "
                    "see envs.RescaleObservation"
                )


def _shown(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)


def _said(error: Exception) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.:')}" if lines else type(error).__name__
