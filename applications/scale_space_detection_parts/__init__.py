"""What the program `scale_space_detection.py` beside this folder is made of."""
