"""What `train` does where neither an option nor a file says otherwise."""

# Section 4.2 of Chitta, Targeted Kernel Networks (2018), for MNIST.
TRAIN_DEFAULTS = {
    "data": "digits",
    "epochs": 20,
    "batch_size": 128,
    "optimizer": "sgd",
    "schedule": "steps",
    "seed": 0,
    "devices": 1,
}
# What stands for as many as there are.
ALL_DEVICES = "all"
# By optimizer: that section's, or Keras's.
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001}
# Of SGD where an image has several answers: the losses of all are added up.
SEVERAL_ANSWERS_RATE = 0.01
MOMENTUM = 0.9
SCHEDULES = ("steps", "cosine", "constant")
OPTIMIZERS = tuple(LEARNING_RATES)
