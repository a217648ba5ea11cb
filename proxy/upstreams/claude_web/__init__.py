"""claude.ai sessions as an upstream: their calls, their answers, and what has to be deleted after them."""
