"""Benchmarks: published comparisons as one command each, resumable, with the configuration beside the results."""
