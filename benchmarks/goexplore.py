"""Go-Explore: steps until exploration finds what pays, and until a policy learned from it succeeds by itself.

    python benchmarks/goexplore.py deepsea                # sizes 10 to 50, 20 seeds as lanes of one program each
    python benchmarks/goexplore.py minigrid               # a level per seed, which its states restore
    python benchmarks/goexplore.py policy                 # the backward algorithm with PPO, from the true start

Exploration returns to environment states, and the backward algorithm starts episodes in them: privileged resets, which
no method of `purejaxrl bench deepsea` has. These rows do not belong beside theirs. Seeds are 0 to 19; the settings were
chosen on others. Steps are counted over all explorers, at the end of the round in which the first of them was paid.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import purejaxrl
from purejaxrl import envs
from purejaxrl.algos import PPO
from purejaxrl.demonstrations import BackwardResets, demonstrate
from purejaxrl.envs.minigrid import objects
from purejaxrl.goexplore import GoExplore, hashed, make_explore

SIZES = (10, 20, 30, 40, 50)
# The number of hashed cells, and PPO's updates.
TASKS = {"MiniGrid-DoorKey-8x8-v0": (2**13, 40), "MiniGrid-KeyCorridorS3R3-v0": (2**16, 80)}
FIND = "| task | found | steps: median [least, most] | cells kept | seconds, all seeds |\n|---|---|---|---|---|"
LEARN = (
    "| task | demonstration | start moved back | steps until then: median [least, most] | solved from the true start "
    "| seconds, all seeds |\n|---|---|---|---|---|---|"
)


def lanes(seeds):
    return jax.vmap(jax.random.key)(jnp.arange(seeds))


def situation(state):
    """Where an agent of MiniGrid is and looks, what it carries, and the doors."""
    doors = jnp.where(objects.is_kind(state.grid, objects.DOOR), state.grid, 0)
    return state.y, state.x, state.direction, state.carrying, doors


def sea(size):
    """DeepSea and an exploration of it."""
    env, _ = purejaxrl.make("BsuiteDeepSea-v0", size=size)
    env = envs.IndexObservation(env)
    settings, total_steps = GoExplore(repeat=0.0, explore_steps=8), 2000 * size + size**4 // 5
    return env, make_explore(env, settings, cells=env.cells()[:2], num_envs=16, total_steps=total_steps)


def grid(task, *, fixed=False):
    """A task of MiniGrid, with the same level in every episode where `fixed`, and an exploration of it."""
    env, _ = purejaxrl.make(task, observation="one_hot", direction=True)
    features = situation
    if fixed:
        env = envs.FlattenObservation(envs.FixedLayouts(env))
        features = lambda state: situation(state.env_state.env_state)  # noqa: E731
    settings = GoExplore(repeat=0.0, explore_steps=32)
    cells = hashed(features, TASKS[task][0])
    return env, make_explore(env, settings, cells=cells, num_envs=64, total_steps=1_000_000)


def find(name, explore, seeds, pays):
    """Explore with all seeds at once; `pays` is a score that nothing but success has."""
    program = jax.jit(jax.vmap(explore)).lower(lanes(seeds)).compile()
    start = time.perf_counter()
    metrics = jax.tree.map(np.asarray, program(lanes(seeds)).metrics)
    seconds = time.perf_counter() - start
    good = metrics["best_score"] > pays
    steps = metrics["env_steps"][np.arange(seeds), good.argmax(1)]
    shown = spread(np.where(good.any(1), steps, np.inf))
    kept = metrics["cells"][:, -1].mean()
    print(f"| {name} | {good.any(1).sum()} of {seeds} | {shown} | {kept:,.0f} | {seconds:.0f} |", flush=True)


def learn(name, env, explore, learner, seeds, num_envs, num_updates, slack):
    """One demonstration, and PPO from its end to its start with all seeds at once."""
    state, _ = jax.jit(explore)(jax.random.key(0))
    way = demonstrate(explore, state)
    resets = BackwardResets(way.states, way.obs, way.returns_to_go, slack=slack)
    total_steps = num_envs * learner.num_steps * num_updates
    train = purejaxrl.make_train(env, learner, num_envs=num_envs, total_steps=total_steps, resets=resets)

    def run(key):
        def update(state, _):
            state, _ = train.advance(state, 1)
            return state, (state.resets.start, state.env_steps)

        state, (starts, steps) = jax.lax.scan(update, train.init(key), length=train.num_updates)
        limit = env.default_params.max_steps_in_episode
        judged = purejaxrl.evaluate(env, learner, state, jax.random.fold_in(key, 1), 1, max_steps=limit)
        return starts, steps, judged.episode_return[0]

    program = jax.jit(jax.vmap(run)).lower(lanes(seeds)).compile()
    begin = time.perf_counter()
    starts, steps, score = map(np.asarray, program(lanes(seeds)))
    seconds, back = time.perf_counter() - begin, starts == 0
    when = np.where(back.any(1), steps[np.arange(seeds), back.argmax(1)], np.inf)
    wanted = float(way.returns_to_go[0])
    done = f"{back.any(1).sum()} of {seeds} | {spread(when)} | {(score >= wanted - slack - 1e-4).sum()} of {seeds}"
    print(f"| {name} | {len(way.actions)} steps, {wanted:.2f} | {done} | {seconds:.0f} |", flush=True)


def spread(steps):
    least, median, most = np.min(steps), np.median(steps), np.max(steps)
    return f"{median:,.0f} [{least:,.0f}, {most:,.0f}]"


def main():
    parser = argparse.ArgumentParser(description="Measure Go-Explore; print a table.")
    parser.add_argument("what", choices=("deepsea", "minigrid", "policy"))
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    print(LEARN if args.what == "policy" else FIND, flush=True)
    if args.what == "deepsea":
        for size in args.sizes:
            find(f"DeepSea, size {size}", sea(size)[1], args.seeds, 0.5)
    if args.what == "minigrid":
        for task in args.tasks:
            find(task, grid(task)[1], args.seeds, 0.0)
    if args.what == "policy":
        for size in args.sizes:
            learner = PPO(num_steps=2 * size, learning_rate=1e-3, anneal_lr=False, hidden=(64,))
            learn(f"DeepSea, size {size}", *sea(size), learner, args.seeds, 16, 100, 1e-4)
        for task in args.tasks:
            learner = PPO(num_steps=128, num_minibatches=8, learning_rate=1e-3, gamma=0.99, anneal_lr=False)
            learn(task, *grid(task, fixed=True), learner, args.seeds, 64, TASKS[task][1], 0.2)


if __name__ == "__main__":
    main()
