"""Arguments, data and files that nobody means: each is taken, or refused with what was allowed."""
