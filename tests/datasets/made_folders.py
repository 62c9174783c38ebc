"""Small folders of made-up images in the true format of published data sets."""

import numpy as np
from PIL import Image

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
CLASSES = (0, 7, 42)
OF_CLASS = 4
# Of each image: its width and height, and its signs' left, top, right, bottom and class.
SCENES = {
    "00000": ((136, 80), [(34, 20, 68, 40, 11), (0, 0, 10, 80, 1)]),
    "00007": ((136, 80), []),
    "00599": ((40, 60), [(4, 6, 40, 60, 42)]),
    "00600": ((136, 80), [(68, 40, 136, 80, 38)]),
    "00899": ((136, 80), []),
}
SUBJECTS = {"042-ll042": 6, "043-jh043": 3, "047-jl047": 4}
FRAME = (60, 80)


def sign(number, margin=5):
    """A bright sign, the left half red, on black; the sign of number n is 20 + n wide."""
    width, height = 20 + number, 16 + 2 * number
    pixels = np.zeros((height + 2 * margin, width + 2 * margin, 3), "uint8")
    pixels[margin:-margin, margin:-margin] = 200
    pixels[margin:-margin, margin : margin + width // 2] = (200, 0, 0)
    return pixels


def row(name, pixels, label, margin=5):
    height, width = pixels.shape[:2]
    return f"{name};{width};{height};{margin};{margin};{width - margin};{height - margin};{label}"


def make_gtsrb(folder):
    """GTSRB with four signs of three classes for training and six for testing."""
    for label in CLASSES:
        images = folder / "GTSRB" / "Final_Training" / "Images" / f"{label:05d}"
        images.mkdir(parents=True)
        rows = [HEADER]
        for number in range(OF_CLASS):
            name = f"00000_{number:05d}.ppm"
            Image.fromarray(sign(number)).save(images / name)
            rows.append(row(name, sign(number), label))
        (images / f"GT-{label:05d}.csv").write_text("\r\n".join(rows) + "\r\n")
    images = folder / "GTSRB" / "Final_Test" / "Images"
    images.mkdir(parents=True)
    rows = [HEADER]
    for number in range(6):
        Image.fromarray(sign(number)).save(images / f"{number:05d}.ppm")
        rows.append(row(f"{number:05d}.ppm", sign(number), CLASSES[number % 3]))
    (images / "GT-final_test.csv").write_text("\r\n".join(rows) + "\r\n")
    return folder


def make_gtsdb(folder):
    """GTSDB with five small images: gray, signs red."""
    root = folder / "FullIJCNN2013"
    root.mkdir(parents=True)
    lines = []
    for name, ((width, height), signs) in SCENES.items():
        pixels = np.full((height, width, 3), 100, "uint8")
        for left, top, right, bottom, label in signs:
            pixels[top:bottom, left:right] = (200, 0, 0)
            lines.append(f"{name}.ppm;{left};{top};{right};{bottom};{label}\n")
        Image.fromarray(pixels).save(root / f"{name}.ppm")
    (root / "gt.txt").write_text("".join(lines))
    (root / "00").mkdir()  # the published folder also has the signs cut out, by class
    return folder


def face_shape():
    """66 landmarks of a face's outline and inside, about 30 pixels wide."""
    rng = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outline = np.stack([15 * np.cos(angle), 18 * np.sin(angle)], axis=1)
    return np.concatenate([outline, rng.uniform(-9, 9, (50, 2))])


def draw_face(turn, move):
    """Smooth waves that move and turn with the face's landmarks."""
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    u, v = np.moveaxis((np.stack([x, y], axis=-1) - move) @ np.linalg.inv(turn), -1, 0)
    waves = np.stack([np.sin(u / 3), np.cos(v / 4), np.sin(u / 5 + v / 3)], axis=-1)
    return np.round(127.5 * (waves + 1)).astype("uint8")


def make_pain_archive(folder):
    """The archive with a few frames of three subjects, moved and turned a little."""
    rng = np.random.default_rng(0)
    for subject, count in SUBJECTS.items():
        sequence = f"{subject[4:]}t1aaaff"
        kinds = ("Images", "AAM_landmarks", "Frame_Labels/PSPI")
        images, points, labels = (folder / kind / subject / sequence for kind in kinds)
        for place in (images, points, labels):
            place.mkdir(parents=True)
        for number in range(count):
            frame = f"{sequence}{number + 1:03d}"
            cos, sin = np.cos(angle := rng.uniform(-0.2, 0.2)), np.sin(angle)
            turn, move = np.array([[cos, sin], [-sin, cos]]), np.array([40 + number, 30])
            Image.fromarray(draw_face(turn, move)).save(images / f"{frame}.png")
            lines = [f"   {x:.7e}   {y:.7e}\n" for x, y in face_shape() @ turn + move]
            (points / f"{frame}_aam.txt").write_text("".join(lines))
            (labels / f"{frame}_facs.txt").write_text(f"   {number % 17:.7e}\n")
    return folder
