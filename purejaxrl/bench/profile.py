"""Where the time of training goes, part by part.

The rollout and what is in it, the bonus and the learner's update are compiled as programs of their own and timed: what
is left of a whole update is the last row. How the learner's update divides is read from XLA's profiler, which times
each operation of a program, and from the operations' metadata, which says what `jax.named_scope` they come from. An
operation's time is without the operations within it, and without what tracing it costs; operations that XLA fuses
across two parts count for the part of the last of them. The rollout is not traced: its operations are so small that
tracing one takes longer than it does.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pandas as pd
from rich.table import Table

from purejaxrl import intrinsic, stepping
from purejaxrl.progress import Progress
from purejaxrl.train import Train
from purejaxrl.types import Array, SettingError, check_int

WITHIN_LEARNER = {
    "targets": "returns, advantages, values of next observations",
    "replay": "writing to the replay memory and drawing from it",
    "bonus": "the bonus of what was drawn",
    "minibatches": "shuffles, gathering minibatches",
    "gradient": "losses and their gradients",
    "optimiser": "the optimiser's steps",
    "rest": "standardising, target networks, the loop",
}
ROUNDS = 7


class Operation(NamedTuple):
    part: str
    flops: float  # of matrix products, each time it runs


@dataclasses.dataclass
class Timing:
    nanoseconds: float = 0.0  # without the operations within it
    count: int = 0
    within: int = 0  # operations that ran directly within it, all times together


class Profile(NamedTuple):
    parts: pd.DataFrame  # part, milliseconds of one update, share of it, gigaflops (of matrix products) or NaN, what
    seconds: float  # of one update
    env_steps: int  # of one update
    peak_flops: float  # per second, of a large matrix product


def profile(train: Train, progress: Progress, *, updates: int = 4, key: Array | None = None) -> Profile:
    """Train for some updates, then time `updates` more of them, and as many times each part.

    Raises:
      SettingError: when XLA's profiler reports no operations here.
    """
    check_int(updates, "updates", ge=1)
    key = jax.random.key(0) if key is None else key
    with progress.phase("compiling the start"):
        state = jax.block_until_ready(jax.jit(train.init)(key))
    with progress.phase("compiling the training"):
        advance = jax.jit(train.advance, static_argnums=1).lower(state, updates).compile()
        state, _ = jax.block_until_ready(advance(state))
        _, (batch, _) = jax.jit(functools.partial(_rollout, train))((state, None), key)
    inputs = (state, batch), key, jnp.ones((), bool)
    calls: dict[str, Any] = {"whole": lambda: advance(state)}
    tracing: Any = {"xla_cpu_enable_xprof_traceme": True} if jax.default_backend() == "cpu" else None
    lowered = {}
    for name, function in _programs(train).items():
        with progress.phase(f"compiling the {name}"):
            lowered[name] = jax.jit(functools.partial(_repeated, function, updates)).lower(*inputs)
            calls[name] = functools.partial(lowered[name].compile(), *inputs)
    with progress.phase("compiling the learner, to be traced"):
        learner = lowered["learner"].compile(compiler_options=tracing)
    with progress.phase("timing"):
        found = {name: [_seconds(call)] for name, call in calls.items()}
        for _ in range(ROUNDS):  # in turns, since machines are noisy
            for name, call in calls.items():
                found[name].append(_seconds(call))
        seconds = {name: statistics.median(some[1:]) / updates for name, some in found.items()}
        within = _within(learner, inputs, updates)
    rows = _rows(seconds, within)
    return Profile(rows, seconds["whole"], train.spec.num_envs * train.spec.num_steps, peak_flops())


def _programs(train: Train) -> dict[str, Callable[[Any, Array], Any]]:
    """What an update consists of, each ``((state, batch), key) -> anything``."""
    learner, bonus, step = train.learner, train.bonus, functools.partial(stepping.step, train.env, train.env_params)

    def policy(inputs, key):
        state, batch = inputs

        def act(actor, step):
            actor, *chosen = learner.act(state.learner, actor, *step)
            return actor, chosen

        keys = jax.random.split(key, train.spec.num_steps)
        return jax.lax.scan(act, state.actor, (keys, batch.obs, batch.first, batch.mask))

    def environment(inputs, key):
        state, batch = inputs
        _, keys, _ = train._keys(key, train.spec.num_steps)

        def stepped(env_state, inputs):
            obs, env_state, *rest = jax.vmap(step)(inputs[0], env_state, inputs[1])
            return env_state, (obs, rest)

        return jax.lax.scan(stepped, state.env, (keys, batch.action))

    def resets(inputs, key):
        state, batch = inputs
        _, *keys = train._keys(key, train.spec.num_steps)

        def stepped(state, inputs):
            env_keys, reset_key, action = inputs
            state, *recorded = train._env_step(state, env_keys, reset_key, action, None)
            return state, recorded

        return jax.lax.scan(stepped, state, (*keys, batch.action))

    def explore(inputs, key):
        state, batch = inputs
        plain = train._plain(batch)
        raw = bonus.reward(state.bonus, plain, batch.memo)
        scale = intrinsic.update(bonus, state.bonus_scale, raw, state.env_steps)
        weighed = intrinsic.weigh(bonus, scale, raw, state.env_steps)
        return bonus.update(state.bonus, key, plain.replace(bonus=weighed))

    def learn(inputs, key):
        state, batch = inputs
        reward_fn = functools.partial(train._weighed, state.bonus, state.bonus_scale, state.env_steps)
        batch = batch if bonus is None else batch.replace(bonus=batch.reward)
        return learner.update(state.learner, key, batch, state.actor, reward_fn)

    programs = {"rollout": functools.partial(_rollout, train), "policy": policy, "environment": environment}
    programs |= {"resets": resets, "learner": learn}
    return programs | ({} if bonus is None else {"bonus": explore})


def _rollout(train: Train, inputs: Any, key: Array) -> Any:
    return jax.lax.scan(train._step, inputs[0], train._keys(key, train.spec.num_steps))


def _repeated(function: Callable[[Any, Array], Any], times: int, inputs: Any, key: Array, same: Array) -> Any:
    """What the function returns, done so many times.

    `same` is true, which the compiler must not know: what is the same in each turn it would do only once.
    """

    def once(carry, key):
        _, (state, batch) = carry
        batch = jax.tree.map(lambda x: x.at[0].set(jnp.where(same, x[0], x[-1])), batch)
        return (function((state, batch), key), (state, batch)), None

    shapes = jax.eval_shape(function, inputs, key)
    start = jax.tree.map(_empty, shapes), inputs
    return jax.lax.scan(once, start, jax.random.split(key, times))[0][0]


def _empty(leaf: Any) -> Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), leaf.shape or 1).reshape(leaf.shape)
    return jnp.zeros(leaf.shape, leaf.dtype)


def _seconds(function: Callable[..., Any], *inputs: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*inputs))
    return time.perf_counter() - start


def _rows(seconds: dict[str, float], within: pd.DataFrame) -> pd.DataFrame:
    """The table: parts, and indented what they consist of."""
    left = {name: max(value, 0.0) for name, value in _differences(seconds).items()}
    rows = [("rollout", seconds["rollout"], math.nan, "acting, stepping, storing")]
    rows += [
        ("  policy", seconds["policy"], math.nan, "the learner's choice of actions"),
        ("  environment", seconds["environment"], math.nan, "stepping the environments"),
        ("  reset", left["reset"], math.nan, "new episodes, counting them"),
        ("  rest", left["rollout"], math.nan, "keys, storing transitions, what the bonus notes at each step"),
    ]
    if "bonus" in seconds:
        rows.append(("bonus", seconds["bonus"], math.nan, "its rewards and its own learning"))
    rows.append(("learner", seconds["learner"], sum(within["gigaflops"].tolist()), "the learner's update"))
    for row in within.to_dict("records"):
        share = row["share"] * seconds["learner"]
        rows.append((f"  {row['part']}", share, row["gigaflops"] or math.nan, WITHIN_LEARNER[row["part"]]))
    rows.append(("rest", left["whole"], math.nan, "metrics, visits, the loop"))
    table = pd.DataFrame(rows, columns=["part", "milliseconds", "gigaflops", "what"])
    table["milliseconds"] *= 1e3
    table.insert(2, "share", table["milliseconds"] / (1e3 * seconds["whole"]))
    return table


def _differences(seconds: dict[str, float]) -> dict[str, float]:
    parts = seconds["rollout"] + seconds["learner"] + seconds.get("bonus", 0.0)
    return {
        "reset": seconds["resets"] - seconds["environment"],
        "rollout": seconds["rollout"] - seconds["policy"] - seconds["resets"],
        "whole": seconds["whole"] - parts,
    }


def _within(program: Any, inputs: tuple[Any, ...], updates: int) -> pd.DataFrame:
    """How the learner's update divides: each part's share of its time, and its gigaflops."""
    plain = min(_seconds(program, *inputs) for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        settings = jax.profiler.ProfileOptions()
        settings.python_tracer_level = 0
        with jax.profiler.trace(folder, profiler_options=settings):
            traced = _seconds(program, *inputs)
        timings = _timings(Path(folder))
    if not timings:
        raise SettingError(f"bench profile: XLA's profiler reports no operations on {jax.default_backend()}")
    known = operations(program.as_text())
    # Half of what tracing an operation costs falls into its own time, half into that of what is around it.
    half = max(traced - plain, 0.0) * 1e9 / sum(timing.count for timing in timings.values()) / 2
    table = pd.DataFrame(0.0, index=list(WITHIN_LEARNER), columns=["share", "gigaflops"])
    for name, timing in timings.items():
        part, flops = known.get(name, Operation("rest", 0.0))
        table.loc[part, "share"] += max(timing.nanoseconds - half * (timing.count + timing.within), 0.0)
        table.loc[part, "gigaflops"] += flops * timing.count
    table["share"] /= table["share"].sum()
    table["gigaflops"] /= 1e9 * updates
    return table.loc[table["share"] > 0].rename_axis("part").reset_index()


def _timings(folder: Path) -> dict[str, Timing]:
    """What a trace says of each operation."""
    from jax.profiler import ProfileData

    timings: dict[str, Timing] = collections.defaultdict(Timing)
    for path in folder.rglob("*.xplane.pb"):
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                events = [
                    (event.start_ns, -event.duration_ns, value)
                    for event in line.events
                    for name, value in event.stats
                    if name == "hlo_op"
                ]
                around: list[tuple[float, Timing]] = []  # until when, the innermost last
                for start, negative, name in sorted(events):
                    while around and around[-1][0] <= start:
                        around.pop()
                    if around:
                        around[-1][1].nanoseconds += negative
                        around[-1][1].within += 1
                    around.append((start - negative, timings[name]))
                    timings[name].nanoseconds -= negative
                    timings[name].count += 1
    return timings


def operations(text: str) -> dict[str, Operation]:
    """The operations of a compiled program's text, by name.

    The part is that of the operation's scope; where it has none, that of the loop whose body it is in.
    """
    computation, kind, inside, scope, shape, caller = "", {}, {}, {}, {}, {}
    flops: dict[str, float] = collections.defaultdict(float)
    products: list[tuple[str, str, str]] = []  # name, left operand, its contracted axes
    for line in text.splitlines():
        if begins := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            computation = begins[1]
        elif found := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)", line):
            name, shape_of, kind_of, rest = found.groups()
            inside[name], shape[name], kind[name] = computation, shape_of, kind_of
            scope[name] = "".join(re.findall(r'op_name="([^"]*)"', rest)[:1])
            caller |= dict.fromkeys(re.findall(r"(?:body|calls|condition)=%?([\w.\-]+)", rest), name)
            if kind_of == "dot":
                (left, *_), (axes, *_) = (
                    re.findall(r"%([\w.\-]+)", rest),
                    re.findall(r"lhs_contracting_dims=\{(.*?)\}", rest),
                )
                products.append((name, left, axes))

    def part(name: str) -> str:
        known = [piece for piece in re.split(r"[/()]", scope[name]) if piece in WITHIN_LEARNER]
        if known:
            return "bonus" if "bonus" in known else known[-1]
        outer = caller.get(inside[name])
        return part(outer) if outer else "rest"

    for name, left, axes in products:
        size = _lengths(shape[left])
        outer = caller.get(inside[name], name)
        contracted = math.prod(size[int(axis)] for axis in axes.split(",") if axis)
        flops[outer if kind[outer] == "fusion" else name] += 2.0 * math.prod(_lengths(shape[name])) * contracted
    return {name: Operation(part(name), flops[name]) for name in inside}


def _lengths(shape: str) -> list[int]:
    """Of "f32[128,64]{1,0}" the 128 and 64."""
    found = re.match(r"\w+\[([\d,]*)\]", shape)
    return [int(length) for length in found[1].split(",") if length] if found else []


def peak_flops(size: int = 2048) -> float:
    """Operations per second of a large matrix product."""
    x = jnp.ones((size, size))
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(x))
    return 2.0 * size**3 / min(_seconds(product, x) for _ in range(5))


def table(found: Profile) -> Table:
    """The parts, for a terminal. The floor is what a large matrix product takes for as many operations."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("part", "ms", "share", "floor ms", ""):
        table.add_column(title, justify="left" if title in ("part", "") else "right", no_wrap=bool(title))
    for row in found.parts.to_dict("records"):
        floor = 1e12 * row["gigaflops"] / found.peak_flops
        cells = [
            f"{row['milliseconds']:.3f}",
            f"{100 * row['share']:.0f} %",
            "" if math.isnan(floor) else f"{floor:.3f}",
        ]
        table.add_row(row["part"], *cells, row["what"])
    return table


def notes(found: Profile) -> list[str]:
    """What stands below the table."""
    speed = f"{found.env_steps / found.seconds:,.0f} environment steps per second"
    peak = f"{found.peak_flops / 1e9:,.0f} GFLOP/s"
    return [
        f"an update of {found.env_steps:,} steps takes {1e3 * found.seconds:.3f} ms: {speed}",
        f"floor: what the matrix products of a part take at the {peak} that a large one reaches here",
    ]
