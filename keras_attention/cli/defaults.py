"""What `train` does where no option says otherwise."""

# Section 4.2 of Chitta, Targeted Kernel Networks (2018), for MNIST.
TRAIN_DEFAULTS = {
    "data": "digits",
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 0.1,
    "seed": 0,
}
