"""Options, training jobs, timing and reports that the programs share."""
