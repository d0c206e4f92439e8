"""What is on disk: commits, stamps, record frames, the log, the index and the disk itself."""
