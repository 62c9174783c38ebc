"""Reading how a Keras model calls its layers, for what has to run, invert or place them."""
