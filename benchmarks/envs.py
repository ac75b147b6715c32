"""Environment steps per second under random actions: the environments here beside the same ones elsewhere, in one run.

    pip install minigrid navix xminigrid        # what is not there is left out
    python benchmarks/envs.py                   # about a quarter of an hour on 2 cores
    python benchmarks/envs.py --env MiniGrid-DoorKey-8x8-v0 --copies 1024

Rows of this library: steps alone, without any reset, and with the loop's resets. Rows of others have their own
auto-reset; navix shows its first-person symbolic view, xminigrid's has two numbers per tile and sees through walls,
minigrid runs in gymnasium's SyncVectorEnv, of at most 64 copies since more of them step no faster. All programs of a
block are compiled first and then take turns; a row's time is that of all rounds, so that episodes which end together
are not left out. Every program keeps the last observation, so that none may be left out of the work.
"""

import argparse
import functools
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import purejaxrl
from purejaxrl import stepping
from purejaxrl.resets import FreshResets

ROUNDS = 5
STEPS = {1: 8192, 64: 1024, 1024: 256, 8192: 64}  # of each copy, in each round
MOST_IN_PYTHON = 64


class Peers(NamedTuple):
    """Ids of the same task elsewhere; empty where there is none."""

    navix: str = ""
    xminigrid: str = ""
    minigrid: bool = False
    gymnax: bool = False
    settings: dict[str, Any] = {}  # noqa: RUF012


ENVS = {
    "MiniGrid-Empty-8x8-v0": Peers("Navix-Empty-8x8-v0", "MiniGrid-Empty-8x8", True),
    "MiniGrid-DoorKey-8x8-v0": Peers("Navix-DoorKey-8x8-v0", "MiniGrid-DoorKey-8x8", True),
    "MiniGrid-FourRooms-v0": Peers("Navix-FourRooms-v0", "MiniGrid-FourRooms", True),
    "MiniGrid-KeyCorridorS3R3-v0": Peers("Navix-KeyCorridorS3R3-v0", "", True),
    "MiniGrid-MultiRoom-N6-v0": Peers(minigrid=True),
    "MiniGrid-ObstructedMaze-Full-v1": Peers(minigrid=True),
    "BsuiteDeepSea-v0": Peers(settings={"size": 20}),
    "DeepSea-bsuite": Peers(gymnax=True, settings={"size": 20}),
    "CartPole-v1": Peers(gymnax=True),
    "Breakout-MinAtar": Peers(gymnax=True),
    "RiverSwim-v0": Peers(),
}


class Player(NamedTuple):
    """A way to play: `play` does `steps` steps of every copy."""

    label: str
    play: Callable[[Any], Any]
    carry: Any
    copies: int
    steps: int


def compiled(label: str, begin: Callable, step: Callable, copies: int, steps: int) -> Player:
    """Scan ``step(carry, key) -> carry``; the first call, which also gets the copies out of step, is not timed."""
    carry = jax.jit(begin)(jax.random.key(0))

    def play(carry):
        key, carry = carry
        key, now = jax.random.split(key)
        return key, jax.lax.scan(lambda carry, key: (step(carry, key), None), carry, jax.random.split(now, steps))[0]

    program = jax.jit(play).lower((jax.random.key(1), carry)).compile()
    return Player(label, program, jax.block_until_ready(program((jax.random.key(1), carry))), copies, steps)


def ours(env: Any, params: Any, copies: int, steps: int, label: str, resets: Any) -> Player:
    start = functools.partial(stepping.reset, env, params)
    one_step = jax.vmap(functools.partial(stepping.step, env, params))
    act = jax.vmap(functools.partial(stepping.random_action, env, params))

    def begin(key):
        return jax.vmap(start)(jax.random.split(key, copies))

    def step(carry, key):
        _, state = carry
        action_key, step_key, reset_key = jax.random.split(key, 3)
        action = act(jax.random.split(action_key, copies))
        obs, state, _, terminated, truncated = one_step(jax.random.split(step_key, copies), state, action)
        if resets is None:
            return obs, state
        return resets.reset((), reset_key, terminated | truncated, start, (obs, state))[1]

    return compiled(label, begin, step, copies, steps)


def gymnax_own(env: Any, params: Any, copies: int, steps: int) -> Player:
    act = jax.vmap(functools.partial(stepping.random_action, env, params))

    def begin(key):
        return jax.vmap(lambda key: env.reset(key, params))(jax.random.split(key, copies))

    def step(carry, key):
        action_key, step_key = jax.random.split(key)
        action = act(jax.random.split(action_key, copies))
        keys = jax.random.split(step_key, copies)
        return jax.vmap(lambda *args: env.step(*args, params)[:2])(keys, carry[1], action)

    return compiled("gymnax's own step", begin, step, copies, steps)


def navix(env_id: str, copies: int, steps: int) -> Player:
    import navix

    env = navix.make(env_id, observation_fn=navix.observations.symbolic_first_person)
    num_actions = int(env.action_space.n)

    def begin(key):
        return jax.vmap(env.reset)(jax.random.split(key, copies))

    def step(timestep, key):
        return jax.vmap(env.step)(timestep, jax.random.randint(key, (copies,), 0, num_actions))

    return compiled("navix", begin, step, copies, steps)


def xminigrid(env_id: str, copies: int, steps: int) -> Player:
    import xminigrid
    from xminigrid.wrappers import GymAutoResetWrapper

    env, params = xminigrid.make(env_id)
    env = GymAutoResetWrapper(env)

    def begin(key):
        return jax.vmap(lambda key: env.reset(params, key))(jax.random.split(key, copies))

    def step(timestep, key):
        action = jax.random.randint(key, (copies,), 0, env.num_actions(params))
        return jax.vmap(lambda timestep, action: env.step(params, timestep, action))(timestep, action)

    return compiled("xminigrid", begin, step, copies, steps)


def minigrid(env_id: str, copies: int, steps: int) -> Player:
    import gymnasium
    from minigrid.wrappers import ImgObsWrapper

    copies, steps = min(copies, MOST_IN_PYTHON), min(steps, 64)
    envs = gymnasium.make_vec(env_id, copies, vectorization_mode="sync", wrappers=[ImgObsWrapper])
    envs.reset(seed=0)

    def play(_):
        actions = np.random.default_rng(0).integers(0, 7, (steps, copies))
        for action in actions:
            obs = envs.step(action)[0]
        return obs

    return Player(f"minigrid, {copies} cop{'ies' if copies > 1 else 'y'}", play, None, copies, steps)


def players(env_id: str, copies: int) -> list[Player]:
    peers, steps = ENVS[env_id], STEPS[copies]
    env, params = purejaxrl.make(env_id, **peers.settings)
    ways = {"steps alone": None, "with resets": FreshResets()}
    found = [ours(env, params, copies, steps, label, resets) for label, resets in ways.items()]
    if peers.gymnax:
        found.append(gymnax_own(env, params, copies, steps))
    for name, make, peer_id in (
        ("navix", navix, peers.navix),
        ("xminigrid", xminigrid, peers.xminigrid),
        ("minigrid", minigrid, env_id if peers.minigrid else ""),
    ):
        if peer_id and importlib.util.find_spec(name) is not None:
            found.append(make(peer_id, copies, steps))
    return found


def main():
    parser = argparse.ArgumentParser(description="Compare environments' speed; print a table.")
    parser.add_argument("--env", nargs="+", choices=ENVS, default=list(ENVS))
    parser.add_argument("--copies", nargs="+", type=int, choices=STEPS, default=list(STEPS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| environment | copies | played by | steps/s | time per step, of steps alone = 1 |\n|---|---|---|---|---|")
    for env_id in args.env:
        for copies in args.copies:
            block = players(env_id, copies)
            seconds, carries = [[] for _ in block], [player.carry for player in block]
            for _ in range(ROUNDS):
                for number, player in enumerate(block):
                    start = time.perf_counter()
                    carries[number] = jax.block_until_ready(player.play(carries[number]))
                    seconds[number].append(time.perf_counter() - start)
            per_step = [sum(of) / (p.copies * p.steps * ROUNDS) for of, p in zip(seconds, block, strict=True)]
            for player, found in zip(block, per_step, strict=True):
                row = f"{env_id} | {copies} | {player.label} | {1 / found:,.0f} | {found / per_step[0]:.2f}"
                print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
