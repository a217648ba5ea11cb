"""What the program tells about itself: log lines, redacted, and the last requests."""
