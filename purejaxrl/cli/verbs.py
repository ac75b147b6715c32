"""What each verb of the command line takes: a dataclass each, which tyro shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg


@dataclasses.dataclass
class Train:
    """Train with one algorithm on one environment, several seeds at once, and fill a run's folder.

    Example: purejaxrl train --env DeepSea-bsuite --env.size 20 --bonus counts --seeds 8 --out runs/deepsea

    --env.*, --algo.* and --bonus.* set what the chosen environment, algorithm and bonus offer: choose them and ask for
    --help again. With --env alone, settings that were measured on such environments are taken where there are some,
    and said.
    """

    env: str
    """The environment's id; `purejaxrl list` shows them, and the prefixes that open other packages."""
    algo: str = "ppo"
    """The algorithm."""
    bonus: str = "none"
    """The exploration bonus, or none, or bonuses combined: 'e3b*rnd', 'counts+rnd', 'sofe(e3b)'."""
    total_steps: int = 500_000
    """Environment steps per seed, rounded down to whole updates."""
    num_envs: int = 4
    """Environments per seed, stepped in parallel."""
    seeds: int = 1
    """How many seeds run at once."""
    seed: int = 0
    """The first seed; the others follow it."""
    visits: bool = False
    """Count exactly how often each true state, or box of a continuous one, is visited (where there are cells)."""
    save_seconds: float = 60.0
    """Seconds from one checkpoint to the next; one more is saved at the end."""
    keep: int = 2
    """How many of the newest checkpoints are kept, beside the one with the best return."""
    if_diverged: Literal["stop", "freeze"] = "stop"
    """Where a reward, an observation or a loss is not finite: stop the run, or freeze that seed while others go on."""
    stall_minutes: float = 60.0
    """After so many minutes without progress print where it hangs, and exit with 4; 0: wait for ever."""
    log: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go, too, while it trains: jsonl and tensorboard write into the folder."""
    quiet: bool = False
    """No progress: the result and errors alone."""
    json: bool = False
    """Print the summary as JSON on stdout."""
    out: Path | None = None
    """The run's folder; by default runs/ENV-ALGO-BONUS-N with the next free N."""


@dataclasses.dataclass
class Resume:
    """Go on with a run that was stopped or killed, to the same results as if it had not been.

    Example: purejaxrl resume runs/deepsea

    A run that is done stays as it is, unless --total-steps asks for more. A sweep goes on by its own command.
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    total_steps: int | None = None
    """Environment steps per seed of the whole run, where it is to be longer than it was."""
    stall_minutes: float = 60.0
    """After so many minutes without progress print where it hangs, and exit with 4; 0: wait for ever."""
    log: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go, too, while it trains; rows since the last checkpoint come again."""
    quiet: bool = False
    """No progress: the result and errors alone."""
    json: bool = False
    """Print the summary as JSON on stdout."""


@dataclasses.dataclass
class Sweep:
    """Train every configuration of a search with several seeds, in as few compiled programs as possible.

    Example: purejaxrl sweep --env CartPole-v1 --search algo.learning_rate=1e-4,1e-3 algo.ent_coef=0,0.01 --seeds 8

    --search takes field=values, a grid of all combinations, or field=loguniform(1e-5,1e-2), uniform(a,b) or
    choice(a,b,c), of which --samples are drawn. Fields: algo.*, bonus.*, env.*, num_envs, total_steps. Everything may
    also stand in a TOML file, flags by their names: purejaxrl sweep rates.toml. Stop it with Ctrl-C; the same command
    with the same --out goes on.
    """

    env: str
    """The environment's id; `purejaxrl list` shows them."""
    search: tuple[str, ...]
    """field=values, one or several."""
    algo: str = "ppo"
    """The algorithm."""
    bonus: str = "none"
    """The exploration bonus, or none, or bonuses combined: 'e3b*rnd', 'counts+rnd', 'sofe(e3b)'."""
    total_steps: int = 500_000
    """Environment steps of each run, rounded down to whole updates."""
    num_envs: int = 4
    """Environments of each run, stepped in parallel."""
    seeds: int = 1
    """Seeds of each configuration, from 0 on."""
    samples: int | None = None
    """How many configurations to draw, where the search has distributions."""
    search_seed: int = 0
    """The seed of the draws, or of the sampler."""
    sampler: Literal["tpe", "qmc", "nsga2"] | None = None
    """Let Optuna propose the samples: tpe and nsga2 learn from those before, qmc covers the ranges evenly."""
    batch: int = 16
    """Configurations that a sampler proposes at once."""
    objectives: tuple[str, ...] = ("final_return",)
    """Metrics that a sampler makes large, or small after min: final_return min:first_reward."""
    rungs: tuple[float, ...] = ()
    """Successive halving: shares of a run, as 0.1 0.3, after which only the best configurations go on."""
    keep: float = 1 / 3
    """The share of the configurations that each rung leaves."""
    visits: bool = False
    """Count exactly how often each true state, or box of a continuous one, is visited (where there are cells)."""
    num_lanes: int | None = None
    """Runs at once; chosen unless given."""
    memory_gb: float | None = None
    """What all runs at once may need; most of what is free unless given."""
    on: Literal["local", "slurm", "ray"] | None = None
    """Let other processes train: of this machine (local), or of others by an engine. All of them must see --out."""
    workers: int = 2
    """How many of these processes or jobs at a time."""
    distributed: bool = False
    """This command runs as several processes (srun, mpirun): spread the lanes over the devices of all of them."""
    stall_minutes: float = 60.0
    """After so many minutes without progress print where it hangs, and exit with 4; 0, or --on: wait for ever."""
    log: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go, too, while it trains: jsonl and tensorboard write into the folder."""
    quiet: bool = False
    """No progress: the result and errors alone."""
    json: bool = False
    """Print the best configurations as JSON on stdout, instead of a table."""
    out: Path | None = None
    """The folder; by default runs/sweep-ENV-ALGO-BONUS-N with the next free N."""


@dataclasses.dataclass
class Eval:
    """Play fresh episodes with a trained run's policies.

    Example: purejaxrl eval runs/deepsea --episodes 128 --gif deepsea.gif
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    episodes: int = 128
    """Episodes per seed."""
    seed: int = 0
    """The episodes' own seed; training's keys are not touched."""
    sample: bool = False
    """Sample actions instead of taking the most likely ones."""
    checkpoint: str = "newest"
    """newest, best, or the number of updates after which it was saved."""
    json: bool = False
    """Print a row for each seed as JSON on stdout, instead of a table."""
    gif: Path | None = None
    """Write one more episode as an animated GIF; the seed of median return plays it."""


@dataclasses.dataclass
class Report:
    """Write one HTML page about a run, comparing several, or about a sweep or a population: answers, and figures.

    Example: purejaxrl report runs/ppo runs/counts --out comparison.html
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The runs' folders, or one sweep's or population's."""
    out: Path | None = None
    """The page; by default report.html in the only run's folder, or in the folder that holds the first run."""
    title: str = ""
    """A heading; by default the environment's id."""
    films: bool = True
    """Play an episode of each run's best and of its median seed, where the environment has a picture."""
    open: bool = False
    """Open the page in a browser, where there is a screen."""


@dataclasses.dataclass
class Diagnose:
    """Say what an environment is like before any training, and what to train it with; in less than a minute.

    Example: purejaxrl diagnose DeepSea-bsuite --env.size 20

    Untrained policies play: random actions, epsilon-greedy, random actions that last. How often a reward is seen, what
    the observation hides, what is noise, what a small network can predict, and whether a bonus reaches more.
    --env.* set what the environment offers: name it and ask for --help again.
    """

    env: tyro.conf.Positional[str]
    """The environment's id; `purejaxrl list` shows them, and the prefixes that open other packages."""
    num_envs: int = 64
    """Environments of each policy, a multiple of 4."""
    num_steps: int = 512
    """Steps of each of them; more than an episode's length is best."""
    train: bool = True
    """Train PPO with and without a bonus, too, for as many steps; half of the time goes there."""
    seed: int = 0
    """The seed of everything random."""
    out: Path | None = None
    """The folder for diagnosis.json and diagnosis.png; by default runs/diagnose-ENV-N with the next free N."""


@dataclasses.dataclass
class BenchExploration:
    """Every bonus and tuned entropy, epsilon- and epsilon-z-greedy on each task of a suite.

    Example: purejaxrl bench exploration --suite small --out bench/small

    Each method's one number is tuned on seeds of its own. Stop it with Ctrl-C, or SIGTERM; the same command goes on.
    """

    out: Path
    """The folder; what an earlier call has left there is not run again."""
    suite: Literal["small", "noisy", "full"] = "small"
    """small: 3 tasks of 150,000 steps; noisy: 2 with and without noisy TVs; full: 8 tasks, up to a million steps."""
    methods: Annotated[tuple[str, ...], arg(aliases=["--method"])] = ()
    """Only these methods."""
    tasks: tuple[str, ...] = ()
    """Only these tasks of the suite."""
    seeds: int = 10
    """Reporting seeds."""


@dataclasses.dataclass
class BenchDeepsea:
    """How many episodes DeepSea takes, size by size: random actions need about 2^N of size N.

    Example: purejaxrl bench deepsea --sizes 20 30 --seeds 10 --out bench/deepsea

    It is bsuite's, and judged as there: solved once fewer than .9 of the episodes went wrong. Calls with other methods
    and sizes join the folder's table and figures. Stop it with Ctrl-C, or SIGTERM; the same command goes on.
    """

    out: Path
    """The folder; what an earlier call has left there is not run again."""
    sizes: tuple[int, ...] = (10, 20, 30)
    """N: so many rows and columns, and steps of an episode."""
    method: Annotated[tuple[str, ...], arg(aliases=["--methods"])] = ()
    """Of hyperagent, hyperdqn, bootdqn, bootpqn, hyperpqn, noisynet, counts and epsilon; hyperagent unless given."""
    seeds: int = 10
    """Seeds of each method and size, from 0 on."""
    episodes: int = 10_000
    """The budget of each; a seed ends as soon as it has solved its size."""
    stochastic: bool = False
    """bsuite's deep_sea_stochastic: going right fails at times, and the last rewards are noisy."""


@dataclasses.dataclass
class BenchMinigrid:
    """MiniGrid's hard tasks with one setting for nearly all, each within a budget of frames.

    Example: purejaxrl bench minigrid --tasks MiniGrid-KeyCorridorS3R3-v0 --seeds 10 --out bench/minigrid

    A task is solved once .9 of the episodes of a twentieth of its budget (a time limit at least) were successful. Calls
    with other methods and tasks join the folder's table and figures. Stop it with Ctrl-C, or SIGTERM; the same
    command goes on.
    """

    out: Path
    """The folder; what an earlier call has left there is not run again."""
    tasks: tuple[str, ...] = ()
    """Only these, by their ids; ten unless given, from DoorKey-8x8 to ObstructedMaze-Full, which need hours."""
    method: Annotated[tuple[str, ...], arg(aliases=["--methods"])] = ()
    """One or several of noveld, ngu, counts and entropy; the recommended one, noveld, unless given."""
    seeds: int = 10
    """Seeds of each method and task, from 0 on."""


@dataclasses.dataclass
class BenchSpeed:
    """Steps per second, compile times, memory and start-up, in turns with other libraries on the same work.

    Example: purejaxrl bench speed --out bench/speed

    Peers are installed into environments of their own the first time. Nothing else should run on the machine.
    """

    out: Path
    """The folder; works that are not asked for now stay as an earlier call has left them."""
    works: tuple[str, ...] = ()
    """Only these, of ppo-4, ppo-64, ppo-2048, ppo-minatar, dqn-10, dqn-128, pqn-128."""
    rounds: int = 5
    """Runs of each library, in turns."""
    devices: int = 1
    """Host devices that one run of ours is spread over (not DQN's)."""
    checkout: Path | None = None
    """A clone of PureJaxRL's repository, the original, to compare with as well."""
    start_up: tuple[Literal["rejax", "original", "sbx", "sb3"], ...] = ("rejax",)
    """Peers to be timed from a process's start as well, beside ours without and with a cache; sb3 takes minutes."""
    at_least: float = 0.0
    """Exit with 1 where the ratio of steps per second to a peer's is below this."""


@dataclasses.dataclass
class BenchProfile:
    """Where the time of one update goes: rollout, environment, resets, policy, bonus, and what the learner does.

    Example: purejaxrl bench profile --env CartPole-v1 --num-envs 64 --bonus rnd

    --env.*, --algo.* and --bonus.* are those of `purejaxrl train`.
    """

    env: str
    """The environment's id; `purejaxrl list` shows them."""
    algo: str = "ppo"
    """The algorithm."""
    bonus: str = "none"
    """The exploration bonus, or none, or bonuses combined: 'e3b*rnd', 'counts+rnd', 'sofe(e3b)'."""
    num_envs: int = 64
    """Environments, stepped in parallel."""
    updates: int = 4
    """Updates that each part is timed over; for the short ones of DQN take hundreds."""


@dataclasses.dataclass
class Bench:
    """Run a comparison and write its tables, or say where the time goes.

    Example: purejaxrl bench exploration --suite small --out bench/small"""


@dataclasses.dataclass
class List:
    """Show every environment, algorithm and bonus, or one of the three.

    Example: purejaxrl list envs

    `list envs` says what each environment is: observation, actions, step limit, source, and why exploring is hard.
    `list envs --source craftax` shows the ids of another package.
    """

    what: tyro.conf.Positional[
        Annotated[Literal["algos", "bonuses", "envs"] | None, arg(metavar="[{algos,bonuses,envs}]")]
    ] = None
    """Only these."""
    source: str | None = None
    """Environments of another package, by the prefix of their ids."""


BENCHES = {
    "exploration": BenchExploration,
    "deepsea": BenchDeepsea,
    "minigrid": BenchMinigrid,
    "speed": BenchSpeed,
    "profile": BenchProfile,
}
VERBS = {
    "train": Train,
    "sweep": Sweep,
    "resume": Resume,
    "eval": Eval,
    "report": Report,
    "diagnose": Diagnose,
    "bench": Bench,
    "list": List,
}
