"""Write docs/images/time-limits.png: the value that is learned where a time limit is taken for a termination.

Every step pays 1 and nothing ever ends, but episodes are cut after `limit` steps; observations do not show the time. So
the value is 1 / (1 - gamma) everywhere. Lines are the closed forms below, dots the fixed points of this library's own
estimator, given the cut as a truncation (right) or as a termination (wrong).

    python docs/time_limits.py
"""

from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from purejaxrl import returns

GAMMA = 0.99
LIMITS = np.unique(np.geomspace(10, 10_000, 200).astype(int))
COLOURS = {0.0: "#D55E00", 0.95: "#E69F00", 1.0: "#CC79A7"}
NAMES = {0.0: "wrong, one-step TD (λ = 0)", 0.95: "wrong, λ = 0.95", 1.0: "wrong, Monte Carlo (λ = 1)"}


def wrong(limit, lam, gamma=GAMMA):
    """The fixed point V = mean over k of G_k, where G_k is the λ-return with k steps left and nothing after the last.

    G_1 = 1 and G_k = 1 + γ ((1 - λ) V + λ G_{k-1}), so that with c = 1 + γ (1 - λ) V and q = γ λ:
    G_k = c (1 - q^k) / (1 - q) - (c - 1) q^{k-1}. At λ = 0 that gives V = 1 / (1 - γ (1 - 1 / limit)).
    """
    q, k = gamma * lam, np.arange(1, limit + 1)
    full, last = ((1 - q**k) / (1 - q)).mean(), (q ** (k - 1.0)).mean()
    return full / (1 - gamma * (1 - lam) * (full - last))


def learned(limit, lam, *, cut_is, gamma=GAMMA):
    """The fixed point of `returns.td_lambda` over one episode, which is affine in the value."""
    cut, never = jnp.zeros((limit, 1), bool).at[-1].set(True), jnp.zeros((limit, 1), bool)
    terminated, truncated = (cut, never) if cut_is == "terminated" else (never, cut)

    def mean_target(value):
        values = jnp.full((limit, 1), value)
        target = returns.td_lambda(jnp.ones((limit, 1)), values, terminated, truncated, gamma=gamma, lam=lam)
        return float(np.asarray(target, np.float64).mean())

    at_0, at_100 = mean_target(0.0), mean_target(100.0)
    return at_0 / (1 - (at_100 - at_0) / 100)


def main():
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained", dpi=150)
    right, some = 1 / (1 - GAMMA), (20, 50, 100, 200, 500, 1000, 5000)
    axes.axhline(right, color="#0072B2", label="right: 1 / (1 − γ) = 100")
    axes.plot(some, [learned(limit, 0.95, cut_is="truncated") for limit in some], "o", color="#0072B2")
    for lam, colour in COLOURS.items():
        axes.plot(LIMITS, [wrong(limit, lam) for limit in LIMITS], color=colour, label=NAMES[lam])
        axes.plot(some, [learned(limit, lam, cut_is="terminated") for limit in some], "o", color=colour, markersize=5)
    axes.fill_between(LIMITS, [wrong(limit, 0.95) for limit in LIMITS], right, color="grey", alpha=0.15, linewidth=0)
    axes.text(11, 80, "an exit that pays anything in here\nlooks better than going on, and is not", color="#444444")
    axes.set(xscale="log", ylim=(0, 106), xlabel="time limit (steps)", ylabel="learned value of the only state")
    axes.set_title("Reward 1 for ever, γ = 0.99, episodes cut by a time limit", fontsize=11)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(Path(__file__).parent / "images" / "time-limits.png")
    for limit in (50, 100, 200, 500, 1000):
        print(limit, *(f"{wrong(limit, lam):.1f} {learned(limit, lam, cut_is='terminated'):.1f}" for lam in COLOURS))


if __name__ == "__main__":
    main()
