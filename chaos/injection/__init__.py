"""What faults are made with: strace, faked clocks, small file systems, damaged files."""
