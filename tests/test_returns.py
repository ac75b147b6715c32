import functools
import inspect
from types import SimpleNamespace

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from purejaxrl import returns

# Each definition is the target of step t as an explicit sum, for one env: x holds its columns in float64 and the
# settings, `end` is the last step of t's episode in the batch, and x.bootstrap is 0 where terminated, else next_value.


def delta(k, x, baseline):
    return x.reward[k] + x.gamma * x.bootstrap[k] - baseline[k]


def define_gae(t, end, x):
    """A_t = Σ_k (γλ)^k δ_{t+k}."""
    advantage = sum((x.gamma * x.lam) ** (k - t) * delta(k, x, x.value) for k in range(t, end + 1))
    return advantage, advantage + x.value[t]


def define_n_step(t, end, x):
    """Discounted rewards up to m = n or the end, then what is left as the m-th step values it."""
    m = min(x.n, end - t + 1)
    return sum(x.gamma**k * x.reward[t + k] for k in range(m)) + x.gamma**m * x.bootstrap[t + m - 1]


def define_td_lambda(t, end, x):
    """(1 − λ) Σ_n λ^{n−1} G^{(n)}, with all the weight that is left on the longest."""
    longest = end - t + 1
    by_n = [define_n_step(t, end, SimpleNamespace(**vars(x) | {"n": n})) for n in range(1, longest + 1)]
    return (1 - x.lam) * sum(x.lam**i * by_n[i] for i in range(longest - 1)) + x.lam ** (longest - 1) * by_n[-1]


def define_vtrace(t, end, x):
    """v_t = V_t + Σ_k γ^k (Π_{i<k} c_{t+i}) ρ_{t+k} δ_{t+k}; A_t = ρ_t (r_t + γ v_{t+1} − V_t)."""
    ratio = np.exp(x.log_ratio)
    rho, c = np.minimum(ratio, x.clip_rho), x.lam * np.minimum(ratio, x.clip_c)

    def target(t):
        terms = (x.gamma ** (k - t) * np.prod(c[t:k]) * rho[k] * delta(k, x, x.value) for k in range(t, end + 1))
        return x.value[t] + sum(terms)

    following = target(t + 1) if t < end else x.bootstrap[t]
    return target(t), rho[t] * (x.reward[t] + x.gamma * following - x.value[t])


def define_retrace(t, end, x):
    """G_t = Q_t + Σ_k γ^k (Π_{1<=i<=k} c_{t+i}) (r_{t+k} + γ E_π Q(s'_{t+k}, ·) − Q_{t+k})."""
    c = x.lam * np.minimum(1, np.exp(x.log_ratio))
    terms = (x.gamma ** (k - t) * np.prod(c[t + 1 : k + 1]) * delta(k, x, x.q) for k in range(t, end + 1))
    return x.q[t] + sum(terms)


DEFINITIONS = {
    returns.gae: define_gae,
    returns.n_step: define_n_step,
    returns.td_lambda: define_td_lambda,
    returns.q_lambda: define_td_lambda,
    returns.vtrace: define_vtrace,
    returns.retrace: define_retrace,
}
FLOATS, FLAGS = ["reward", "value", "next_value", "q", "log_ratio"], ["terminated", "truncated"]
SETTINGS = {"gamma": 0.5, "lam": 0.5, "n": 2, "clip_rho": 2.0, "clip_c": 1.0}
each_estimator = pytest.mark.parametrize("function", DEFINITIONS, ids=lambda function: function.__name__)


@functools.cache
def jitted(function):
    return jax.jit(function, static_argnames=[name for name in inspect.signature(function).parameters if name == "n"])


def arguments(function, batch, **settings):
    given = batch | SETTINGS | settings
    return {name: given["lam" if name == "gae_lambda" else name] for name in inspect.signature(function).parameters}


def estimate(function, batch, **settings):
    """Everything that `function` returns, stacked: ``[outputs, num_steps, num_envs]``."""
    return np.stack(jax.tree.leaves(jitted(function)(**arguments(function, batch, **settings))))


def by_definition(function, batch, **settings):
    def one(t, env):
        x = SimpleNamespace(**{name: array[:, env].astype(np.float64) for name, array in batch.items()}, **settings)
        x.bootstrap = np.where(x.terminated, 0, x.next_value)
        ends = np.flatnonzero((x.terminated + x.truncated)[t:])
        return DEFINITIONS[function](t, t + ends[0] if len(ends) else len(x.reward) - 1, x)

    steps, envs = batch["reward"].shape
    table = np.array([[one(t, env) for env in range(envs)] for t in range(steps)])
    return table[None] if table.ndim == 2 else np.moveaxis(table, -1, 0)


def random_batch(seed, shape=(7, 3)):
    """Standard normal floats and no flags; the value of s' is that of the next s, as with one set of parameters."""
    rng = np.random.default_rng(seed)
    batch = {name: rng.normal(size=shape).astype(np.float32) for name in FLOATS}
    batch["next_value"][:-1] = batch["value"][1:]
    return batch | {name: np.zeros(shape, bool) for name in FLAGS}


def cut(batch, after, *flags):
    """The batch with an episode's end after that many steps."""
    return batch | {name: batch[name] | (np.arange(len(batch[name])) == after - 1)[:, None] for name in flags}


@each_estimator
@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(data=st.data(), shape=st.sampled_from([(1, 1), (2, 3), (8, 2)]))
def test_is_its_definition(function, data, shape):
    floats, unit = st.floats(-10, 10, width=32), st.floats(0, 1, width=32)
    batch = {name: data.draw(hnp.arrays(np.float32, shape, elements=floats), name) for name in FLOATS}
    batch |= {name: data.draw(hnp.arrays(bool, shape), name) for name in FLAGS}
    settings = {name: data.draw(unit, name) for name in ["gamma", "lam"]}
    settings |= {name: data.draw(st.floats(0, 1.5, width=32), name) for name in ["clip_rho", "clip_c"]}
    settings["n"] = data.draw(st.sampled_from([1, 2, 3, 8, 20]), "n")
    expected = by_definition(function, batch, **settings)
    np.testing.assert_allclose(estimate(function, batch, **settings), expected, rtol=2e-5, atol=2e-3)


# With the inputs and settings below and ratios 4, 0.5, 1, 4: ρ = 2, 0.5, 1, 2; V-trace's c and Retrace's = 0.5, 0.25,
# 0.5, 0.5. The third step is the last of an episode; | separates truncated from terminated. Written from the last step:
#   gae      δ: 8+64−4 = 68;  4+32−32 = 4 | 4−32 = −28;  2+16−16 = 2;  1+8−8 = 1
#            A: 68;  4 | −28;  2+A/4 = 3 | −5;  1+A/4 = 1.75 | −0.25
#   n_step   8+64 = 72;  4+32 = 36 | 4;  2+4/2+64/4 = 20 | 4;  1+2/2+32/4 = 10
#   td_lambda, q_lambda  72;  36 | 4;  2+(16+36/2)/2 = 19 | 2+(16+2)/2 = 11;  1+(8+19/2)/2 = 9.75 | 1+(8+11/2)/2 = 7.75
#   vtrace   v: 4+2·68 = 140;  32+4 = 36 | 32−28 = 4;  16+0.5·2+(36−32)/8 = 17.5 | 16+1−28/8 = 13.5;
#               8+2·1+(17.5−16)/4 = 10.375 | 10−2.5/4 = 9.375
#            A: 2·68 = 136;  4 | −28;  (2+36/2−16)/2 = 2 | (2+4/2−16)/2 = −6;
#               2(1+17.5/2−8) = 3.5 | 2(1+13.5/2−8) = −0.5
#   retrace  8+64 = 72;  36 | 4;  2+(32+(36−32)/2)/2 = 19 | 2+(32−28/2)/2 = 11;
#            1+(16+(19−16)/4)/2 = 9.375 | 1+(16+(11−16)/4)/2 = 8.375
BY_HAND = {
    returns.gae: [([1.75, 3, 4, 68], [-0.25, -5, -28, 68]), ([9.75, 19, 36, 72], [7.75, 11, 4, 72])],
    returns.n_step: [([10, 20, 36, 72], [10, 4, 4, 72])],
    returns.td_lambda: [([9.75, 19, 36, 72], [7.75, 11, 4, 72])],
    returns.q_lambda: [([9.75, 19, 36, 72], [7.75, 11, 4, 72])],
    returns.vtrace: [([10.375, 17.5, 36, 140], [9.375, 13.5, 4, 140]), ([3.5, 2, 4, 136], [-0.5, -6, -28, 136])],
    returns.retrace: [([9.375, 19, 36, 72], [8.375, 11, 4, 72])],
}


@each_estimator
def test_by_hand(function):
    columns = {
        "reward": [1, 2, 4, 8],
        "value": [8, 16, 32, 4],
        "next_value": [16, 32, 64, 128],
        "log_ratio": np.log([4, 0.5, 1, 4]),
    }
    columns["q"] = columns["value"]
    batch = {name: np.tile(np.array(column, np.float32)[:, None], 3) for name, column in columns.items()}
    third = np.arange(4)[:, None] == 2
    batch |= {"truncated": third & [True, False, True], "terminated": third & [False, True, True]}
    expected = [np.transpose([truncated, terminated, terminated]) for truncated, terminated in BY_HAND[function]]
    np.testing.assert_allclose(estimate(function, batch), expected, rtol=1e-6, err_msg="truncated, terminated, both")


@each_estimator
@pytest.mark.parametrize("flags", [["truncated"], ["terminated"], FLAGS], ids="+".join)
def test_an_episodes_end_separates(function, flags):
    """A batch with an episode's end inside is its two pieces, whatever follows the first."""
    batch = cut(random_batch(0), 3, *flags)
    first, second = ({name: array[part] for name, array in batch.items()} for part in (slice(3), slice(3, None)))
    pieces = [estimate(function, first, n=3), estimate(function, second, n=3)]
    np.testing.assert_allclose(estimate(function, batch, n=3), np.concatenate(pieces, axis=1), rtol=1e-6, atol=1e-6)
    unended = {name: array[:3] for name, array in random_batch(0).items()}
    if flags == ["truncated"]:
        np.testing.assert_array_equal(estimate(function, unended, n=3), pieces[0], err_msg="the batch's end truncates")
    other = {name: np.concatenate([array[:3], 100 + 3 * array[3:]]) for name, array in batch.items() if name in FLOATS}
    changed = estimate(function, batch | other, n=3)
    np.testing.assert_array_equal(changed[:, :3], estimate(function, batch, n=3)[:, :3])


def test_estimators_agree_where_their_definitions_do():
    """On-policy, with the value of s' that of the next s inside episodes, there is one λ-return."""
    batch = cut(cut(random_batch(1), 2, "terminated"), 5, "truncated")
    batch |= {"log_ratio": 0 * batch["reward"], "q": batch["value"]}
    batch["next_value"][4] = 7  # V of the observation before auto-reset, which is not the next one
    for lam, n in [(0.0, 1), (0.7, None), (1.0, 7)]:
        target = estimate(returns.td_lambda, batch, lam=lam)[0]
        others = {"gae": estimate(returns.gae, batch, lam=lam)[1]}
        others["vtrace"] = estimate(returns.vtrace, batch, lam=lam, clip_rho=1.0)[0]
        others["retrace"] = estimate(returns.retrace, batch, lam=lam)[0]
        if n:
            others["n_step"] = estimate(returns.n_step, batch, n=n)[0]
        for name, other in others.items():
            np.testing.assert_allclose(other, target, rtol=1e-5, atol=1e-5, err_msg=f"{name}, lam={lam}")


def by_rlax(rlax, function, x, discount):
    """What rlax computes, for one env, in the order of `estimate`.

    rlax knows no truncation and takes the value of the next s for that of s', which :func:`random_batch` makes equal.
    """
    lam, values = SETTINGS["lam"], np.append(x.value, x.next_value[-1:])
    if function is returns.gae:
        advantage = rlax.truncated_generalized_advantage_estimation(x.reward, discount, lam, values)
        return [advantage, advantage + x.value]
    if function is returns.n_step:
        return [rlax.n_step_bootstrapped_returns(x.reward, discount, x.next_value, SETTINGS["n"])]
    if function in (returns.td_lambda, returns.q_lambda):
        return [rlax.lambda_returns(x.reward, discount, x.next_value, lam)]
    if function is returns.vtrace:
        # Its c is always clipped at 1. Its advantage mixes λ into v_{t+1}, as the paper does not: compared for λ = 1.
        steps = (x.value, x.next_value, x.reward, discount, np.exp(x.log_ratio))
        thresholds = {"clip_rho_threshold": SETTINGS["clip_rho"], "clip_pg_rho_threshold": SETTINGS["clip_rho"]}
        paper = rlax.vtrace_td_error_and_advantage(*steps, 1.0, **thresholds)
        mixed = rlax.vtrace(*steps, lam, clip_rho_threshold=SETTINGS["clip_rho"])
        return [mixed + x.value, paper.errors + x.value, paper.pg_advantage]
    following = (x.q[1:], x.next_value, x.reward, discount, x.log_ratio[1:])
    return [rlax.retrace_continuous(x.q, *following, lam) + x.q]


@each_estimator
def test_agrees_with_rlax(function):
    rlax = pytest.importorskip("rlax")
    batch = cut(random_batch(2), 3, "terminated")
    found = estimate(function, batch)
    if function is returns.vtrace:
        found = np.concatenate([found[:1], estimate(function, batch, lam=1.0)])
    for env in range(3):
        x = SimpleNamespace(**{name: array[:, env] for name, array in batch.items()})
        expected = by_rlax(rlax, function, x, (SETTINGS["gamma"] * (1 - x.terminated)).astype(np.float32))
        np.testing.assert_allclose(found[..., env], np.stack(expected), rtol=1e-5, atol=1e-5)


@each_estimator
def test_gamma_may_be_vmapped(function):
    batch, gammas = random_batch(3), np.array([0.3, 0.9], np.float32)
    together = jax.vmap(lambda gamma: function(**arguments(function, batch, gamma=gamma)))(gammas)
    alone = [estimate(function, batch, gamma=gamma) for gamma in gammas]
    np.testing.assert_allclose(np.stack(jax.tree.leaves(together), axis=1), alone, rtol=1e-6, atol=1e-6)


@each_estimator
def test_refuses_other_shapes(function):
    batch = random_batch(4)
    for name in set(FLOATS + FLAGS) & set(inspect.signature(function).parameters):
        with pytest.raises(AssertionError):
            estimate(function, batch | {name: batch[name][:, :1]})


@pytest.mark.parametrize("n", [0, -1, 1.5, None])
def test_n_step_refuses_other_n(n):
    with pytest.raises(ValueError, match=r"^n must be an integer >= 1"):
        estimate(returns.n_step, random_batch(5), n=n)
