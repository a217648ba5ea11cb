"""From one exchange to one answer: the only loop that decides whether something is tried again."""
