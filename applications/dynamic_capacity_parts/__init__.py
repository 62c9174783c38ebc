"""What the program `dynamic_capacity.py` beside this folder is made of."""
