"""Side-by-side benchmarks of the node and of other receivers on this machine: ``make bench``, docs/performance.md."""
