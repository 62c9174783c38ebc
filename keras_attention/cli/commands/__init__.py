"""What each command does: a file each, whose `run` takes the options and returns an `Answer`."""
