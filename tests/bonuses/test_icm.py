"""ICM against a plain NumPy version of Pathak et al. 2017, eq. 2-7."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces
from numpynets import adam_gradient, assert_trees_close, forward, gradient

from purejaxrl.bonuses import ICM
from purejaxrl.envs import MultiDiscrete
from purejaxrl.types import Spec, Transition

SPACES = {"discrete": spaces.Discrete(3), "multi": MultiDiscrete((2, 3)), "box": spaces.Box(-1.0, 0.5, (2,))}
NUM_STEPS, NUM_ENVS = 6, 4


def make(kind, **settings):
    bonus = ICM(**({"hidden": (5,), "embedding_size": 3, "num_epochs": 1, "num_minibatches": 1} | settings))
    observation = jax.ShapeDtypeStruct((4,), np.float32)
    spec = Spec(None, SPACES[kind], NUM_ENVS, NUM_STEPS, 4, observation=observation)
    return bonus, bonus.init(jax.random.key(3), spec)


def random_batch(kind, seed=0):
    generator, leading = np.random.default_rng(seed), (NUM_STEPS, NUM_ENVS)
    action = {
        "discrete": generator.integers(0, 3, leading),
        "multi": np.stack([generator.integers(0, n, leading) for n in (2, 3)], axis=-1),
        "box": generator.normal(size=(*leading, 2)).astype(np.float32),  # half of them beyond the bounds
    }[kind]
    obs, next_obs = generator.normal(size=(2, *leading, 4)).astype(np.float32)
    zeros = np.zeros(leading, np.float32)
    batch = Transition(obs=obs, action=action, next_obs=next_obs, reward=zeros, bonus=zeros)
    return jax.tree.map(jnp.asarray, batch)


def encode(kind, action):
    action = np.asarray(action)
    if kind == "box":
        return np.clip(action, -1.0, 0.5).reshape(-1, 2)
    if kind == "discrete":
        return np.eye(3)[action.reshape(-1)]
    return np.concatenate([np.eye(n)[action[..., i].reshape(-1)] for i, n in enumerate((2, 3))], axis=-1)


def numpy_losses(kind, params, batch, features=None):
    """Inverse and forward loss of each transition; the forward one sees `features`, which it does not change."""
    obs, next_obs = (np.asarray(x).reshape(-1, 4) for x in (batch.obs, batch.next_obs))
    phi, next_phi = forward(params.encoder, obs), forward(params.encoder, next_obs)
    guess, action = forward(params.inverse, phi, next_phi), encode(kind, batch.action)
    if kind == "box":
        inverse = 0.5 * np.square(guess - action).sum(-1)
    else:
        parts = [guess] if kind == "discrete" else [guess[:, :2], guess[:, 2:]]
        chosen = [action] if kind == "discrete" else [action[:, :2], action[:, 2:]]
        inverse = sum(np.log(np.exp(x).sum(-1)) - (x * a).sum(-1) for x, a in zip(parts, chosen, strict=True))
    phi, next_phi = (phi, next_phi) if features is None else features
    return inverse, 0.5 * np.square(forward(params.forward, phi, action) - next_phi).sum(-1)


@pytest.mark.parametrize("kind", SPACES)
def test_bonus_losses_and_gradient_are_the_paper_s(kind):
    """The whole gradient: 0.8 of the inverse loss, 0.2 of the forward one, which leaves the encoder alone."""
    icm, state = make(kind)
    batch = random_batch(kind)
    inverse, error = numpy_losses(kind, state.params, batch)
    np.testing.assert_allclose(icm.reward(state, batch, ()), error.reshape(NUM_STEPS, NUM_ENVS), rtol=1e-4)

    after, metrics = icm.update(state, jax.random.key(1), batch)
    np.testing.assert_allclose(metrics["inverse_loss"], inverse.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["forward_loss"], error.mean(), rtol=1e-4)
    flat = [np.asarray(x).reshape(-1, 4) for x in (batch.obs, batch.next_obs)]
    features = [forward(state.params.encoder, x) for x in flat]

    def loss(params):
        inverse, error = numpy_losses(kind, params, batch, features)
        return (0.8 * inverse + 0.2 * error).mean()

    assert_trees_close(adam_gradient(after.opt_state, state.params), gradient(loss, state.params))
    new = numpy_losses(kind, after.params, batch)[1].reshape(NUM_STEPS, NUM_ENVS)
    np.testing.assert_allclose(icm.reward(after, batch, ()), new, rtol=1e-4)


def test_any_leading_axes():
    icm, state = make("multi")
    batch = random_batch("multi")
    row = jax.tree.map(lambda x: x[2], batch)
    np.testing.assert_allclose(icm.reward(state, row, ()), icm.reward(state, batch, ())[2], rtol=1e-5)


def test_curiosity_stays_with_noise_that_actions_call_for():
    """A television: action 0 keeps the channel, the others change it, to one that follows from it or to any.

    To tell the action, φ has to keep the channel, and no model can predict the one that is drawn.
    """
    icm, state = make("discrete", hidden=(32,), num_epochs=4, learning_rate=3e-3)
    step = jax.jit(lambda state, key, batch: (icm.reward(state, batch, ()).mean(), icm.update(state, key, batch)[0]))
    final = []
    for noisy in (False, True):
        learned, errors = state, []
        for index in range(200):
            batch = random_batch("discrete", index)
            channel, drawn = batch.obs[..., 0], batch.next_obs[..., 0]
            changed = drawn if noisy else -channel
            shown = jnp.where(batch.action == 0, channel, changed)
            error, learned = step(
                learned, jax.random.key(index), batch.replace(next_obs=batch.obs.at[..., 0].set(shown))
            )
            errors.append(error)
        final.append(np.mean(errors[-20:]))
    assert final[1] > 3 * final[0]
