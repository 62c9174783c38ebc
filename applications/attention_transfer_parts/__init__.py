"""What the program `attention_transfer.py` beside this folder is made of."""
