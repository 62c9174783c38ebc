"""What the paper prints.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), section 4.
"""

# Test errors on Cluttered MNIST, in percent.
TABLE1 = {"coarse": 3.69, "fine": 1.70, "DCN w/o hints": 1.71, "DCN with hints": 1.39}
# Multiplications of an image, in millions, as section 4.1.3 counts.
MULTIPLICATIONS = {"fine": 84.5, "DCN w/o hints": 27.7, "DCN with hints": 27.7}
# Errors of whole numbers on SVHN without boxes, in percent.
TABLE2 = {
    "coarse, 1 scale": 40.6,
    "coarse, 2 scales": 40.0,
    "coarse, 3 scales": 40.0,
    "fine, 1 scale": 25.2,
    "fine, 2 scales": 23.7,
    "fine, 3 scales": 23.3,
    "soft attention, 1 scale": 31.4,
    "soft attention, 2 scales": 31.1,
    "soft attention, 3 scales": 30.8,
    "DCN, 6 patches, 1 scale": 20.0,
    "DCN, 6 patches, 2 scales": 18.2,
    "DCN, 9 patches, 3 scales": 16.6,
}
