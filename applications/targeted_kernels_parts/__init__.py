"""What the program `targeted_kernels.py` beside this folder is made of."""
