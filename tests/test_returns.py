import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from purejaxrl import returns

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
FLOATS = st.floats(-10, 10, width=32)


def brute_force_gae(reward, value, next_value, terminated, truncated, gamma, gae_lambda):
    """The definition: A_t = Σ_k (γλ)^k δ_{t+k}, summed anew for each t, up to and including an episode's last step."""
    advantage = np.zeros(reward.shape)
    for t, env in np.ndindex(*reward.shape):
        for k in range(t, len(reward)):
            bootstrap = 0.0 if terminated[k, env] else next_value[k, env]
            delta = reward[k, env] + gamma * bootstrap - value[k, env]
            advantage[t, env] += (gamma * gae_lambda) ** (k - t) * delta
            if terminated[k, env] or truncated[k, env]:
                break
    return advantage


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(data=st.data(), shape=SHAPES, gamma=st.floats(0, 1), gae_lambda=st.floats(0, 1))
def test_gae_is_its_definition(data, shape, gamma, gae_lambda):
    floats = [data.draw(hnp.arrays(np.float32, shape, elements=FLOATS)) for _ in range(3)]
    flags = [data.draw(hnp.arrays(bool, shape)) for _ in range(2)]
    advantage, target = returns.gae(*floats, *flags, gamma=gamma, gae_lambda=gae_lambda)
    expected = brute_force_gae(*(array.astype(np.float64) for array in floats), *flags, gamma, gae_lambda)
    np.testing.assert_allclose(advantage, expected, rtol=2e-5, atol=2e-3)
    np.testing.assert_allclose(target, expected + floats[1], rtol=2e-5, atol=2e-3)


def test_gae_by_hand():
    """Three steps with γ = 0.5, λ = 0.5; the middle one is truncated in one env and terminated in the other."""
    ones = np.ones((3, 2), np.float32)
    none, middle = np.zeros((3, 2), bool), np.zeros((3, 2), bool)
    middle[1] = True
    truncated, terminated = middle & [True, False], middle & [False, True]
    advantage, target = returns.gae(ones, 0 * ones, 2 * ones, terminated, truncated, gamma=0.5, gae_lambda=0.5)
    # δ = 1 + 0.5·2 = 2, or 1 where terminated; A_0 = 2 + 0.25 A_1
    np.testing.assert_allclose(advantage, [[2.5, 2.25], [2.0, 1.0], [2.0, 2.0]])
    np.testing.assert_allclose(target, advantage)
    both, _ = returns.gae(ones, 0 * ones, 2 * ones, middle, middle, gamma=0.5, gae_lambda=0.5)
    np.testing.assert_allclose(both[:, 0], [2.25, 1.0, 2.0], err_msg="termination wins over truncation")
    plain, _ = returns.gae(ones, 0 * ones, 2 * ones, none, none, gamma=0.5, gae_lambda=0.5)
    np.testing.assert_allclose(plain[0], 2 + 0.25 * (2 + 0.25 * 2))


def test_gae_refuses_other_shapes():
    ones = np.ones((3, 2), np.float32)
    with pytest.raises(AssertionError):
        returns.gae(ones, ones[:2], ones, ones > 2, ones > 2, gamma=0.9, gae_lambda=0.9)
