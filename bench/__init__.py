"""The measures: each compares with a named baseline in one run, and prints what docs/benchmarks.md keeps."""
