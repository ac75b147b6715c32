"""PPO on CartPole on one device: its steps per second by envs, width and runs at once; a roofline of its gradient.

    python benchmarks/scaling.py                     # some minutes; nothing else should use the device
    python benchmarks/scaling.py --out docs/images   # where scaling.png and roofline.png go

128 steps of each env, four epochs of four minibatches, tanh. All programs of a picture are compiled first; then they
take turns, a quarter of a second each, `--rounds` times. The fastest turn is drawn, since what else a machine does only
slows them; a band reaches down to the median.

The roofline has two ceilings, measured in the same process: what a product of two 2048 × 2048 float32 matrices reaches,
and the bytes read and written by copying 1 GiB, over and over. A dot is the gradient of PPO's loss on one minibatch,
as `minibatches` computes it. FLOPs are those of the matrix products in the compiled program. Bytes are counted, the
fewest that have to move if nothing stays in a cache: the minibatch and the parameters are read, the gradient is
written, and what each hidden layer puts out is written once and read once again. A thin line leads from a dot to where
it would be with all bytes that the compiled program's operations read and write (XLA's `cost_analysis`).
"""

import argparse
import functools
import statistics
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

import purejaxrl
from purejaxrl import minibatches
from purejaxrl.algos import PPO
from purejaxrl.algos.ppo import Minibatch, ppo_loss
from purejaxrl.bench import profile
from purejaxrl.report import STYLE

NUM_STEPS, SECONDS, COPIED = 128, 0.25, 2**30
PANELS = {  # the axis, and what each value of it means: (envs, hidden size, runs)
    "environments": {envs: (envs, 64, 1) for envs in (4, 16, 64, 256, 1024, 4096)},
    "width of both hidden layers": {width: (64, width, 1) for width in (32, 64, 128, 256, 512)},
    "runs at once": {lanes: (4, 64, lanes) for lanes in (1, 2, 4, 8, 16, 32)},
}
TITLES = ("one run, 64-64 networks", "one run, 64 environments", "runs of 4 environments, 64-64")
WIDTHS, SAMPLES = (64, 128, 256, 512), (128, 512, 2048, 8192, 32_768)
DARK, COLOURS = "#08306b", ("#08306b", "#2171b5", "#41b6c4", "#fd8d3c")


def seconds_of(function, *inputs):
    start = time.perf_counter()
    jax.block_until_ready(function(*inputs))
    return time.perf_counter() - start


def taking_turns(programs, rounds):
    """Seconds of one repetition of each ``(function of a number of repetitions)``, a list of `rounds` of them."""
    counts, found = {}, {name: [] for name in programs}
    for name, program in programs.items():
        once = min(seconds_of(program, 1) for _ in range(2))
        once = seconds_of(program, more := max(int(SECONDS / 10 / once), 1)) / more
        counts[name] = max(int(SECONDS / once), 1)
    for _ in range(rounds):
        for name, program in programs.items():
            found[name].append(seconds_of(program, counts[name]) / counts[name])
    return found


def training(num_envs, width, lanes):
    """A function of a number of updates, compiled."""
    env, env_params = purejaxrl.make("CartPole-v1")
    learner = PPO(num_steps=NUM_STEPS, num_epochs=4, num_minibatches=4, hidden=(width, width))
    steps = 1000 * num_envs * NUM_STEPS
    train = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=num_envs, total_steps=steps)
    states = jax.jit(jax.vmap(train.init))(jax.random.split(jax.random.key(0), lanes))

    @jax.jit
    def update(states, times):
        advance = jax.vmap(lambda state: train.advance(state, 1)[0])
        return jax.lax.fori_loop(0, times, lambda _, states: advance(states), states)

    return functools.partial(update.lower(states, 1).compile(), states)


def speeds(rounds):
    """Of each panel and each value on its axis the steps per second: of the fastest turn, and the median."""
    times = taking_turns({case: training(*case) for cases in PANELS.values() for case in cases.values()}, rounds)
    found = {}
    for axis, cases in PANELS.items():
        print(f"\n| {axis} | steps/s | median |\n|---|---|---|")
        found[axis] = {}
        for value, case in cases.items():
            num_envs, _, lanes = case
            steps, both = num_envs * NUM_STEPS * lanes, (min(times[case]), statistics.median(times[case]))
            found[axis][value] = tuple(steps / seconds for seconds in both)
            print(f"| {value} | {' | '.join(f'{speed:,.0f}' for speed in found[axis][value])} |", flush=True)
    return found


def gradient(width, samples):
    """A function of a number of gradient steps, compiled; FLOPs, the fewest bytes and the operations' bytes of one."""
    env, env_params = purejaxrl.make("CartPole-v1")
    learner = PPO(num_steps=NUM_STEPS, hidden=(width, width))
    train = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=64, total_steps=64 * NUM_STEPS)
    state, key = train.learner.init(jax.random.key(0), train.learner_spec), jax.random.key(1)
    vector, unflatten = ravel_pytree(state.params)
    column = jax.random.normal(key, (samples, 1))
    obs, action = jax.random.normal(key, (samples, 4)), jnp.zeros(samples, jnp.int32)
    batch = Minibatch(obs, action, None, -jnp.ones(samples), column, column, column[:, 0])

    def loss(vector, batch):
        def apply(params, obs, mask):
            return jax.vmap(state.network.apply, (None, 0))(params, obs)

        return ppo_loss(learner, unflatten(vector), apply, batch)

    def step(vector, part, batch):
        return vector - 1e-6 * minibatches._gradient(loss, vector, batch, part)[0]

    @jax.jit
    def steps(vector, batch, times):
        return jax.lax.fori_loop(0, times, lambda _, vector: step(vector, minibatches.PART, batch), vector)

    whole = jax.jit(functools.partial(step, part=None)).lower(vector, batch=batch).compile()
    flops = sum(operation.flops for operation in profile.operations(whole.as_text()).values())
    fewest = sum(leaf.nbytes for leaf in jax.tree.leaves(batch)) + 2 * vector.nbytes
    fewest += 2 * 4 * samples * 2 * sum(learner.hidden)  # of actor and critic, written and read
    compiled = steps.lower(vector, batch, 1).compile()
    return functools.partial(compiled, vector, batch), flops, fewest, whole.cost_analysis()["bytes accessed"]


def copied_bytes(times=3):
    """Bytes per second, read and written, of a large copy."""

    def copies(x, times):  # a number that is not known when it is compiled, or it would copy once
        return jax.lax.fori_loop(0, times, lambda _, x: -x, x)

    x, seconds = jnp.ones(COPIED // 4), []
    compiled = jax.jit(copies, donate_argnums=0).lower(x, times).compile()
    for _ in range(6):
        start = time.perf_counter()
        x = jax.block_until_ready(compiled(x, times))
        seconds.append(time.perf_counter() - start)
    return 2 * COPIED * times / min(seconds[1:])


def roofline(rounds):
    """The two ceilings, and of each width and number of samples FLOPs per byte (two ways) and FLOPs per second."""
    cases = {(width, samples): gradient(width, samples) for width in WIDTHS for samples in SAMPLES}
    ceilings = [(profile.peak_flops(), copied_bytes())]
    times = taking_turns({case: program for case, (program, *_) in cases.items()}, rounds)
    ceilings.append((profile.peak_flops(), copied_bytes()))
    peak, bandwidth = map(max, zip(*ceilings, strict=True))
    print(f"\nlarge product: {peak / 1e9:,.0f} GFLOP/s, large copy: {bandwidth / 1e9:,.1f} GB/s\n")
    print("| width | samples | µs | GFLOP/s | of the product's | FLOP/byte, fewest bytes | its operations' bytes |")
    print("|---" * 7 + "|")
    found = {}
    for (width, samples), (_, flops, *moved) in cases.items():
        seconds = min(times[width, samples])
        found[width, samples] = *(flops / count for count in moved), flops / seconds
        speed = f"{1e6 * seconds:,.0f} | {flops / seconds / 1e9:.1f} | {flops / seconds / peak:.2f}"
        print(f"| {width} | {samples} | {speed} | {flops / moved[0]:.1f} | {flops / moved[1]:.1f} |", flush=True)
    return peak, bandwidth, found


def draw_speeds(found):
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 3.7), layout="constrained")
        row = figure.subplots(1, len(found))
        for axes, title, (label, points) in zip(row, TITLES, found.items(), strict=True):
            values, (fastest, median) = list(points), zip(*points.values(), strict=True)
            axes.fill_between(values, median, fastest, color=DARK, alpha=0.2, linewidth=0)
            axes.plot(values, fastest, color=DARK, linewidth=2, marker="o", markersize=5)
            for value, speed in zip(values, fastest, strict=True):
                text = f"{speed / 1000:.0f}k"
                axes.annotate(text, (value, speed), (0, 8), textcoords="offset points", ha="center", fontsize=10)
            axes.set_xscale("log", base=2)
            axes.set_xticks(values, [f"{value}" for value in values])
            if max(fastest) > 10 * min(fastest):
                axes.set_yscale("log")
                axes.set_ylim(0.5 * min(median), 2 * max(fastest))
            else:
                axes.set_ylim(0, 1.15 * max(fastest))
            axes.yaxis.set_major_formatter(EngFormatter(sep=""))
            axes.margins(x=0.08)
            axes.set_title(title, fontsize=11)
            axes.set_xlabel(label)
        row[0].set_ylabel("environment steps per second")
        return figure


def draw_roofline(peak, bandwidth, found):
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.add_subplot()
        lowest = min(speed for *_, speed in found.values()) / 2
        left, right = lowest / bandwidth, 1.5 * max(fewest for fewest, *_ in found.values())
        axes.plot([left, peak / bandwidth, right], [lowest, peak, peak], color="#444444", linewidth=2)
        product, copy = f"a large product: {peak / 1e9:.0f} GFLOP/s", f"a large copy: {bandwidth / 1e9:.0f} GB/s"
        axes.annotate(product, (right, peak), (-4, 6), textcoords="offset points", ha="right")
        axes.annotate(copy, (1.2 * left, 1.2 * lowest), (12, 0), textcoords="offset points", va="center")
        for width, colour in zip(WIDTHS, COLOURS, strict=True):
            fewest, touched, speed = zip(*(found[width, samples] for samples in SAMPLES), strict=True)
            axes.hlines(speed, touched, fewest, color=colour, linewidth=0.8, alpha=0.5)
            axes.scatter(touched, speed, s=8, color=colour, alpha=0.5, linewidths=0)
            sizes = [18 * (1 + index) for index in range(len(SAMPLES))]
            axes.scatter(fewest, speed, s=sizes, color=colour, alpha=0.85, linewidths=0, label=f"{width}-{width}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left, right)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.set_ylim(lowest, 1.6 * peak)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(EngFormatter(sep=""))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("FLOPs of matrix products per byte")
        axes.set_ylabel("FLOPs of matrix products per second")
        few, many = f"{SAMPLES[0]:,}", f"{SAMPLES[-1]:,}"
        title = f"PPO's gradient, minibatches of {few} (small dots) to {many} samples (large)"
        axes.set_title(title, fontsize=11)
        axes.legend(frameon=False, loc="lower right", title="network")
        return figure


def main():
    parser = argparse.ArgumentParser(description="Measure how PPO's speed scales; print tables, write two pictures.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="of scaling.png and roofline.png")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    args.out.mkdir(parents=True, exist_ok=True)
    draw_speeds(speeds(args.rounds)).savefig(args.out / "scaling.png", dpi=130)
    draw_roofline(*roofline(args.rounds)).savefig(args.out / "roofline.png", dpi=130)


if __name__ == "__main__":
    main()
