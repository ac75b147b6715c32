"""What `purejaxrl train --env X` alone chooses: flags that were tuned and measured on such environments.

A further preset is an entry of `PRESETS`. Where a person chooses anything of the kind, nothing here applies.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import NamedTuple

CHOICES = ("--algo", "--bonus", "--num-envs")  # with any of them, or of their settings, a person has chosen


class Preset(NamedTuple):
    flags: str
    source: str  # where its figures stand


_REPLAY = "--algo.num-steps 1 --algo.num-gradient-steps 1 --algo.batch-size 128 --algo.tau 0.02 --algo.activation relu"
_SAC = "--algo sac --algo.learning-rate 3e-3 --algo.buffer-size 20000 --algo.learning-starts 1000 --total-steps 40000"
_SEA = Preset(
    "--bonus counts --num-envs 32 --algo.num-steps 40 --algo.ent-coef 0.03 --algo.learning-rate 2.5e-4",
    "docs/results.md",
)
PRESETS = {
    "DeepSea-bsuite": _SEA,
    "BsuiteDeepSea-v0": _SEA,
    "MiniGrid-*": Preset(
        "--bonus noveld --bonus.coef 0.03 --bonus.normalise return_std --bonus.learning-rate 5e-4 --num-envs 64 "
        "--algo.num-minibatches 16 --algo.learning-rate 1e-3",
        "docs/deep.md",
    ),
    "MountainCar-v0": Preset(
        "--num-envs 16 --algo.num-minibatches 16 --algo.learning-rate 1e-3 --algo.normalise-obs "
        "--algo.normalise-reward",
        "docs/algos/ppo.md",
    ),
    "craftax:Craftax-*Symbolic-v1": Preset(
        "--num-envs 16 --algo.memory gru --algo.memory-size 128 --algo.hidden 128 128 --algo.num-steps 64 "
        "--algo.learning-rate 3e-4 --algo.gae-lambda 0.8 --algo.normalise-obs",
        "docs/deep.md",
    ),
    "Pendulum-v1": Preset(f"{_SAC} {_REPLAY} --algo.gamma 0.95", "docs/algos/sac.md"),
    "MountainCarContinuous-v0": Preset(f"{_SAC} {_REPLAY} --bonus rnd --bonus.coef 10", "docs/algos/sac.md"),
}


def flags(argv: Sequence[str], env: str) -> tuple[list[str], str]:
    """Flags to add to a command on this environment, and where they were measured; none where it chooses itself."""
    given = {word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")}  # either is a flag
    if any(word.partition(".")[0] in CHOICES for word in given):
        return [], ""
    for pattern, preset in PRESETS.items():
        if fnmatch.fnmatchcase(env, pattern):
            words = preset.flags.split()
            if "--total-steps" in given and "--total-steps" in words:
                place = words.index("--total-steps")
                del words[place : place + 2]
            return words, preset.source
    return [], ""
