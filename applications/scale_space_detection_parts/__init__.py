"""What applications/scale_space_detection.py is made of."""
