"""What every worker of `purejaxrl bench speed` does: prepare, say so, then a training run for each line it is sent.

It runs in peers' environments too, so it needs the standard library alone.
"""

import json
import resource
import sys
import time


def say(**report):
    print(json.dumps(report), flush=True)


def serve(prepare, work, load=lambda work: None):
    """Prepare a train function, then time it once for each seed on a line of the standard input.

    Args:
      prepare: ``work -> (train, score)``, everything compiled; ``train(seed)`` returns a finished result, and
        ``score(result, seed)`` its ``(environment steps, mean return)``, which is not timed.
      work: one of the works of `purejaxrl.bench.speed`, as JSON.
      load: ``work -> None``, imports what cannot be imported before the work is known. Imports are no compiling.
    """
    work = json.loads(work)
    load(work)
    start = time.perf_counter()
    train, score = prepare(work)
    say(compile_seconds=time.perf_counter() - start)
    for line in sys.stdin:
        start = time.perf_counter()
        result = train(int(line))
        seconds = time.perf_counter() - start
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of the run: read before anything is evaluated
        say(seconds=seconds, peak_bytes=most * (1 if sys.platform == "darwin" else 1024))
        steps, mean_return = score(result, int(line))
        say(steps=steps, mean_return=mean_return)
