"""What convolving a window costs, by rates measured on CPU."""

from dataclasses import dataclass
from typing import Any

Array = Any


@dataclass(frozen=True)
class ConvolutionCost:
    """Seconds of a convolution on a window, from rates measured on CPU.

    The rate falls where there are few kernels, few pixels or few products to sum; the half points
    below are where it falls to half. `benchmarks/convolution_rates.py` prints measured beside
    modelled rates.

    Attributes:
        peak: Multiply-accumulates per second of a large convolution.
        half_kernels: Kernels at half of the peak.
        half_pixels: Pixels of the window at half of the peak.
        half_products: Products of one output value (taps times input channels) at half.
        kernel_bytes_per_second: Of reading the kernels, all that counts for a single image.
        bytes_per_second: Of cutting out, multiplying by the window and putting back.
        start: Seconds of a group's operations with nothing to compute.
        assembly: How often each value of several groups is moved to stand in order again.
        passes: Convolutions a step: 1 for inference, 3 for training (two gradients).
    """

    peak: float = 240e9
    half_kernels: float = 4.0
    half_pixels: float = 14.0
    half_products: float = 60.0
    kernel_bytes_per_second: float = 25e9
    bytes_per_second: float = 8e9
    start: float = 4e-5
    assembly: float = 1.0
    passes: int = 1

    def seconds(
        self, pixels: Array, kernels: Array, products: int, reads: Array, batch: int = 64
    ) -> Array:
        """Estimates what convolving groups takes; arrays broadcast.

        Args:
            pixels: Pixels of the groups' windows.
            kernels: Kernels of the groups.
            products: Taps times input channels.
            reads: Values that the groups read, per image: window, halo and input channels.
            batch: Images.

        Returns:
            Seconds of each group.

        Example:
        >>> cost = ConvolutionCost()
        >>> bool(cost.seconds(25, 32, 6400, 20736) < cost.seconds(25, 256, 6400, 20736))
        True
        """
        rate = self.peak * kernels / (kernels + self.half_kernels)
        rate = rate * pixels / (pixels + self.half_pixels)
        rate = rate * products / (products + self.half_products)
        computed = batch * pixels * kernels * products / rate
        computed = computed + 4.0 * kernels * products / self.kernel_bytes_per_second
        moved = 4.0 * batch * (reads + 3.0 * pixels * kernels) / self.bytes_per_second
        return self.passes * (computed + moved + self.start)

    def assembly_seconds(self, values: Array, batch: int = 64) -> Array:
        """Estimates what putting several groups together takes.

        Args:
            values: Values of an image in the rectangle that holds all groups.
            batch: Images.

        Returns:
            Seconds.
        """
        return self.passes * 4.0 * batch * values * self.assembly / self.bytes_per_second


# Of a training step: cutting out and putting back have gradients too, and more operations.
TRAINING_COST = ConvolutionCost(start=4e-4, assembly=4.0, passes=3)
