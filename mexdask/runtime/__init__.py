"""From C text to a loaded kernel: the compiler, the caches in memory and on disk, the counters."""
