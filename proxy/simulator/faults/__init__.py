"""Every way an upstream can fail, and what clients are promised: one table for tests, documentation and drill."""
