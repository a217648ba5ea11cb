"""What several processes share, in one Redis.

Redis holds the working copy; what a process has acknowledged lies in its own database first. Nothing here waits longer
than a tenth of a second for it, and while it cannot be used every process goes on by itself.
"""
