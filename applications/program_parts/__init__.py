"""What the programs beside this folder share."""
