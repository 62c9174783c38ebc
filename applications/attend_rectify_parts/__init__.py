"""What the program `attend_rectify.py` beside this folder is made of."""
