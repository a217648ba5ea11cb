"""The canonical form of requests, answers and streams, and what is known about the models."""
