"""check_env on environments with one fault each, named by its message; on sound ones; and on what is registered."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from flax import struct
from gymnax import registration
from gymnax.environments import spaces

import purejaxrl
from purejaxrl import checking, envs
from purejaxrl.types import SettingError

OURS = [env_id for env_id in envs.ids() if registration._registry[env_id].__module__.startswith("purejaxrl.")]
COUNTER = itertools.count()


class Sound(probes.Clock):
    """Three steps, x counts them, the third action is forbidden."""

    def observation_space(self, params):
        return spaces.Box(0.0, 3.0, (1,))


class Limited(probes.TimeLimited):
    """Continuous, cut by its limit, with a start of its own each time."""

    def start(self, key):
        return jax.random.uniform(key)

    def action_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (1,))


class Tree(Sound):
    """Observations of a Dict, and actions of two components with a mask for each."""

    def obs(self, state):
        return {"time": super().obs(state), "sign": (state.x > 1)[None]}

    def observation_space(self, params):
        return spaces.Dict({"time": spaces.Box(0.0, 3.0, (1,)), "sign": spaces.Box(False, True, (1,), jnp.bool_)})

    def action_space(self, params=None):
        return envs.MultiDiscrete((2, 3))

    def action_mask(self, state, params):
        return jnp.arange(5) != 4

    def reward(self, state, action):
        return action.sum().astype(jnp.float32)


def box(low=0.0, high=3.0, shape=(1,), **more):
    return lambda self, params: spaces.Box(low, high, shape, **more)


def step(change):
    """A step_env whose five values `change` replaces."""
    return lambda self, key, state, action, params: change(*Sound.step_env(self, key, state, action, params))


def state(change):
    """A next_x that is `change(key, state)`."""
    return lambda self, key, now, action: change(key, now)


@jax.custom_batching.custom_vmap
def odd(x):
    return x


@odd.def_vmap
def _odd_batched(size, batched, x):
    return x + 1.0, batched[0]


class Misdrawn(spaces.Discrete):
    def sample(self, key):
        return jnp.asarray(self.n)


@struct.dataclass
class NamedParams:
    max_steps_in_episode: int = 10
    mode: str = "hard"


class Plain:
    max_steps_in_episode = 10


def counted(self, key, now, action):
    self.calls = next(COUNTER)
    return now.x + 1


# What is wrong with Sound, and what the message must say. Each is found alone.
ERRORS = {
    "named params": ({"default_params": NamedParams()}, r"env_params\.mode is 'hard', no number"),
    "no pytree": ({"default_params": Plain()}, "env_params is no pytree but a Plain"),
    "action space": ({"action_space": lambda *_: spaces.Dict({"a": spaces.Discrete(2)})}, "action_space is Dict"),
    "raising space": (
        {"action_space": lambda self, params: params.nothing},
        r"action_space\(params\) raises Attribute",
    ),
    "no actions": ({"action_space": lambda *_: spaces.Discrete(0)}, "n must be a Python integer >= 1"),
    "bounds and shape": ({"observation_space": box(high=jnp.ones(2), shape=(1,))}, "bounds that do not fit its shape"),
    "bounds upside down": ({"observation_space": box(3.0, 0.0)}, "a lower bound above the upper one"),
    "sample": ({"action_space": lambda *_: Misdrawn(3)}, r"action_space\.sample gives 3"),
    "shape": ({"observation_space": box(shape=(2,))}, r"obs has the shape \(1,\), observation_space declares \(2,\)"),
    "tree": ({"observation_space": lambda *_: spaces.Dict({"x": spaces.Box(0, 3, (1,))})}, "declared with the entries"),
    "bounds": ({"observation_space": box(high=2.0)}, r"obs leaves its space: 3 at \[0\] is outside \[0\.0, 2\.0\]"),
    "nan": ({"next_x": state(lambda _, now: jnp.log(now.x - 1))}, "obs is not always finite"),
    "six values": (
        {"step_env": step(lambda *five: (*five[:4], five[3], five[4]))},
        r"return 5 values, got 6.*is_trunc",
    ),
    "one value": ({"reset_env": lambda self, key, params: jnp.zeros(1)}, "reset_env must return 2 values, got one"),
    "python if": (
        {"reward": lambda self, now, action: 1.0 if now.x > 0 else 0.0},
        "step_env cannot be traced.*jnp.where",
    ),
    "numpy": ({"reward": lambda self, now, action: np.sin(now.x)}, "step_env cannot be traced.*not np"),
    "shape from a key": (
        {"start": lambda self, key: jnp.zeros(int(jax.random.uniform(key)))},
        "reset_env cannot be traced",
    ),
    "no truncation": ({"is_truncated": lambda self, now, params: now.nothing}, "is_truncated cannot be traced"),
    "reward vector": ({"reward": lambda self, now, action: jnp.ones(1)}, "step_env's reward must be a scalar"),
    "reward inf": ({"reward": lambda self, now, action: 1 / now.x}, "the reward is not always finite"),
    "flag vector": ({"ends": lambda self, now: (now.time >= 3)[None]}, "terminated must be a scalar"),
    "state grows": (
        {"next_x": state(lambda _, now: jnp.concatenate([now.x.ravel()] * 2)), "obs": lambda self, now: jnp.ones(1)},
        "shapes and dtypes must stay the same",
    ),
    "state's type": (
        {"next_x": state(lambda _, now: {"x": 1.0}), "obs": lambda self, now: jnp.ones(1)},
        "is built otherwise than step_env's",
    ),
    "info": (
        {"step_env": step(lambda *five: (*five[:4], None)), "step": None},
        "info must be a dictionary, got a NoneType",
    ),
    "mask's shape": (
        {"action_mask": lambda self, now, params: jnp.ones(2, bool)},
        r"action_mask must be bool\[3\].*bool\[2\]",
    ),
    "mask's dtype": ({"action_mask": lambda self, now, params: jnp.ones(3)}, r"action_mask must be bool\[3\].*float32"),
    "mask of a box": ({"action_space": lambda *_: spaces.Box(0, 1, ())}, "action_mask belongs to discrete actions"),
    "mask forbids": (
        {"action_mask": lambda self, now, params: jnp.arange(3) < 3 * (now.x != 1)},
        "forbids every action",
    ),
    "four values": ({"step": lambda self, *args: Sound.step(self, *args)[:4]}, r"step must return 6 values, got 4"),
    "final observation": ({"step": lambda self, *args: (*Sound.step(self, *args)[:5], {})}, "no final_observation"),
    "callback": (
        {"reward": lambda self, now, action: (jax.debug.print("{}", now.x), 1.0)[1]},
        "calls Python on the host",
    ),
    "lapack": ({"reward": lambda self, now, action: jnp.linalg.qr(now.x * jnp.eye(2))[1].sum()}, "lapack_sgeqrf"),
    "numpy's draws": (
        {"reward": lambda self, now, action: jnp.float32(np.random.default_rng().random())},
        "another program each time",
    ),
    "state in self": ({"next_x": counted}, r"self\.calls changes while stepping"),
    "vmap": ({"reward": lambda self, now, action: odd(now.x + action)}, "under jax.vmap"),
    "cells": (
        {"cells": lambda self: envs.Cells(lambda now: now.time - 1, 2, np.arange(2)[None])},
        "cells: the id 2 is not below num_cells = 2",
    ),
}
HINTS = {
    "unbounded": ({"observation_space": box(high=jnp.inf)}, "declared without finite bounds"),
    "dtype": ({"observation_space": box(dtype=jnp.int32)}, "obs is float32, observation_space declares int32"),
    "large": (
        {"next_x": state(lambda _, now: now.x + 9), "observation_space": box(high=99.0)},
        "goes from 0 to 27.*Rescale",
    ),
    "categories": (
        {"obs": lambda self, now: now.time, "observation_space": lambda *_: spaces.Discrete(4)},
        "OneHotObservation",
    ),
    "reward's dtype": ({"reward": lambda self, now, action: now.time}, "reward is int32: the loop casts it to float32"),
    "flag's dtype": ({"ends": lambda self, now: 1.0 * (now.time >= 3)}, "terminated is float32"),
    "reset's dtype": (
        {"start": lambda self, key: jnp.int32(0), "next_x": state(lambda _, now: now.x + 1.0)},
        r"state of reset_env\.x is int32\[\], step_env's float32",
    ),
    "endless": (
        {"ends": lambda self, now: jnp.bool(False), "next_x": state(lambda _, now: now.x)},
        "no episode ended within 60",
    ),
    "both": (
        {"is_truncated": lambda self, now, params: now.time >= 3},
        r"(\d+) of \1 episodes ended terminated and truncated",
    ),
    "own keys": (
        {"start": lambda self, key: jax.random.uniform(jax.random.key(3)), "observation_space": box(high=4.0)},
        "reset_env draws random numbers, but not",
    ),
}


def broken(attributes):
    return type(
        "Broken",
        (Sound,),
        {"traced": property(lambda self: jnp.zeros(()) + jax.random.uniform(jax.random.key(0)))} | attributes,
    )()


@pytest.mark.parametrize("fault", ERRORS)
def test_each_fault_is_named(fault):
    attributes, message = ERRORS[fault]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(SettingError, match=message) as caught:
            purejaxrl.check_env(broken(attributes), num_steps=20)
    assert "Broken has 1 error:\n- " in str(caught.value)


@pytest.mark.parametrize("doubt", HINTS)
def test_each_doubt_is_a_warning(doubt):
    attributes, message = HINTS[doubt]
    with pytest.warns(UserWarning, match=message) as caught:
        purejaxrl.check_env(broken(attributes), num_steps=60)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "env", [Sound(), Limited(), Tree(), envs.FrameStack(Sound(), 2)], ids=lambda env: type(env).__name__
)
def test_sound_environments_say_nothing(env):
    assert checking.inspect(env, num_steps=20) == ([], [])


# gymnax's irregularities, and what is doubtful about our own: the pole's velocities have no bounds.
REGISTERED = {
    "Catch-bsuite": "observation_space declares int32",
    "FourRooms-misc": "observation_space declares float32",
    "MemoryChain-bsuite": "obs leaves its space",
    "GaussianBandit-misc": "obs leaves its space",
    "DeepSea-bsuite": "1000 of 1000 episodes ended terminated and truncated",
    "BsuiteCartPoleSwingUp-v0": "declared without finite bounds",
}
QUICK = ["Catch-bsuite", "MemoryChain-bsuite", "RiverSwim-v0"]


@pytest.mark.parametrize(
    "env_id", [pytest.param(i, marks=[] if i in QUICK else pytest.mark.slow) for i in sorted({*REGISTERED, *OURS})]
)
def test_registered_environments(env_id):
    errors, hints = checking.inspect(*purejaxrl.make(env_id))
    said = errors + hints
    if env_id in REGISTERED:
        assert any(REGISTERED[env_id] in text for text in said)
    if env_id in OURS:
        assert not errors
        assert len(hints) == (env_id in REGISTERED)
