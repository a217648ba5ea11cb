"""The HTTP side that clients see."""
