"""Which backend runs."""

import keras

BACKEND = keras.backend.backend()
