"""PPO on CartPole on one device: steps per second by envs and by runs at once, and where an update's time goes.

    python benchmarks/accelerator.py                    # some minutes; nothing else should use the device
    python benchmarks/accelerator.py --cases 64x1       # 64 envs, one run

128 steps of each env, four epochs of four minibatches, 64-64 networks. Each program is compiled first, then timed over
ten updates, the best of three. The parts of an update are programs of their own: the rollout with its resets, the
learner's update with its shuffles, the shuffles alone. For a peer on the same device, with the same settings:

    python purejaxrl/bench/peers/rejax_peer.py --no-evaluation --total-steps 327680 --settings \\
        '{"num_envs": 64, "num_steps": 128, "num_minibatches": 4, "num_epochs": 4, "learning_rate": 2.5e-4,
          "activation": "tanh"}'
"""

import argparse
import time

import jax

import purejaxrl
from purejaxrl.algos import PPO

UPDATES, NUM_STEPS, EPOCHS = 10, 128, 4
CASES = ("64x1", "2048x1", "16384x1", "64x256", "4x1024", "4x8192")


def best(function, *inputs):
    """Seconds of compiling, and the fewest of three calls."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*inputs).compile()
    compiling, seconds = time.perf_counter() - start, []
    for _ in range(4):  # the first is not counted
        start = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        seconds.append(time.perf_counter() - start)
    return compiling, min(seconds[1:])


def main():
    parser = argparse.ArgumentParser(description="Time PPO on CartPole on one device.")
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="ENVSxRUNS")
    args = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    print("| envs | runs | steps/s | ms an update | rollout | learner | of it shuffles | compile s |")
    print("|---|---|---|---|---|---|---|---|")
    env, env_params = purejaxrl.make("CartPole-v1")
    learner = PPO(num_steps=NUM_STEPS, num_epochs=EPOCHS, num_minibatches=4)
    for case in args.cases:
        num_envs, lanes = map(int, case.split("x"))
        steps = num_envs * NUM_STEPS
        train = purejaxrl.make_train(
            env, learner, env_params=env_params, num_envs=num_envs, total_steps=10 * UPDATES * steps
        )

        def rollout(state, train=train):
            return jax.lax.scan(train._step, state, train._keys(state.key, NUM_STEPS))

        def update(state, batch, train=train):
            return train.learner.update(state.learner, state.key, batch, state.actor, None)[0]

        def shuffles(state, steps=steps):
            return jax.lax.map(lambda key: jax.random.permutation(key, steps), jax.random.split(state.key, EPOCHS))

        states = jax.jit(jax.vmap(train.init))(jax.random.split(jax.random.key(0), lanes))
        compiling, whole = best(jax.vmap(lambda state, train=train: train.advance(state, UPDATES)[0]), states)
        after, (batch, _) = jax.jit(jax.vmap(rollout))(states)
        parts = [(rollout, states), (update, after, batch), (shuffles, after)]
        times = [best(jax.vmap(function), *inputs)[1] for function, *inputs in parts]
        cells = [f"{1e3 * seconds:.1f}" for seconds in (whole / UPDATES, *times)]
        speed = lanes * steps * UPDATES / whole
        print(f"| {num_envs} | {lanes} | {speed:,.0f} | {' | '.join(cells)} | {compiling:.0f} |", flush=True)


if __name__ == "__main__":
    main()
