"""Bad input, from Python and on the command line: named with its value and what is right, at once, and nothing is left.

Two tables. A row's pattern holds the field and the value that was given or what would be right, so that an error of
another kind, or of another field, does not pass. No row may compile a program, take seconds, or touch the folder.
"""

import math
import os
import re
import shlex
import subprocess
import sys
import time
from decimal import Decimal
from fractions import Fraction

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from commands import main
from rich.console import Console

import purejaxrl
from purejaxrl import envs, lanes
from purejaxrl.algos import DQN, PPO, PQN, SAC
from purejaxrl.bench import deep, exploration, speed
from purejaxrl.bonuses import E3B, RE3, RND, SOFE, Counts
from purejaxrl.checkpoint import CheckpointError
from purejaxrl.intrinsic import Product, Sum
from purejaxrl.progress import Progress
from purejaxrl.resets import FreshResets
from purejaxrl.results import Sweep
from purejaxrl.search import Choice, LogUniform, Uniform
from purejaxrl.types import SettingError

SECONDS = 2.0  # of one call, as this process spends them: what others do on the machine does not count
COMPILING = 0.5  # seconds; JAX compiles single operations as well, in hundredths of a second
SMALL = PPO(num_steps=6, num_minibatches=2, num_epochs=1, hidden=(8,))
QUIET = Progress(Console(quiet=True))
GRID = {"algo.gamma": [0.9]}
compiled: list[float] = []


def note_compiling(event, seconds, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(seconds)


jax.monitoring.register_event_duration_secs_listener(note_compiling)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder that a row starts in, with somebody's file and folder; nothing else may be there after it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("all of it")

    def compile(*_):
        raise AssertionError("a program is compiled")

    monkeypatch.setattr(lanes.Lanes, "compile", compile)
    compiled.clear()
    start = time.process_time()
    yield tmp_path
    assert time.process_time() - start < SECONDS
    assert max(compiled, default=0.0) < COMPILING
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"file", "full", "full/thesis.tex"}
    assert (tmp_path / "file").read_text() == "mine"


def train(learner=None, env=None, **changes):
    settings = {"num_envs": 4, "total_steps": 5000} | changes
    return purejaxrl.make_train(env or probes.Clock(), PPO() if learner is None else learner, **settings)


def with_bonus(bonus, **changes):
    return train(SMALL, bonus=bonus, **changes)


def state(of=None):
    """The state of a run as it might be trained, all zeros: nothing has to be compiled for it."""

    def zeros(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key(0) if is_key else np.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(zeros, jax.eval_shape((of or train(SMALL)).init, jax.random.key(0)))


def play(learner=SMALL, of=None, env=None, key=None, num_episodes=2, **changes):
    key, found = jax.random.key(0) if key is None else key, state() if of is None else of
    return purejaxrl.evaluate(env or probes.Clock(), learner, found, key, num_episodes, **changes)


def sweep(search=GRID, env="CartPole-v1", learner=SMALL, **changes):
    settings = {"num_envs": 2, "total_steps": 100, "out": "out", "progress": QUIET} | changes
    return purejaxrl.sweep(env, learner, search=search, **settings)


def pbt(search=GRID, env="CartPole-v1", learner=SMALL, **changes):
    settings = {"num_envs": 2, "total_steps": 100, "interval": 24, "members": 4, "out": "out", "progress": QUIET}
    return purejaxrl.pbt(env, learner, search=search, **settings | changes)


class Plain:
    """A learner that is no dataclass."""

    num_steps = 4
    init = init_actor = act = update = staticmethod(lambda *_: None)


class Failing(probes.Clock):
    def reward(self, state, action):
        return 1 / 0


class NoParams(probes.Clock):
    default_params = property(lambda self: self.nothing)


def traced(function):
    return jax.eval_shape(function, jnp.ones(()))


cartpole, params = envs.make("CartPole-v1")
pendulum = envs.make("Pendulum-v1")

# What is wrong; the call; what the message says of it.
PYTHON = [
    # --- numbers
    ("below", lambda: train(PPO(learning_rate=-1e-3)), r"algo.learning_rate must be finite and > 0, got -0.001"),
    ("nan", lambda: train(PPO(learning_rate=math.nan)), r"algo.learning_rate must be finite and > 0, got nan"),
    ("inf", lambda: train(PPO(ent_coef=math.inf)), r"algo.ent_coef must be finite and >= 0, got inf"),
    ("word", lambda: train(PPO(learning_rate="fast")), r"algo.learning_rate must be a number, got 'fast'"),
    ("digits", lambda: train(PPO(learning_rate="1e-3")), r"algo.learning_rate must be a number, got '1e-3'"),
    ("bytes", lambda: train(PPO(gamma=b"1")), r"algo.gamma must be a number, got b'1'"),
    ("None", lambda: train(PPO(learning_rate=None)), r"algo.learning_rate must be a number, got None"),
    ("True", lambda: train(PPO(learning_rate=True)), r"algo.learning_rate must be a number, got True"),
    ("NumPy's True", lambda: train(PPO(gamma=np.True_)), r"algo.gamma must be a number, got np.True_"),
    ("JAX's True", lambda: train(PPO(gamma=jnp.array(True))), r"algo.gamma must be a number, got Array\(True"),
    ("complex", lambda: train(PPO(gamma=0.9 + 0j)), r"algo.gamma must be a number, got \(0.9\+0j\)"),
    ("NumPy's complex", lambda: train(PPO(gamma=np.complex64(1))), r"algo.gamma must be a number, got np.complex64"),
    ("decimal", lambda: train(PPO(gamma=Decimal("0.9"))), r"algo.gamma must be a number, got Decimal\('0.9'\)"),
    ("fraction", lambda: train(PPO(gamma=Fraction(9, 10))), r"algo.gamma must be a number, got Fraction\(9, 10\)"),
    ("list", lambda: train(PPO(learning_rate=[1e-3])), r"algo.learning_rate must be a number, got \[0.001\]"),
    ("vector", lambda: train(PPO(gamma=jnp.ones(3))), r"algo.gamma must be one number, got shape \(3,\); jax.vmap"),
    ("empty", lambda: train(PPO(gamma=np.ones(0))), r"algo.gamma must be one number, got shape \(0,\)"),
    ("above", lambda: train(PPO(gamma=1.5)), r"algo.gamma must be finite and >= 0 and <= 1, got 1.5"),
    ("NumPy above", lambda: train(PPO(gamma=np.float32(1.5))), r"algo.gamma must be finite and .* <= 1, got 1.5"),
    ("huge", lambda: train(PPO(vf_coef=1e39)), r"algo.vf_coef must be .* got 1e\+39, which is inf in float32"),
    ("huge integer", lambda: train(PPO(vf_coef=10**39)), r"algo.vf_coef must be finite.* got 10000.*inf in float32"),
    ("integer beyond floats", lambda: train(PPO(vf_coef=10**400)), r"algo.vf_coef must be finite and >= 0, got 1000"),
    ("too long to write", lambda: train(PPO(vf_coef=10**5000)), r"algo.vf_coef must be finite .* got int that is too"),
    ("tiny", lambda: train(PPO(learning_rate=1e-50)), r"algo.learning_rate must be .* 1e-50, which is 0 in float32"),
    ("next to 1", lambda: with_bonus(Counts(decay=1 - 1e-9)), r"bonus.decay must be .* < 1, got 0.9.*1 in float32"),
    ("key", lambda: train(PPO(gamma=jax.random.key(0))), r"algo.gamma must be a number, got Array"),
    # --- integers and truth values
    ("0 steps", lambda: train(PPO(num_steps=0)), r"algo.num_steps must be >= 1, got 0"),
    ("float", lambda: train(PPO(num_epochs=2.0)), r"algo.num_epochs must be an integer, got 2.0"),
    ("True epochs", lambda: train(PPO(num_epochs=True)), r"algo.num_epochs must be an integer, got True"),
    (
        "NumPy's True epochs",
        lambda: train(PPO(num_epochs=np.True_)),
        r"algo.num_epochs must be an integer, got np.True",
    ),
    ("array", lambda: train(PPO(num_epochs=jnp.array(2))), r"algo.num_epochs must be an integer, got Array\(2"),
    ("digits as steps", lambda: train(PPO(num_steps="8")), r"algo.num_steps must be an integer, got '8'"),
    ("no steps", lambda: train(PPO(num_steps=None)), r"algo.num_steps must be an integer, got None"),
    ("beyond 32 bits", lambda: train(PPO(num_epochs=2**31)), r"algo.num_epochs must be <= 2147483647, got 2147483648"),
    ("integer too long", lambda: train(PPO(num_steps=10**5000)), r"algo.num_steps must be <= 2147483647, got int that"),
    (
        "traced shape",
        lambda: traced(lambda x: train(PPO(num_steps=x))),
        r"algo.num_steps must be an integer \(it shapes",
    ),
    ("word for a flag", lambda: train(PPO(anneal_lr="yes")), r"algo.anneal_lr must be True or False, got 'yes'"),
    ("1 for a flag", lambda: train(PPO(clip_value=1)), r"algo.clip_value must be True or False, got 1"),
    ("None for a flag", lambda: train(PPO(normalise_obs=None)), r"algo.normalise_obs must be True or False, got None"),
    # --- words and sizes
    ("activation", lambda: train(PPO(activation="tan")), r"algo.activation: unknown value 'tan'; did you mean tanh\?"),
    ("no activation", lambda: train(PPO(activation=None)), r"algo.activation: unknown value None; choose from tanh"),
    ("function", lambda: train(PPO(activation=nn.tanh)), r"algo.activation: unknown value <.*; choose from tanh"),
    ("array of a word", lambda: train(PPO(activation=np.array(["tanh"]))), r"algo.activation: unknown value array"),
    ("empty word", lambda: train(PPO(memory="")), r"algo.memory: unknown value ''; choose from none, gru"),
    ("memory", lambda: train(PPO(memory="lstm")), r"algo.memory: unknown value 'lstm'; .*gru"),
    ("unicode", lambda: train(PPO(memory="grü")), r"algo.memory: unknown value 'grü'; did you mean gru"),
    ("long word", lambda: train(PPO(memory="x" * 10**6)), r"algo.memory: unknown value 'xxx{60,80} \.\.\.; choose"),
    (
        "size 0",
        lambda: train(PPO(hidden=(64, 0))),
        r"algo.hidden must be a tuple of positive layer sizes, got \(64, 0\)",
    ),
    ("list of sizes", lambda: train(PPO(hidden=[64])), r"algo.hidden must be a tuple of positive .* got \[64\]"),
    ("one size", lambda: train(PPO(hidden=64)), r"algo.hidden must be a tuple of positive layer sizes, got 64"),
    ("no sizes", lambda: train(PPO(hidden=())), r"algo.hidden must be a tuple of positive layer sizes, got \(\)"),
    ("True sizes", lambda: train(PPO(hidden=(True,))), r"algo.hidden must be a tuple of positive .* got \(True,\)"),
    ("huge sizes", lambda: train(PPO(hidden=(10**12,))), r"algo.hidden must be a tuple of positive .* got \(10000000"),
    # --- learners
    ("class", lambda: train(PPO), r"algo must be an instance: PPO\(\), not PPO"),
    ("name", lambda: train("ppo"), r"algo: str has no init, .*update \(see purejaxrl.types\), got 'ppo'"),
    ("bonus as a learner", lambda: train(RND()), r"algo: RND has no init_actor, act .* got RND\("),
    ("loss", lambda: train(PPO(loss=None)), r"algo.loss must be a function like .*ppo_loss, got None"),
    ("network", lambda: train(PPO(network="mlp")), r"algo.network must be \(init, apply\) or a flax module, got 'mlp'"),
    ("network's class", lambda: train(PPO(network=nn.Dense)), r"algo.network must be an instance: Dense\(...\)"),
    ("half a network", lambda: train(PPO(network=(len,))), r"algo.network must be \(init, apply\) or .* got \(<built"),
    (
        "other outputs",
        lambda: train(PPO(network=nn.Dense(3))),
        r"algo.network must return \(distribution, values\), got",
    ),
    ("network and sizes", lambda: train(PPO(network=nn.Dense(3), hidden=(3,))), r"algo.hidden does nothing beside"),
    (
        "DQN's outputs",
        lambda: train(DQN(network=nn.Dense(4))),
        r"algo.network must return action values of shape \(3,\)",
    ),
    ("minibatches", lambda: train(PPO(num_steps=2, num_minibatches=9)), r"algo.num_minibatches .* at most .* 8, got 9"),
    (
        "of whole envs",
        lambda: train(PPO(memory="gru", num_minibatches=8)),
        r"algo.num_minibatches .* num_envs .*4, got 8",
    ),
    ("heads", lambda: train(PPO(memory="transformer", memory_size=6)), r"algo.memory_size .* multiple of its 4.*got 6"),
    ("buffer", lambda: train(DQN(buffer_size=64)), r"algo.buffer_size must be at least batch_size = 128, got 64"),
    ("late start", lambda: train(DQN(learning_starts=9000)), r"algo.learning_starts .* at most the run's 4992 .* 9000"),
    ("atoms", lambda: train(DQN(head="c51", v_min=1.0, v_max=1.0)), r"algo.v_min must be below algo.v_max, got 1.0"),
    ("zeta", lambda: train(PQN(zeta=0.5)), r"algo.zeta must be above 1 \(or 0.*got 0.5"),
    ("zeta traced", lambda: traced(lambda x: train(PQN(zeta=x))), r"algo.zeta must be a Python number \(it shapes"),
    ("SAC", lambda: train(SAC()), r"algo: SAC acts in Box spaces, the environment's is Discrete; choose another"),
    ("DQN", lambda: train(DQN(), pendulum[0]), r"algo: DQN acts in Discrete spaces, the environment's is Box"),
    # --- bonuses
    ("bonus's name", lambda: with_bonus("rnd"), r"bonus: str has no init, observe, reward, update .* got 'rnd'"),
    ("bonus's class", lambda: with_bonus(RND), r"bonus must be an instance: RND\(\), not RND"),
    ("wrapper's class", lambda: with_bonus(SOFE), r"bonus must be an instance: SOFE\(\), not SOFE"),
    ("learner as a bonus", lambda: with_bonus(PPO()), r"bonus: PPO has no observe, reward"),
    ("coef", lambda: with_bonus(Counts(coef=-1.0)), r"bonus.coef must be finite and >= 0, got -1"),
    ("table", lambda: with_bonus(Counts(table_size=100)), r"bonus.table_size must be a power of two, got 100"),
    ("normaliser", lambda: with_bonus(Counts(normalise="max")), r"bonus.normalise: unknown value 'max'; .* none, std"),
    ("warm-up", lambda: with_bonus(RND(warmup_steps=-1)), r"bonus.warmup_steps must be >= 0, got -1"),
    (
        "warm-up's word",
        lambda: with_bonus(RND(warmup_steps="512")),
        r"bonus.warmup_steps must be an integer, got '512'",
    ),
    ("no warm-up", lambda: with_bonus(RND(warmup_steps=None)), r"bonus.warmup_steps must be an integer, got None"),
    ("long warm-up", lambda: with_bonus(RND(warmup_steps=10_000)), r"total_steps must .* 10000 warm-up .* got 5000"),
    ("fraction above 1", lambda: with_bonus(RND(update_fraction=4.0)), r"bonus.update_fraction .* > 0 and <= 1, got 4"),
    (
        "fraction traced",
        lambda: traced(lambda x: with_bonus(RND(update_fraction=x))),
        r"bonus.update_fraction must be a Python number \(it shapes the program\), got ",
    ),
    ("array fraction", lambda: with_bonus(RND(update_fraction=np.ones(()))), r"bonus.update_fraction must be a Python"),
    ("bonus's sizes", lambda: with_bonus(RND(hidden=())), r"bonus.hidden must be a tuple of positive .* got \(\)"),
    ("bonus's minibatches", lambda: with_bonus(RND(num_minibatches=1000)), r"bonus.num_minibatches .* 24, got 1000"),
    (
        "neighbours",
        lambda: with_bonus(RE3(k=9, memory_size=4)),
        r"bonus.k must be at most bonus.memory_size = 4, got 9",
    ),
    ("a number in a sum", lambda: with_bonus(Counts() + 3), r"bonus.parts\[1\] must be a bonus, .* got 3"),
    ("None in a product", lambda: with_bonus(Counts() * None), r"bonus.parts\[1\] must be a bonus, .* got None"),
    ("a class in a sum", lambda: with_bonus(Counts() + RND), r"bonus.parts\[1\] must be a bonus, .* got <class"),
    ("a part's warm-up", lambda: with_bonus(Counts() * RND(warmup_steps="x")), r"bonus.rnd.warmup_steps .* got 'x'"),
    ("a part's coef", lambda: with_bonus(Counts(coef=-1.0) * RND()), r"bonus.counts.coef must be .* got -1"),
    (
        "a part's minibatches",
        lambda: with_bonus(Counts() * RND(num_minibatches=1000)),
        r"bonus.rnd.num_minibatches must be at most .* = 24, got 1000",
    ),
    (
        "the second of two",
        lambda: with_bonus((RND() + RND(num_minibatches=1000)) * Counts()),
        r"bonus.sum.rnd2.num_minibatches must be at most .* = 24, got 1000",
    ),
    ("an empty sum", lambda: with_bonus(Sum()), r"bonus.parts must be a tuple of one or several bonuses, got \(\)"),
    ("parts in a list", lambda: with_bonus(Sum(parts=[Counts()])), r"bonus.parts must be a tuple .* got \[Counts"),
    ("one part alone", lambda: with_bonus(Product(parts=Counts())), r"bonus.parts must be a tuple .* got Counts\("),
    ("SOFE of nothing", lambda: with_bonus(SOFE()), r"bonus.bonus must be a bonus, .* got None"),
    ("SOFE of a class", lambda: with_bonus(SOFE(bonus=E3B)), r"bonus.bonus must be a bonus, .* got <class"),
    ("SOFE of RND", lambda: with_bonus(SOFE(bonus=RND())), r"bonus.bonus must be .* a method `statistics`.* got RND"),
    (
        "SOFE of a product without any",
        lambda: with_bonus(SOFE(bonus=RND() * RND())),
        r"bonus.bonus must be a bonus with a method `statistics`.* got Product",
    ),
    ("SOFE inside", lambda: with_bonus(Counts() * SOFE(bonus=Counts())), r"bonus.sofe: SOFE must wrap the whole"),
    # --- make_train's own
    ("0 envs", lambda: train(num_envs=0), r"num_envs must be >= 1, got 0"),
    ("float envs", lambda: train(num_envs=2.0), r"num_envs must be an integer, got 2.0"),
    ("True envs", lambda: train(num_envs=True), r"num_envs must be an integer, got True"),
    ("array of envs", lambda: train(num_envs=np.array([4])), r"num_envs must be an integer, got array\(\[4\]\)"),
    ("negative steps", lambda: train(total_steps=-5), r"total_steps must be >= 1, got -5"),
    ("scientific steps", lambda: train(total_steps=1e6), r"total_steps must be an integer, got 1000000.0"),
    ("too many steps", lambda: train(total_steps=2**31), r"total_steps must be <= 2147483647, got 2147483648"),
    ("below an update", lambda: train(total_steps=100), r"total_steps must allow .* 4 \* 128 = 512 steps, got 100"),
    ("huge rollout", lambda: train(PPO(num_steps=2**30)), r"total_steps must allow .* 1073741824 = .* got 5000"),
    ("resets", lambda: train(resets=object()), r"resets: object has no init, observe, reset .* got <object"),
    ("resets' class", lambda: train(resets=FreshResets), r"resets must be an instance: FreshResets\(\)"),
    ("resets at once", lambda: train(resets=FreshResets(at_once=-1)), r"resets.at_once must be >= 0, got -1"),
    ("visits", lambda: train(visits=True), r"visits must be \(cell_fn, num_cells\), got True"),
    ("visits in a list", lambda: train(visits=[len, 3]), r"visits must be \(cell_fn, num_cells\), got \["),
    ("0 cells", lambda: train(visits=(lambda state: 0, 0)), r"visits' num_cells must be >= 1, got 0"),
    (
        "huge cells",
        lambda: train(visits=(lambda state: 0, 2**40)),
        r"visits' num_cells must be <= 2147483647, got 1099",
    ),
    ("cells of a vector", lambda: train(visits=(lambda s: jnp.zeros(3), 5)), r"visits' cell_fn .* one integer.*\(3,\)"),
    ("cells of a number", lambda: train(visits=(lambda s: 0.5, 5)), r"visits' cell_fn .* one integer.*float32"),
    ("cells of more", lambda: train(visits=(lambda s, n: 0, 5)), r"visits' cell_fn must take .*TypeError"),
    ("cells of nothing", lambda: train(visits=(lambda s: s.nothing, 5)), r"visits' cell_fn .* fails: AttributeError"),
    # --- environments
    ("env's id", lambda: train(env="CartPole-v1"), r"env must be an environment, got an id: .*make\('CartPole-v1'\)"),
    ("make's pair", lambda: train(env=(cartpole, params)), r"env must be one environment, got a tuple: purejaxrl.make"),
    ("env's class", lambda: train(env=probes.Clock), r"env must be an instance: Clock\(\), not Clock"),
    ("object", lambda: train(env=object()), r"env must be a gymnax environment; object has no step_env, reset_env"),
    ("no parameters", lambda: train(env=NoParams()), r"NoParams has no default_params: add them, or pass env_params"),
    (
        "wrapped id",
        lambda: envs.TimeLimit("CartPole-v1", 9),
        r"env must be an environment, got an id: .*purejaxrl.make",
    ),
    ("wrapped pair", lambda: envs.FrameStack(pendulum, 2), r"env must be one environment, got a tuple"),
    ("wrapped class", lambda: envs.ScaleReward(probes.Clock, 2.0), r"env must be an instance: Clock\(\)"),
    ("0 frames", lambda: envs.FrameStack(probes.Clock(), 0), r"num_frames must be >= 1, got 0"),
    ("True as a limit", lambda: envs.TimeLimit(probes.Clock(), True), r"max_steps must be an integer, got True"),
    ("scale of nan", lambda: envs.ScaleReward(probes.Clock(), math.nan), r"scale must be finite, got nan"),
    ("params of another", lambda: train(env=cartpole, env_params=pendulum[1]), r"env_params must be those of CartPole"),
    (
        "params in a dict",
        lambda: train(env=cartpole, env_params={"gravity": 9.8}),
        r"env_params .* CartPole.* got {'gra",
    ),
    ("pair as params", lambda: train(env=cartpole, env_params=(1, params)), r"env_params must be those of CartPole"),
    (
        "word in params",
        lambda: train(env=cartpole, env_params=params.replace(gravity="low")),
        r"env_params.gravity is 'low', no number",
    ),
    (
        "huge param",
        lambda: train(env=cartpole, env_params=params.replace(max_steps_in_episode=10**10)),
        r"env_params.max_steps_in_episode must be .* at most 2147483647, got 10000000000",
    ),
    ("id", lambda: envs.make("CartPole"), r"env: unknown value 'CartPole'; did you mean CartPole-v1"),
    ("nothing like it", lambda: envs.make("qqqq"), r"env: unknown value 'qqqq'; choose from .* and \d+ more"),
    ("empty id", lambda: envs.make(""), r"env: unknown value ''; choose from "),
    ("no id", lambda: envs.make(None), r"env: unknown value None"),
    ("number as an id", lambda: envs.make(3), r"env: unknown value 3; "),
    ("NUL in an id", lambda: envs.make("CartPole-v1\0"), r"env: unknown value 'CartPole-v1\\x00'; .* CartPole-v1"),
    ("unicode id", lambda: envs.make("CartPole‑v1"), r"env: unknown value 'CartPole‑v1'; did you mean CartPole-v1"),
    ("long id", lambda: envs.make("CartPole" * 10**5), r"env: unknown value 'CartPoleCartPole.* \.\.\."),
    ("prefix", lambda: envs.make("gymnasum:X"), r"env: the prefix: unknown value 'gymnasum'; did you mean gymnasium"),
    ("setting", lambda: envs.make("DeepSea-bsuite", sise=4), r"env DeepSea-bsuite: unknown value 'sise'; .* size\?"),
    (
        "size below 0",
        lambda: envs.make("DeepSea-bsuite", size=-3),
        r"env DeepSea-bsuite cannot be made with \(size=-3\)",
    ),
    (
        "sea of size 0",
        lambda: envs.make("DeepSea-bsuite", size=0),
        r"env DeepSea-bsuite cannot be made with \(size=0\)",
    ),
    ("env that fails", lambda: train(env=Failing()), r"env: Failing cannot be reset and stepped, ZeroDivisionError"),
    ("half a size", lambda: envs.make("DeepSea-bsuite", size=2.5), r"env.size must be an integer, got 2.5"),
    ("True as a size", lambda: envs.make("DeepSea-bsuite", size=True), r"env.size must be an integer, got True"),
    ("huge sea", lambda: envs.make("BsuiteDeepSea-v0", size=10**6), r"size must be <= 1000, got 1000000"),
    (
        "word for an env's flag",
        lambda: envs.make("BsuiteDeepSea-v0", deterministic="no"),
        r"env.deterministic must be True or False, got 'no'",
    ),
    ("limit 0", lambda: envs.make("CartPole-v1", max_steps_in_episode=0), r"env.max_steps_in_episode .* >= 1, got 0"),
    (
        "huge limit",
        lambda: envs.make("CartPole-v1", max_steps_in_episode=2**31),
        r"env.max_steps_in_episode .* <= 2147",
    ),
    ("no gravity", lambda: envs.make("CartPole-v1", gravity=None), r"env.gravity must be a number, got None"),
    ("nan gravity", lambda: envs.make("CartPole-v1", gravity=math.nan), r"env.gravity must be finite, got nan"),
    ("huge gravity", lambda: envs.make("CartPole-v1", gravity=1e300), r"env.gravity .* got 1e\+300, which is inf in"),
    ("frames", lambda: envs.make("CartPole-v1", frame_stack=True), r"env.frame_stack must be an integer, got True"),
    ("odd view", lambda: envs.make("MiniGrid-Empty-5x5-v0", view_size=4), r"env.view_size must be odd, got 4"),
    ("checked id", lambda: purejaxrl.check_env("CartPole-v1"), r"env must be an environment, got an id"),
    ("checked steps", lambda: purejaxrl.check_env(probes.Clock(), num_steps=0), r"num_steps must be >= 1, got 0"),
    ("checked seed", lambda: purejaxrl.check_env(probes.Clock(), seed=10**20), r"seed must be <= 2147483647, got 1000"),
    ("checked params", lambda: purejaxrl.check_env(cartpole, {}), r"env_params must be those of CartPole.* got {}"),
    ("without params", lambda: purejaxrl.check_env(NoParams()), r"NoParams has no default_params: add them"),
    # --- a run's pieces
    ("seed as a key", lambda: train()(0), r"key must be one key, such as jax.random.key\(0\), got 0"),
    ("no key", lambda: train().init(None), r"key must be one key, .* got None"),
    ("keys", lambda: train()(jax.random.split(jax.random.key(0), 3)), r"key must be one key.* \(3,\); jax.vmap"),
    ("old keys", lambda: train()(jnp.zeros((3, 2), jnp.uint32)), r"key must be one key.* \(3, 2\); jax.vmap"),
    ("float key", lambda: train()(jnp.zeros(2)), r"key must be one key, .* float32 and shape \(2,\)"),
    ("no updates", lambda: train(SMALL).advance(state(), 0), r"num_updates must be >= 1, got 0"),
    ("half an update", lambda: train(SMALL).advance(state(), 0.5), r"num_updates must be an integer, got 0.5"),
    ("no state", lambda: train(SMALL).advance(None, 1), r"state must be Result.state, got NoneType"),
    ("result as a state", lambda: train().advance(purejaxrl.Result(state(), {}), 1), r"state must be .* got Result"),
    (
        "states",
        lambda: train(SMALL).advance(jax.tree.map(lambda leaf: np.stack([leaf] * 3), state().replace(key=0)), 1),
        r"state must be that of one run, got a batch of shape \(3,\); jax.vmap",
    ),
    ("sharded learner", lambda: purejaxrl.shard(PPO()), r"train must be what purejaxrl.make_train returns, got PPO"),
    ("devices", lambda: purejaxrl.shard(train(), jax.devices()), r"mesh must be a jax.sharding.Mesh, .* got \["),
    ("sharded key", lambda: purejaxrl.shard(train()).init(3), r"key must be one key, .* got 3"),
    ("sharded state", lambda: purejaxrl.shard(train()).advance(3, 1), r"state must be Result.state, got int"),
    # --- evaluate
    ("no episodes", lambda: play(num_episodes=0), r"num_episodes must be >= 1, got 0"),
    ("True episodes", lambda: play(num_episodes=True), r"num_episodes must be an integer, got True"),
    ("cap", lambda: play(max_steps=0), r"max_steps must be >= 1, got 0"),
    ("word for greedy", lambda: play(greedy="yes"), r"greedy must be True or False, got 'yes'"),
    ("evaluated id", lambda: play(env="CartPole-v1"), r"env must be an environment, got an id"),
    ("evaluated name", lambda: play("ppo"), r"learner: str has no init, .* got 'ppo'"),
    ("evaluated class", lambda: play(PPO), r"learner must be an instance: PPO\(\)"),
    ("evaluated nan", lambda: play(SMALL.replace(gamma=math.nan)), r"learner.gamma must be finite .* got nan"),
    ("evaluated number", lambda: play(of=3), r"state must be Result.state, got int"),
    ("evaluated seed", lambda: play(key=7), r"key must be one key, .* got 7"),
    ("other env", lambda: play(env=cartpole), r"state does not fit: give the env, the learner and"),
    ("other learner", lambda: play(DQN()), r"state does not fit: give the env, the learner and"),
    (
        "bonus left out",
        lambda: play(of=state(with_bonus(SOFE(bonus=Counts(table_size=64))))),
        r"state does not fit: .* where the policy sees its features, the bonus",
    ),
    ("bonus too many", lambda: play(bonus=SOFE(bonus=Counts())), r"bonus: state was trained without one: leave it out"),
    ("evaluated bonus", lambda: play(bonus=SOFE), r"bonus must be an instance: SOFE\(\)"),
    ("evaluated params", lambda: play(env_params=params), r"env_params must be those of Clock"),
    # --- saved states and results
    ("no checkpoint", lambda: purejaxrl.restore("nowhere", {}), r"nowhere is not a checkpoint: .* manifest.json"),
    ("file as a checkpoint", lambda: purejaxrl.restore("file", {}), r"file is not a checkpoint: it has no readable"),
    ("save over a file", lambda: purejaxrl.save("file", {}), r"file already exists; give a new folder"),
    ("save over a folder", lambda: purejaxrl.save("full", {}), r"full already exists; give a new folder"),
    ("save here", lambda: purejaxrl.save("", {}), r"already exists; give a new folder"),
    ("load nothing", lambda: purejaxrl.load("nowhere"), r"nowhere is not a run's folder, nor a sweep's"),
    ("load a file", lambda: purejaxrl.load("file"), r"file is not a run's folder, nor a sweep's"),
    ("load another folder", lambda: purejaxrl.load("full"), r"full is not a run's folder, .* neither metrics.parquet"),
    ("load a NUL", lambda: purejaxrl.load("a\0b"), r"out: .* is no path that can be used"),
    ("load a long name", lambda: purejaxrl.load("x" * 300), r"out: .* is no path .*: File name too long"),
    ("load None", lambda: purejaxrl.load(None), r"out must be a path, got None"),
    ("save to a NUL", lambda: purejaxrl.save("a\0b", {"x": 1.0}), r"path: .* is no path that can be used"),
    ("save below a file", lambda: purejaxrl.save("file/x", {"x": 1.0}), r"path: file/x cannot be made"),
    ("save a long name", lambda: purejaxrl.save("x" * 300, {"x": 1.0}), r"path: .* is no path .*: File name too long"),
    ("save to None", lambda: purejaxrl.save(None, {"x": 1.0}), r"path must be a path, got None"),
    ("save a word", lambda: purejaxrl.save("x", {"x": "word"}), r"state\['x'\] must be an array of numbers, got 'w"),
    ("save an object", lambda: purejaxrl.save("x", {"x": object()}), r"state\['x'\] must be an array of numbers"),
    ("save nothing", lambda: purejaxrl.save("x", None), r"state must have arrays, got None"),
    ("restore a NUL", lambda: purejaxrl.restore("a\0b", {}), r"path: .* is no path that can be used"),
    ("restore None", lambda: purejaxrl.restore(None, {}), r"path must be a path, got None"),
    ("best of none", lambda: Sweep(None, []).best(0), r"count must be >= 1, got 0"),
    # --- searches
    ("no search", lambda: sweep(None), r"search must be a mapping of fields or .* got None"),
    ("word as a search", lambda: sweep("algo.gamma=1"), r"search must be a mapping of fields .* got 'algo.gamma=1'"),
    ("empty search", lambda: sweep({}), r"search is empty: name at least one field"),
    ("empty configuration", lambda: sweep([{}]), r"search is empty: name at least one field"),
    ("no values", lambda: sweep({"algo.gamma": []}), r"search: algo.gamma must have 1 to 1,000,000 values, got 0"),
    ("one value", lambda: sweep({"algo.gamma": 0.9}), r"search: algo.gamma must be a list of values .* got 0.9"),
    ("words", lambda: sweep({"algo.activation": "tanh"}), r"search: algo.activation must be a list .* got 'tanh'"),
    ("field 3", lambda: sweep({3: [1]}), r"search: fields go by their names, such as 'algo.gamma', got 3"),
    ("empty field", lambda: sweep({"": [1]}), r"search: unknown value ''; choose from num_envs, total_steps"),
    ("field", lambda: sweep({"algo.gama": [0.9]}), r"algo: unknown value 'gama'; did you mean gamma"),
    ("part", lambda: sweep({"alg.gamma": [0.9]}), r"unknown value 'alg'; did you mean algo"),
    ("bare field", lambda: sweep({"learning_rate": [1e-3]}), r"search: unknown value 'learning_rate'"),
    ("no field", lambda: sweep({"algo": [1.0]}), r"search: unknown value 'algo'; did you mean algo"),
    ("ends with a dot", lambda: sweep({"algo.": [1.0]}), r"algo: unknown value ''; choose from learning_rate, gamma"),
    ("too deep", lambda: sweep({"algo.gamma.x": [1.0]}), r"algo.gamma.x: algo.gamma has no fields of its own"),
    ("no bonus", lambda: sweep({"bonus.coef": [1.0]}), r"bonus.coef: there is no bonus"),
    ("negative rate", lambda: sweep({"algo.learning_rate": [1e-3, -1.0]}), r"algo.learning_rate must be .* got -1"),
    ("word among rates", lambda: sweep({"algo.learning_rate": [1e-3, "x"]}), r"algo.learning_rate must be a .* 'x'"),
    ("0 epochs", lambda: sweep({"algo.num_epochs": [1, 0]}), r"algo.num_epochs must be >= 1, got 0"),
    ("0 envs searched", lambda: sweep({"num_envs": [2, 0]}), r"num_envs must be >= 1, got 0"),
    ("1 step searched", lambda: sweep({"total_steps": [1]}), r"total_steps must allow at least one update .* got 1"),
    ("twice", lambda: sweep({"algo.gamma": [0.9, 0.9]}), r"search names a configuration twice: {'algo.gamma': 0.9}"),
    (
        "other fields",
        lambda: sweep([GRID, {"algo.tau": 1}]),
        r"search: configuration 1 differs .* algo.gamma, algo.tau",
    ),
    ("size of an instance", lambda: sweep({"env.size": [3]}, cartpole), r"env: unknown value 'size'"),
    ("searched limit", lambda: sweep({"env.max_steps_in_episode": [9, 0]}), r"env.max_steps_in_episode .* >= 1, got 0"),
    (
        "half a limit",
        lambda: sweep({"env.max_steps_in_episode": [2.5]}),
        r"env.max_steps_in_episode .* integer, got 2.5",
    ),
    ("nan searched", lambda: sweep({"env.gravity": [9.8, math.nan]}), r"env.gravity must be finite, got nan"),
    ("word searched", lambda: sweep({"env.gravity": ["low"]}), r"env.gravity must be a number, got 'low'"),
    ("size searched", lambda: sweep({"env.size": [4, "x"]}, "DeepSea-bsuite"), r"env.size must be an integer, got 'x'"),
    (
        "programs",
        lambda: sweep({"num_envs": list(range(2, 67))}),
        r"num_envs \(65 values\) shapes the program: 65 prog",
    ),
    (
        "endless list",
        lambda: sweep({"algo.gamma": range(10**9)}),
        r"search: algo.gamma must have 1 to 1,000,000 values",
    ),
    (
        "endless grid",
        lambda: sweep({f"algo.{name}": [0.1 * i for i in range(1, 11)] for name in "abcdefgh"}),
        r"search: a grid of 100,000,000 configurations, more than 1,000,000: draw some",
    ),
    (
        "endless draws",
        lambda: sweep({"algo.gamma": Uniform(0, 1)}, samples=10**9),
        r"samples must be <= 1000000, got 10",
    ),
    (
        "no draws",
        lambda: sweep({"algo.gamma": Uniform(0, 1)}),
        r"samples: search has distributions: say how many.* None",
    ),
    ("0 draws", lambda: sweep({"algo.gamma": Uniform(0, 1)}, samples=0), r"samples must be >= 1, got 0"),
    (
        "more draws than there are",
        lambda: sweep({"algo.gamma": Choice((0.8, 0.9))}, samples=3),
        r"samples must be <= 2",
    ),
    (
        "a range of sizes",
        lambda: sweep({"algo.num_steps": Uniform(8, 64)}, samples=3),
        r"num_steps .* list or a Choice",
    ),
    ("a range of envs", lambda: sweep({"num_envs": Uniform(2, 8)}, samples=3), r"search: num_envs .* list or a Choice"),
    ("two rungs in one", lambda: sweep(rungs=(1e-6, 2e-6)), r"rungs: 1e-06 and 2e-06 of a run of \d+ updates"),
    ("draws of a grid", lambda: sweep(samples=3), r"samples: search is a grid, without draws, got 3"),
    ("draws of given ones", lambda: sweep([{"algo.gamma": 0.9}], samples=3), r"samples: search names its .* got 3"),
    (
        "distribution's class",
        lambda: sweep({"algo.gamma": Uniform}, samples=3),
        r"search: algo.gamma must be an instance",
    ),
    ("upside down", lambda: Uniform(1.0, 0.0), r"Uniform needs low < high, .* got 1.0 and 0.0"),
    ("infinite range", lambda: Uniform(0.0, math.inf), r"Uniform.high must be finite, got inf"),
    ("range beyond floats", lambda: Uniform(-1e308, 1e308), r"Uniform.low must be finite, got -1e\+308.* in float32"),
    ("integers beyond floats", lambda: Uniform(0, 10**400), r"Uniform.high must be finite, got 1000"),
    ("word in a range", lambda: LogUniform("a", 1.0), r"LogUniform.low must be a number, got 'a'"),
    ("logarithm of 0", lambda: LogUniform(0.0, 1.0), r"LogUniform.low must be > 0, got 0"),
    ("choice of none", lambda: Choice(()), r"Choice.values must have 1 to .* values, got 0"),
    ("choice of letters", lambda: Choice("tanh"), r"Choice.values must be a list of values .* got 'tanh'"),
    ("choice of 3", lambda: Choice(3), r"Choice.values must be a list of values .* got 3"),
    # --- sweep's own
    ("swept class", lambda: sweep(learner=PPO), r"algo must be an instance: PPO\(\), not PPO"),
    ("swept name", lambda: sweep(learner="ppo"), r"algo: str has no init, .* got 'ppo'"),
    ("plain learner", lambda: sweep(learner=Plain()), r"algo.gamma: Plain is no dataclass, whose fields could be"),
    ("swept bonus's class", lambda: sweep({"bonus.coef": [1.0]}, bonus=RND), r"bonus must be an instance: RND\(\)"),
    ("swept bonus's name", lambda: sweep({"bonus.coef": [1.0]}, bonus="rnd"), r"bonus: str has no init.* got 'rnd'"),
    ("swept env's class", lambda: sweep(env=probes.Clock), r"env must be an instance: Clock\(\)"),
    ("swept pair", lambda: sweep(env=pendulum), r"env must be one environment, got a tuple"),
    ("0 seeds", lambda: sweep(seeds=0), r"seeds must be >= 1, got 0"),
    ("no seeds", lambda: sweep(seeds=None), r"seeds must be an integer or a sequence of them, got None"),
    ("True seeds", lambda: sweep(seeds=True), r"seeds must be an integer or a sequence of them, got True"),
    ("digits as seeds", lambda: sweep(seeds="12"), r"seeds must be an integer or a sequence of them, got '12'"),
    ("empty seeds", lambda: sweep(seeds=[]), r"seeds must be 1 to 1,000,000 of them, got 0"),
    ("negative seed", lambda: sweep(seeds=[-1]), r"seeds must be >= 0, got -1"),
    ("float seed", lambda: sweep(seeds=[1.0]), r"seeds must be an integer, got 1.0"),
    ("huge seed", lambda: sweep(seeds=[2**32]), r"seeds must be <= 2147483647, got 4294967296"),
    ("same seeds", lambda: sweep(seeds=[0, 1, np.int64(1)]), r"seeds must differ: 1 stands there twice"),
    ("seeds too many", lambda: sweep(seeds=10**9), r"seeds must be <= 1000000, got 1000000000"),
    ("range too long", lambda: sweep(seeds=range(10**9)), r"seeds must be 1 to 1,000,000 of them, got 1,000,000,000"),
    ("runs too many", lambda: sweep({"algo.gamma": [0.9, 0.8]}, seeds=10**6), r"seeds: 2 configurations of 1,000,000"),
    (
        "seeds' matrix",
        lambda: sweep(seeds=np.zeros((2, 2), int)),
        r"seeds must be an integer or a sequence .* got array",
    ),
    (
        "array of one seed",
        lambda: sweep(seeds=np.array(3)),
        r"seeds must be an integer or a sequence .* got array\(3\)",
    ),
    ("lanes", lambda: sweep(num_lanes=0), r"num_lanes must be >= 1, got 0"),
    ("memory of 0", lambda: sweep(memory_gb=0.0), r"memory_gb must be finite and > 0, got 0"),
    ("memory of nan", lambda: sweep(memory_gb=math.nan), r"memory_gb must be finite and > 0, got nan"),
    ("batch", lambda: sweep(batch=0), r"batch must be >= 1, got 0"),
    ("workers", lambda: sweep(workers=0), r"workers must be >= 1, got 0"),
    ("search's seed", lambda: sweep(search_seed="x"), r"search_seed must be an integer, got 'x'"),
    ("engine", lambda: sweep(on="slrum"), r"on: unknown value 'slrum'; did you mean slurm"),
    (
        "settings of an instance",
        lambda: sweep(env=cartpole, env_settings={"size": 3}),
        r"env_settings belong to an env",
    ),
    ("params of an id", lambda: sweep(env_params=params), r"env_params belong to an environment that is no id"),
    (
        "settings as a word",
        lambda: sweep(env_settings="size=3"),
        r"env_settings must map names to values, got 'size=3'",
    ),
    ("settings by number", lambda: sweep(env_settings={3: 1}), r"env_settings must map names to values, got {3: 1}"),
    ("setting unknown", lambda: sweep(env_settings={"sise": 3}), r"env CartPole-v1: unknown value 'sise'"),
    ("swept visits", lambda: sweep(visits=True), r"visits: the environment has no discretised state"),
    ("swept visits' word", lambda: sweep(visits="yes"), r"visits must be \(cell_fn, num_cells\), got 'yes'"),
    ("rungs fall", lambda: sweep(rungs=(0.5, 0.2)), r"rungs must grow, got 0.2 after 0.5"),
    ("rung of 1", lambda: sweep(rungs=(1.0,)), r"rungs must be finite and > 0 and < 1, got 1"),
    ("one rung alone", lambda: sweep(rungs=0.5), r"rungs must be shares of a run, such as \(0.1, 0.3\), got 0.5"),
    ("keep", lambda: sweep(rungs=(0.5,), keep=math.nan), r"keep must be finite and > 0 and < 1, got nan"),
    ("objectives", lambda: sweep(objectives=["entropy"]), r"objectives are for a sampler; without one leave them out"),
    ("one objective", lambda: sweep(objectives="entropy"), r"objectives must be some, such as .* got 'entropy'"),
    ("trackers by name", lambda: sweep(trackers=["jsonl"]), r"trackers\[0\] must be .*trackers.make.* got 'jsonl'"),
    ("tracker alone", lambda: sweep(trackers="jsonl"), r"trackers must be a sequence of them, got 'jsonl'"),
    ("no trackers", lambda: sweep(trackers=None), r"trackers must be a sequence of them, got None"),
    ("number as out", lambda: sweep(out=3), r"out must be a path, got 3"),
    ("NUL in out", lambda: sweep(out="a\0b"), r"out: 'a\\x00b' is no path that can be used: embedded null"),
    ("long out", lambda: sweep(out="x" * 300), r"out: 'xxx.* is no path that can be used: File name too long"),
    ("out is a file", lambda: sweep(out="file"), r"out: file is a file; give a folder"),
    ("out below a file", lambda: sweep(out="file/x"), r"out: file/x cannot be made: .*file is no folder"),
    ("out is full", lambda: sweep(out="full"), r"out: full exists and has no sweep.json; give another folder"),
    # --- pbt
    ("1 member", lambda: pbt(members=1), r"members must be >= 2, got 1"),
    (
        "members too many",
        lambda: pbt(members=10**9),
        r"members: 1,000,000,000 of 1 populations are more than 1,000,000",
    ),
    ("0 populations", lambda: pbt(seeds=0), r"seeds must be >= 1, got 0"),
    ("list of populations", lambda: pbt(seeds=[0, 1]), r"seeds must be an integer, got \[0, 1\]"),
    ("no interval", lambda: pbt(interval=0), r"interval must be >= 1, got 0"),
    ("long interval", lambda: pbt(interval=96), r"interval must be less than total_steps, got 96 of 96"),
    ("quantile", lambda: pbt(quantile=0.6), r"quantile must be finite and > 0 and <= 0.5, got 0.6"),
    ("perturb", lambda: pbt(perturb=1.0), r"perturb must be finite and > 1, got 1.0"),
    ("resample", lambda: pbt(resample=math.nan), r"resample must be finite and >= 0 and <= 1, got nan"),
    ("nothing to search", lambda: pbt({}), r"search must map fields to distributions or lists, got {}"),
    ("pbt's field", lambda: pbt({"algo.gama": [0.9]}), r"algo: unknown value 'gama'; did you mean gamma"),
    ("pbt's shape", lambda: pbt({"algo.num_epochs": [1, 2]}), r"algo.num_epochs shapes .*; purejaxrl.sweep can search"),
    ("pbt's rate", lambda: pbt({"algo.gamma": [0.9, -1.0]}), r"algo.gamma must be finite .* got -1"),
    ("pbt's gravity", lambda: pbt({"env.gravity": [9.8, math.inf]}), r"env.gravity must be finite, got inf"),
    ("pbt's class", lambda: pbt(learner=PPO), r"algo must be an instance: PPO\(\)"),
    ("pbt's distribution", lambda: pbt({"algo.gamma": Uniform}), r"search: algo.gamma must be an instance: Uniform"),
    ("pbt's trackers", lambda: pbt(trackers=["wandb"]), r"trackers\[0\] must be .* got 'wandb'"),
    ("members' type", lambda: pbt(members=4.0), r"members must be an integer, got 4.0"),
    ("members as truth", lambda: pbt(members=True), r"members must be an integer, got True"),
    ("members and seeds", lambda: pbt(members=1000, seeds=10**5), r"members: 1,000 of 100,000 populations are more"),
    ("interval's type", lambda: pbt(interval="24"), r"interval must be an integer, got '24'"),
    ("interval too long", lambda: pbt(interval=2**40), r"interval must be <= 2147483647, got 1099511627776"),
    ("quantile in words", lambda: pbt(quantile="half"), r"quantile must be a number, got 'half'"),
    ("several quantiles", lambda: pbt(quantile=np.full(2, 0.25)), r"quantile must be one number, got shape \(2,\)"),
    ("no perturb", lambda: pbt(perturb=None), r"perturb must be a number, got None"),
    ("perturb too large", lambda: pbt(perturb=1e39), r"perturb must be .* got 1e\+39, which is inf in float32"),
    ("resample as truth", lambda: pbt(resample=True), r"resample must be a number, got True"),
    ("pbt's search as words", lambda: pbt("algo.gamma"), r"search must map fields to .* got 'algo.gamma'"),
    ("pbt's empty list", lambda: pbt({"algo.gamma": []}), r"search: algo.gamma must have 1 to .* values, got 0"),
    ("pbt's words", lambda: pbt({"algo.gamma": ["a", "b"]}), r"algo.gamma must be a number, got 'a'"),
    ("pbt's None", lambda: pbt({"algo.gamma": [0.9, None]}), r"algo.gamma must be a number, got None"),
    ("pbt's lists", lambda: pbt({"algo.gamma": [[0.9], [0.8]]}), r"algo.gamma must be a number, got \(0.9,\)"),
    ("pbt's truth", lambda: pbt({"algo.gamma": [True, False]}), r"algo.gamma must be a number, got True"),
    ("pbt's range", lambda: pbt({"algo.gamma": Uniform(0.5, 1.5)}), r"algo.gamma must be finite .* <= 1, got 1.5"),
    ("pbt's num_envs", lambda: pbt({"num_envs": [2, 4]}), r"a searched field: unknown value 'num_envs'"),
    ("pbt's algo", lambda: pbt({"algo": [0.9]}), r"algo: name a field of it, as in algo.learning_rate"),
    ("pbt without a bonus", lambda: pbt({"bonus.coef": [0.9]}), r"bonus.coef: there is no bonus"),
    ("pbt's integers", lambda: pbt({"env.max_steps_in_episode": [9, 9.5]}), r"max_steps_in_episode must be an integer"),
    ("pbt's env", lambda: pbt(env="CartPol"), r"env: unknown value 'CartPol'; did you mean CartPole-v1"),
    ("pbt's bonus", lambda: pbt(bonus="rnd"), r"bonus: str has no init, observe, reward, update"),
    ("pbt's env_params", lambda: pbt(env_params=params), r"env_params belong to an environment that is no id"),
    ("pbt's env_settings", lambda: pbt(env_settings={"gravty": 1.0}), r"env CartPole-v1: unknown value 'gravty'"),
    ("pbt's steps", lambda: pbt(total_steps=3), r"total_steps must allow at least one update .* = 12 steps, got 3"),
    ("pbt's visits", lambda: pbt(visits=True), r"visits: the environment has no discretised state"),
    ("pbt's resets", lambda: pbt(resets=FreshResets), r"resets must be an instance: FreshResets\(\)"),
    ("pbt in a file", lambda: pbt(out="file"), r"out: file is a file; give a folder"),
    ("pbt in a full folder", lambda: pbt(out="full"), r"out: full exists and has no pbt.json; give another folder"),
    ("pbt below a file", lambda: pbt(out="file/x"), r"out: file/x cannot be made: .*file is no folder"),
    # --- benchmarks
    ("works", lambda: speed.run("x", QUIET, works=["ppo-5"]), r"works: unknown value 'ppo-5'; did you mean ppo-"),
    ("suite", lambda: exploration.run("x", QUIET, suite="smal"), r"suite: unknown value 'smal'; did you mean small"),
    ("bench of no sizes", lambda: deep.run("x", QUIET, deep.deepsea(), []), r"sizes: name at least one"),
    (
        "bench's seeds",
        lambda: deep.run("x", QUIET, deep.deepsea(), [4], num_seeds=10**9),
        r"seeds must be <= 1000, got",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in PYTHON], ids=[row[0] for row in PYTHON])
def test_from_python(call, message):
    with pytest.raises((SettingError, CheckpointError), match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 500


CARTPOLE = "train --env CartPole-v1"
SWEEP = "sweep --env CartPole-v1 --search"
COMMANDS = [
    # --- more than the machine can hold
    ("train --env CartPole-v1 --seeds 1000000000", r"seeds must be <= 1000000, got 1000000000"),
    (
        "train --env CartPole-v1 --num-envs 100000000 --total-steps 2000000000 --algo.num-steps 16",
        r"the run needs .* GB of memory, more than the .* lower num_envs",
    ),
    ("list algos --source craftax", r"source: algos come from here alone; leave --source out"),
    # --- verbs
    ("", r"train,? ?\|?.*sweep|required"),
    ("trian --env CartPole-v1", r"invalid choice: .*'?trian'?|trian"),
    ("train", r"--env"),
    ("train CartPole", r"env: unknown value 'CartPole'; did you mean CartPole-v1"),
    ("diagnose --env CartPole", r"env: unknown value 'CartPole'; did you mean CartPole-v1"),
    ("train --env", r"--env"),
    # --- names
    ("train --env CartPole", r"env: unknown value 'CartPole'; did you mean CartPole-v1"),
    ("train --env ''", r"env: unknown value ''; choose from"),
    ("train --env --seeds 2", r"env: unknown value '--seeds'"),
    ("train --env ../../etc/passwd", r"env: unknown value '../../etc/passwd'"),
    ("train --env 'CartPole-v1\udcff'", r"env: unknown value 'CartPole-v1\\udcff'; did you mean CartPole-v1"),
    ("train --env brxa:ant", r"env: the prefix: unknown value 'brxa'; did you mean brax"),
    (f"{CARTPOLE} --algo pp0", r"algo: unknown value 'pp0'; did you mean ppo\?"),
    (f"{CARTPOLE} --algo ''", r"algo: unknown value ''; choose from bootdqn, bootpqn"),
    (f"{CARTPOLE} --algo bootpqn --algo.index-size 4 --algo.num-members 1", r"algo.num_members must be >= 2 .*, got 1"),
    (f"{CARTPOLE} --algo sac", r"algo: SAC acts in Box spaces, the environment's is Discrete"),
    (f"{CARTPOLE} --bonus rdn", r"bonus: unknown value 'rdn'; did you mean rnd or ride\?"),
    (f"{CARTPOLE} --bonus rnd*rdn", r"bonus: unknown value 'rdn'; did you mean rnd"),
    (f"{CARTPOLE} --bonus ''", r"bonus: '' is none; write one like rnd, 'e3b\*rnd'"),
    (f"{CARTPOLE} --bonus 'rnd\0'", r"bonus: 'rnd\\x00' is none; write one like"),
    (f"{CARTPOLE} --bonus sofe", r"bonus: sofe goes around another bonus: sofe\(e3b\)"),
    (f"{CARTPOLE} --bonus 'sofe(rnd)'", r"bonus.bonus must be .* a method `statistics`.* got RND"),
    (f"{CARTPOLE} --bonus \"__import__('os')\"", r"bonus: unknown value '__import__'; choose from sofe"),
    # --- settings
    (f"{CARTPOLE} --algo.learning-rate -1", r"algo.learning_rate must be finite and > 0, got -1"),
    (f"{CARTPOLE} --algo.learning-rate nan", r"algo.learning_rate must be finite and > 0, got nan"),
    (f"{CARTPOLE} --algo.learning-rate 1e400", r"algo.learning_rate must be finite and > 0, got inf"),
    (f"{CARTPOLE} --algo.learning-rate 1e-50", r"algo.learning_rate .* got 1e-50, which is 0 in float32"),
    (f"{CARTPOLE} --algo.learning-rate fast", r"--algo.learning-rate.*fast|fast.*--algo.learning-rate"),
    (f"{CARTPOLE} --algo.learning-rat 1", r"--algo.learning-rat.*--algo.learning-rate"),
    (f"{CARTPOLE} --algo.lr 1", r"--algo.lr is no setting; did you mean --algo.learning-rate\?"),
    (f"{CARTPOLE} --lr 1", r"--lr is no setting; did you mean --algo.learning-rate\?"),
    (f"{CARTPOLE} --algo.num-steps 1.5", r"--algo.num-steps"),
    (f"{CARTPOLE} --algo.num-steps 99999999999", r"algo.num_steps must be <= 2147483647, got 99999999999"),
    (f"{CARTPOLE} --algo.activation tan", r"algo.activation: unknown value 'tan'; did you mean tanh"),
    (f"{CARTPOLE} --algo.hidden 0", r"algo.hidden must be a tuple of positive layer sizes, got \(0,\)"),
    (f"{CARTPOLE} --algo.hidden", r"--algo.hidden|algo.hidden must be a tuple of positive layer sizes, got \(\)"),
    (f"{CARTPOLE} --algo ppo --algo dqn --algo.gae-lambda 1", r"--algo.gae-lambda"),
    (f"{CARTPOLE} --env.size 3", r"--env.size"),
    (f"{CARTPOLE} --env.max-steps-in-episode 0", r"env.max_steps_in_episode must be >= 1, got 0"),
    (f"{CARTPOLE} --env.max-steps-in-episode 2.5", r"--env.max-steps-in-episode"),
    (f"{CARTPOLE} --env.max-steps-in-episode 9999999999", r"env.max_steps_in_episode must be <= 2147483647, got 9999"),
    (f"{CARTPOLE} --env.gravity inf", r"env.gravity must be finite, got inf"),
    ("train --env DeepSea-bsuite --env.size -2", r"env DeepSea-bsuite cannot be made with \(size=-2\)"),
    ("train --env DeepSea-bsuite --env.size 0", r"env DeepSea-bsuite cannot be made with \(size=0\)"),
    (f"{CARTPOLE} --bonus counts --bonus.table-size 100", r"bonus.table_size must be a power of two, got 100"),
    (f"{CARTPOLE} --bonus rnd --bonus.update-fraction 4", r"bonus.update_fraction must be .* > 0 and <= 1, got 4"),
    (f"{CARTPOLE} --bonus rnd --bonus.hidden 0", r"bonus.hidden must be a tuple of positive layer sizes, got \(0,\)"),
    (f"{CARTPOLE} --bonus rnd --bonus.normalise max", r"bonus.normalise: unknown value 'max'; choose from none, std"),
    (f"{CARTPOLE} --bonus counts*rnd --bonus.rnd.coef -1", r"bonus.rnd.coef must be finite and >= 0, got -1"),
    (f"{CARTPOLE} --bonus counts*rnd --bonus.rdn.coef 1", r"--bonus.rdn.coef"),
    (
        f"{CARTPOLE} --bonus counts*rnd --bonus.rnd.num-minibatches 9999",
        r"bonus.rnd.num_minibatches must be at most .* = 512, got 9999",
    ),
    # --- a run's own
    (f"{CARTPOLE} --total-steps 100", r"total_steps must allow at least one update .* = 512 steps, got 100"),
    (f"{CARTPOLE} --total-steps 1e-6", r"--total-steps.*write a whole number, such as 64 or 1e6"),
    (f"{CARTPOLE} --total-steps 1e400", r"--total-steps.*write a whole number"),
    (f"{CARTPOLE} --total-steps 1e2", r"total_steps must allow at least one update .* got 100"),
    (f"{CARTPOLE} --total-steps -5", r"total_steps must be >= 1, got -5"),
    (f"{CARTPOLE} --total-steps 99999999999", r"total_steps must be <= 2147483647, got 99999999999"),
    (f"{CARTPOLE} --num-envs 0", r"num_envs must be >= 1, got 0"),
    (f"{CARTPOLE} --num-envs 1 --algo.num-steps 2", r"algo.num_minibatches must be at most .* = 2, got 4"),
    (f"{CARTPOLE} --seeds 0", r"seeds must be >= 1, got 0"),
    (f"{CARTPOLE} --seeds two", r"--seeds.*two|two.*--seeds"),
    (f"{CARTPOLE} --seed -1", r"seed must be >= 0, got -1"),
    (f"{CARTPOLE} --seed 4294967296", r"seed must be <= 2147483647, got 4294967296"),
    (f"{CARTPOLE} --visits", r"visits: CartPole-v1 has no discretised state to count; leave it off"),
    (f"{CARTPOLE} --visits maybe", r"maybe"),
    (f"{CARTPOLE} --log csv", r"--log.*csv|csv.*--log"),
    (f"{CARTPOLE} --out file", r"out: file exists and is not an empty folder; give another one"),
    (f"{CARTPOLE} --out full", r"out: full exists and is not an empty folder; give another one"),
    (f"{CARTPOLE} --out file/x", r"out: file/x cannot be made: .*file is no folder"),
    (f"{CARTPOLE} --out /dev/null/x", r"out: /dev/null/x cannot be made: /dev/null is no folder"),
    (f"{CARTPOLE} --out 'a\0b'", r"out: 'a\\x00b' is no path that can be used: embedded null"),
    (f"{CARTPOLE} --out {'x' * 300}", r"out: 'xxx.* is no path that can be used: File name too long"),
    (f"{CARTPOLE} --out", r"--out"),
    # --- sweeps
    ("sweep --env CartPole-v1", r"--search"),
    (f"{SWEEP} algo.gamma", r"search: 'algo.gamma' is none; write 'algo.learning_rate=1e-4,1e-3'"),
    (f"{SWEEP} ''", r"search: '' is none; write 'algo.learning_rate=1e-4,1e-3'"),
    (f"{SWEEP} algo.gamma=", r"search: 'algo.gamma=' is none; write"),
    (f"{SWEEP} =1", r"search: '=1' is none; write"),
    (f"{SWEEP} algo.gamma=0.9,", r"search: '0.9,' has nothing between two commas, or at an end"),
    (f"{SWEEP} algo.gamma=0.9,o.99", r"algo.gamma must be a number, got 'o.99'"),
    (f"{SWEEP} algo.gama=.9", r"algo: unknown value 'gama'; did you mean gamma"),
    (f"{SWEEP} algo.lr=.9", r"algo: unknown value 'lr'; did you mean learning_rate\?"),
    (f"{SWEEP} algo.gae-lambda=2", r"algo.gae_lambda must be finite and >= 0 and <= 1, got 2"),
    (f"{SWEEP} algo.gamma=2", r"algo.gamma must be finite and >= 0 and <= 1, got 2"),
    (f"{SWEEP} algo.gamma=.5,1.5", r"algo.gamma must be finite and >= 0 and <= 1, got 1.5"),
    (f"{SWEEP} algo.vf_coef=1{'0' * 400}", r"algo.vf_coef must be finite and >= 0, got 1000"),
    (f"{SWEEP} algo.gamma={'[' * 100_000}", r"algo.gamma must be a number, got '\[\[\["),
    (f"{SWEEP} algo.anneal_lr=True,x", r"algo.anneal_lr must be True or False, got 'x'"),
    (f"{SWEEP} algo.hidden=[64],[0]", r"algo.hidden must be a tuple of positive layer sizes, got \(0,\)"),
    (f"{SWEEP} algo.gamma=0.9 algo.gamma=0.99", r"search: algo.gamma stands there twice; list all its values once"),
    (f"{SWEEP} bonus.coef=1", r"bonus.coef: there is no bonus"),
    (f"{SWEEP} env.gravity=low", r"env.gravity must be a number, got 'low'"),
    (f"{SWEEP} 'algo.gamma=normal(0,1)'", r"search: unknown value 'normal'; did you mean uniform or loguniform"),
    (f"{SWEEP} 'algo.gamma=unifrom(0,1)' --samples 3", r"search: unknown value 'unifrom'; did you mean uniform"),
    (f"{SWEEP} 'algo.gamma=uniform(0.9)' --samples 3", r"search: uniform takes a low and a high end, got '0.9'"),
    (f"{SWEEP} 'algo.gamma=uniform(1,0)' --samples 3", r"Uniform needs low < high, .* got 1 and 0"),
    (f"{SWEEP} 'algo.gamma=choice()' --samples 3", r"Choice.values must have 1 to .* values, got 0"),
    (f"{SWEEP} 'algo.gamma=uniform(0.9,0.99)'", r"samples: search has distributions: say how many to draw"),
    (f"{SWEEP} 'algo.gamma=uniform(0,1)' --samples 1000000000", r"samples must be <= 1000000, got 1000000000"),
    (f"{SWEEP} algo.gamma=0.9 --samples 3", r"samples: search is a grid, without draws, got 3"),
    (f"{SWEEP} algo.gamma=0.9 --seeds 0", r"seeds must be >= 1, got 0"),
    (f"{SWEEP} algo.gamma=0.9 --seeds 1000000000", r"seeds must be <= 1000000, got 1000000000"),
    (f"{SWEEP} algo.gamma=0.9 --rungs 0.5 0.2", r"rungs must grow, got 0.2 after 0.5"),
    (f"{SWEEP} algo.gamma=0.9 --keep nan", r"keep must be finite, got nan"),
    (f"{SWEEP} algo.gamma=0.9 --memory-gb -1", r"memory_gb must be finite and > 0, got -1"),
    (f"{SWEEP} algo.gamma=0.9 --sampler random", r"--sampler.*random|random.*--sampler"),
    (f"{SWEEP} algo.gamma=0.9 --on moon", r"--on.*moon|moon.*--on"),
    (f"{SWEEP} algo.gamma=0.9 --on local --out x --workers 0", r"workers must be >= 1, got 0"),
    (f"{SWEEP} algo.gamma=0.9 --workers 8", r"workers is of no use without on: give --on, too, or leave it out"),
    (f"{SWEEP} algo.gamma=0.9 --batch 8", r"batch is of no use without sampler"),
    (f"{SWEEP} algo.gamma=0.9 --keep 0.5", r"keep is of no use without rungs"),
    (f"{SWEEP} algo.gamma=0.9 --search-seed 1", r"search_seed is of no use without samples"),
    (f"{SWEEP} algo.gamma=0.9 --visits", r"visits: the environment has no discretised state"),
    ("sweep --env CartPol-v1 --search algo.gamma=0.9", r"env: unknown value 'CartPol-v1'; did you mean CartPole-v1"),
    (f"{SWEEP} algo.gamma=0.9 --out file", r"out: file is a file; give a folder"),
    (f"{SWEEP} algo.gamma=0.9 --out file/x", r"out: file/x cannot be made: .*file is no folder"),
    ("sweep absent.toml", r"absent.toml cannot be read: No such file"),
    ("sweep 'a\0.toml'", r"the file: 'a\\x00.toml' is no path that can be used"),
    # --- what is made of runs
    ("eval", r"RUN|run"),
    ("eval nowhere", r"nowhere is not a run's folder: it has no readable config.json"),
    ("eval file", r"file is not a run's folder: it has no readable config.json"),
    ("eval 'a\0b'", r"run: 'a\\x00b' is no path that can be used: embedded null"),
    ("eval full --episodes 0", r"episodes must be >= 1, got 0"),
    ("eval full --seed -1", r"seed must be >= 0, got -1"),
    ("eval full --episodes many", r"--episodes.*many|many.*--episodes"),
    ("eval full --seed 100000000000", r"seed must be <= 2147483647, got 100000000000"),
    ("eval full --gif x.mp4", r"gif: x.mp4 must end in .gif, the only format there is"),
    ("eval full --gif file/x.gif", r"gif: file/x.gif cannot be made: .*file is no folder"),
    ("report", r"runs: name at least one run's folder|RUNS"),
    ("report nowhere", r"nowhere is not a run's folder: it has no readable config.json"),
    ("report full --out full", r"out: full is a folder; name the page, such as full/report.html"),
    ("report full --out file/x.html", r"out: file/x.html cannot be made: .*file is no folder"),
    ("report full 'a\0b'", r"runs: 'a\\x00b' is no path that can be used"),
    ("report nowhere nowhere", r"runs: nowhere stands there twice; name each run once"),
    ("report full --outt x", r"^purejaxrl: --outt is no setting; did you mean --out\?$"),
    ("report full --ouput=x", r"^purejaxrl: --ouput is no setting; did you mean --out\?$"),
    ("report full --no-flims", r"--no-flims is no setting; did you mean --no-films"),
    ("report full --env.size 3", r"^purejaxrl: --env.size is no setting; `purejaxrl report --help` lists them$"),
    ("eval full --episode 3", r"^purejaxrl: --episode is no setting; did you mean --episodes\?$"),
    (
        "resume full --total-steps abc",
        r"Error parsing --total-steps: write a whole number, such as 64 or 1e6, not 'abc'",
    ),
    (f"{CARTPOLE} --gama 1", r"--gama is no setting; did you mean --algo.gamma"),
    (f"{CARTPOLE} --alg.gamma 1", r"--alg.gamma is no setting; did you mean --algo.gamma\?$"),
    (
        f"{SWEEP} algo.gamma=0.9 --memory-gb much",
        r"Error parsing --memory-gb: write a number, such as 0.5 .* not 'much'",
    ),
    (f"{SWEEP} algo.gamma=0.9 --on=slrum", r"^purejaxrl: --on: unknown value 'slrum'; did you mean slurm\?$"),
    (f"{CARTPOLE} --log jsonl csv", r"^purejaxrl: --log: unknown value 'csv'; choose from jsonl, tensorboard, trackio"),
    ("bench deepsea --out x --metod counts", r"--metod is no setting; did you mean --method"),
    ("diagnose DeepSea-bsuite --env.sise 4", r"--env.sise is no setting; did you mean --env.size"),
    ("list nothing", r"^purejaxrl: what: unknown value 'nothing'; choose from algos, bonuses, envs$"),
    ("list envz", r"^purejaxrl: what: unknown value 'envz'; did you mean envs\?$"),
    ("list None", r"what: unknown value 'None'"),
    ("list envs --source gym", r"env: the prefix: unknown value 'gym'; did you mean gymnasium"),
    ("list envs --source ''", r"env: the prefix: unknown value ''; choose from brax"),
    # --- benchmarks
    ("bench", r"exploration"),
    ("bench deepsee --out x", r"deepsee"),
    ("bench deepsea", r"--out"),
    ("bench deepsea --out x --sizes 1", r"size must be >= 2, got 1"),
    ("bench deepsea --out x --sizes 1000000", r"size must be <= 1000, got 1000000"),
    ("bench deepsea --out x --sizes", r"sizes: name at least one|--sizes"),
    ("bench deepsea --out x --method hyperagnet", r"method: unknown value 'hyperagnet'; did you mean hyperagent"),
    ("bench deepsea --out x --seeds 1000000000", r"seeds must be <= 1000, got 1000000000"),
    ("bench deepsea --out x --episodes 0", r"episodes must be >= 1, got 0"),
    ("bench deepsea --out full", r"out: full exists and is no benchmark's folder; give another one"),
    ("bench deepsea --out file/x", r"out: file/x cannot be made: .*file is no folder"),
    ("bench minigrid --out x --tasks MiniGrid-DoorKey-9x9-v0", r"tasks: unknown value .*did you mean MiniGrid-DoorKey"),
    ("bench exploration --out x --suite tiny", r"--suite.*tiny|tiny.*--suite"),
    ("bench exploration --out x --methods count", r"methods: unknown value 'count'; did you mean counts"),
    ("bench exploration --out x --seeds 0", r"seeds must be >= 1, got 0"),
    ("bench speed --out x --works ppo-5", r"works: unknown value 'ppo-5'; did you mean ppo-"),
    ("bench speed --out x --rounds 0", r"rounds must be >= 1, got 0"),
    ("bench speed --out x --at-least nan", r"at_least must be finite, got nan"),
    ("bench speed --out x --checkout full", r"checkout full has no purejaxrl/ppo.py: give a clone"),
    ("bench profile --env CartPole-v1 --num-envs 0", r"num_envs must be >= 1, got 0"),
    ("bench profile --env CartPole-v1 --num-envs 1000000", r"num_envs must be <= 7,812 for .* got 1,000,000"),
    (
        "bench profile --env CartPole-v1 --bonus rnd --num-envs 8000 --bonus.warmup-steps 0",
        r"num_envs must be <= 7,812 for an update of 128 steps",
    ),
    (
        "bench profile --env CartPole-v1 --bonus rnd --num-envs 7800 --bonus.warmup-steps 1000",
        r"num_envs must be <= 7,744 for an update of 128 steps .* or lower algo.num_steps",
    ),
    ("bench profile --env CartPole-v1 --updates 0", r"updates must be >= 1, got 0"),
    ("bench profile --env CartPole-v1 --algo.gamma 2", r"algo.gamma must be finite and >= 0 and <= 1, got 2"),
]
FILES = [
    ("env = ", r"bad.toml is not TOML"),
    (
        'env = "DeepSea-bsuite"\nenv.size = 4',
        r'bad.toml is not TOML: .*put names with a dot in quotes, "env.size" = 20',
    ),
    ("a = " + "[" * 100_000, r"bad.toml is not TOML"),
    (
        'env = "CartPole-v1"\n[algo]\nhidden = [[8], [9]]',
        r"bad.toml: algo.hidden must be a value or some; a search stands in the table",
    ),
    (
        'env = "CartPole-v1"\nseed_s = 3\n[search]\n"algo.gamma" = [0.9]',
        r"bad.toml: seed_s is no setting; did you mean seeds",
    ),
    (
        'env = "CartPole-v1"\n[algo]\nhiden = 8\n[search]\n"algo.gamma" = [0.9]',
        r"bad.toml: algo.hiden is no setting; did you mean algo.hidden\?$",
    ),
    ('env = "CartPole-v1"\nseeds = 1.5\n[search]\n"algo.gamma" = [0.9]', r"--seeds.*1.5|1.5.*--seeds"),
    ('env = "CartPole-v1"\n"" = 3\n[search]\n"algo.gamma" = [0.9]', r"bad.toml: '' is no flag's name"),
    ('env = "CartPole-v1"\n"x y" = 3\n[search]\n"algo.gamma" = [0.9]', r"bad.toml: 'x y' is no flag's name"),
    ('env = ["CartPole-v1", ["x"]]\n[search]\n"algo.gamma" = [0.9]', r"bad.toml: env must be a value or some"),
    ('env = "CartPol"\n[search]\n"algo.gamma" = [0.9]', r"env: unknown value 'CartPol'; did you mean CartPole-v1"),
    (
        'env = "CartPole-v1"\n[search]\n"algo.gamma" = "normal(0, 1)"',
        r"search: unknown value 'normal'; did you mean uniform or loguniform",
    ),
    ('env = "CartPole-v1"\n[search]\n"algo.gamma" = 2020-01-01', r"algo.gamma must be a number, got '2020-01-01'"),
    ('env = "CartPole-v1"\n[search]\n"algo.gamma" = [nan]', r"algo.gamma must be finite .* got nan"),
    ('env = "CartPole-v1"\n[search]\n"algo.gamma" = []', r"search: 'algo.gamma=' is none; write"),
    ('env = "CartPole-v1"\n[search]\n"algo.gamma" = {a = 1}', r"algo.gamma.a: algo.gamma has no fields of its own"),
    ('env = "CartPole-v1"\n[search]\n"algo.gamma" = [true]', r"algo.gamma must be a number, got True"),
]


def said(capsys):
    """What a command has said of its error, without the frame that the parser draws around it."""
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert not shown.out
    return " ".join("".join(" " if mark in "│╭╮╰╯─" else mark for mark in shown.err).split())


def name(row):
    return row[0][:60].encode("ascii", "backslashreplace").decode().replace("\0", "NUL")


@pytest.mark.parametrize(("command", "message"), COMMANDS, ids=map(name, COMMANDS))
def test_on_the_command_line(command, message, capsys):
    assert main(*shlex.split(command)) == 2
    assert re.search(message, said(capsys))


@pytest.mark.parametrize(("content", "message"), FILES, ids=map(name, FILES))
def test_in_a_file(content, message, folder, capsys):
    path = folder / "bad.toml"
    path.write_text(content)
    assert main("sweep", "bad.toml") == 2
    path.unlink()
    assert re.search(message, said(capsys))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train --env CartPole", "env: unknown value 'CartPole'; did you mean CartPole-v1"),
        ("train --env CartPole-v1 --algo.gamma 2", "algo.gamma must be finite and >= 0 and <= 1, got 2"),
        ("sweep --env CartPole-v1 --search algo.gamma=0.9 --out file/x", "out: file/x cannot be made"),
        ("eval nowhere", "nowhere is not a run's folder: it has no readable config.json"),
        ("bench deepsea --out x --sizes 1", "size must be >= 2, got 1"),
    ],
)
def test_in_a_process(command, message):
    """Exit code, streams and seconds as a user has them; their own seconds, since machines may be busy."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "purejaxrl", *shlex.split(command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    after = os.times()
    assert done.returncode == 2
    assert f"purejaxrl: {message}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert after.children_user + after.children_system - before.children_user - before.children_system < 5


def test_there_are_many():
    """A row that is lost, by a comma that is missing, would not fail."""
    assert len(PYTHON) + len(COMMANDS) + len(FILES) >= 150
    assert len({row[0] for row in PYTHON}) == len(PYTHON)
