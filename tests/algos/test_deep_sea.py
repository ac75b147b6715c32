"""Learners that act on what they do not know solve DeepSea where ε-greedy finds nothing."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purejaxrl
from purejaxrl import envs
from purejaxrl.algos import DQN, BootDQN, BootPQN
from purejaxrl.bench import bsuite, deep_methods

SIZE, SEEDS = 10, 3  # a random walk finds the treasure in one of 1,024 episodes
pytestmark = pytest.mark.fully_optimised


def solved(learner, num_envs=1, episodes=500):
    """How many seeds solve it, by bsuite's criterion."""
    env = envs.BsuiteDeepSea(SIZE)
    shown = envs.IndexObservation(env)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"num_envs": num_envs, "total_steps": episodes * SIZE, "visits": shown.outcomes()[:2]}
        train = purejaxrl.make_train(shown, learner, **settings)

    def run(key):
        def one(state, _):
            state, _ = train.advance(state, 1)
            return state, state.visits

        return jax.lax.scan(one, train.init(key), length=train.num_updates)[1]

    visits = np.asarray(jax.jit(jax.vmap(run))(jax.vmap(jax.random.key)(jnp.arange(SEEDS))))
    return sum(np.isfinite(bsuite.deep_sea_solved(found[:, 1], found.sum(-1))) for found in visits)


def test_epsilon_greedy_finds_nothing():
    assert solved(DQN(num_steps=4, num_gradient_steps=4, epsilon_end=0.1, learning_rate=1e-3)) <= 1


@pytest.mark.parametrize(
    ("learner", "num_envs", "episodes"),
    [
        (deep_methods.hyperagent(SIZE)[0], 1, 600),
        (BootDQN(hidden=(64,)), 1, 300),
        (BootPQN(hidden=(64,), prior_scale=1.0, num_members=20, num_steps=10), 8, 500),
        (deep_methods.hyperpqn(SIZE)[0], 8, 2500),
    ],
    ids=["hyperagent", "bootdqn", "bootpqn", "hyperpqn"],
)
def test_acting_on_doubt_solves_it(learner, num_envs, episodes):
    assert solved(learner, num_envs, episodes) == SEEDS
