"""PQN: targets and loss by hand, exploration, and LayerNorm where it belongs."""

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest

from purejaxrl.algos import PQN


def test_one_update_is_gradient_descent_on_the_lambda_returns():
    """One epoch of one minibatch with a linear network, against NumPy: targets before the update, then RAdam's step."""

    def init(key, obs):
        return jax.random.normal(key, (obs.size, 3))

    learner = PQN(
        num_steps=8, num_epochs=1, num_minibatches=1, gamma=0.9, lam=0.7, max_grad_norm=1e6, learning_rate=0.1,
        anneal_lr=False, network=(init, lambda params, obs: obs @ params),
    )  # fmt: skip
    train = learners.bind(probes.Clock(), learner, num_envs=2, total_steps=16)
    state = jax.jit(train.init)(jax.random.key(0))
    seen = {}
    update = PQN.update

    class Spying(PQN):
        def update(self, state, key, batch, actor0, reward_fn):
            jax.debug.callback(lambda batch: seen.update(batch=batch), batch)
            return update(self, state, key, batch, actor0, reward_fn)

    train.learner = Spying(**{name: getattr(learner, name) for name in learner.__dataclass_fields__})
    after, metrics = jax.jit(train.advance, static_argnums=1)(state, 1)
    jax.effects_barrier()
    batch, w = seen["batch"], np.asarray(state.learner.params, np.float64)
    next_value = (np.asarray(batch.next_obs) @ w)[..., :2].max(-1)  # action 2 is forbidden
    target = np.zeros((8, 2))
    for t in reversed(range(8)):
        ended = batch.terminated[t] | batch.truncated[t] | (t == 7)
        later = np.where(ended, next_value[t], 0.3 * next_value[t] + 0.7 * target[min(t + 1, 7)])
        target[t] = batch.reward[t] + 0.9 * np.where(batch.terminated[t], 0.0, later)
    obs, action = np.asarray(batch.obs)[..., 0], np.asarray(batch.action)
    q = obs * w[0, action]
    np.testing.assert_allclose(metrics["q_loss"][0], 0.5 * ((q - target) ** 2).mean(), rtol=1e-4)
    gradient = np.array([((q - target) * obs * (action == a)).mean() for a in range(3)])
    # RAdam's first steps are not adaptive: the learning rate times the bias-corrected momentum, which is the gradient
    np.testing.assert_allclose(after.learner.params[0], w[0] - 0.1 * gradient, rtol=1e-4)


def test_epsilon_falls_linearly_then_stays():
    learner = learners.make("pqn", exploration_fraction=0.5, epsilon_start=0.9, epsilon_end=0.1)
    train = learners.bind(probes.Clock(), learner, total_steps=4 * 8 * 10)
    epsilon = jax.jit(train)(jax.random.key(0)).metrics["epsilon"]
    np.testing.assert_allclose(epsilon, [0.9 - 0.16 * min(update, 5) for update in range(10)], rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"memory": "gru", "hidden": (8, 8)}])
def test_layer_norm_stands_before_every_activation(settings):
    def names(**more):
        learner = learners.make("pqn", **settings, **more)
        state = jax.eval_shape(learners.bind(probes.Clock(), learner).init, jax.random.key(0)).learner
        return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.params)]

    count = len(settings.get("hidden", (8,)))
    assert sum("LayerNorm" in name and "scale" in name for name in names()) == count
    assert not any("LayerNorm" in name for name in names(layer_norm=False))


def test_bonus_is_added_to_the_reward():
    class Constant:
        coef, normalise = 2.0, "none"

        def init(self, key, spec):
            return ()

        def observe(self, state, transition):
            return state, ()

        def reward(self, state, transition, memo):
            return jnp.ones_like(transition.reward)

        def update(self, state, key, batch):
            return state, {}

    learner = PQN(num_steps=8, hidden=(16,), learning_rate=1e-2, gamma=0.5)
    state = learners.learn(probes.ConstantReward(), learner, bonus=Constant(), total_steps=20_000)
    np.testing.assert_allclose(learners.values(learner, state, [[0.0]]), [3.0], atol=0.1)
