"""What the program `scale_space.py` beside this folder is made of."""
