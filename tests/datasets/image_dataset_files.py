"""Writes small folders of generated images in the formats of published data sets."""

import h5py
import numpy as np
from PIL import Image

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
CLASSES = (0, 7, 42)
OF_CLASS = 4
# For each image: width and height, and left, top, right, bottom and class of its signs.
SCENES = {
    "00000": ((136, 80), [(34, 20, 68, 40, 11), (0, 0, 10, 80, 1)]),
    "00007": ((136, 80), []),
    "00599": ((40, 60), [(4, 6, 40, 60, 42)]),
    "00600": ((136, 80), [(68, 40, 136, 80, 38)]),
    "00899": ((136, 80), []),
}
SUBJECTS = {"042-ll042": 6, "043-jh043": 3, "047-jl047": 4}
FRAME = (60, 80)
ADIENCE_HEADER = (
    "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\t"
    "fiducial_yaw_angle\tfiducial_score"
)
AGES = ("(0, 2)", "(4, 6)", "(8, 12)", "(15, 20)", "(25, 32)", "(38, 43)", "(48, 53)", "(60, 100)")
# Further ages of every fold: one that is close to a class and three that are not.
ODD = (("(27, 32)", "f"), ("None", "m"), ("35", "u"), ("(8, 23)", ""))
# For each image of food: its size, and its dishes by folder.
MEALS = {
    10: ((60, 40), {1: [(0, 0, 30, 40), (30, 0, 60, 40)], 2: [(10, 10, 50, 30)]}),
    11: ((50, 50), {2: [(5, 5, 45, 45)], 3: [(0, 25, 50, 60)]}),
}
# The classes of indoor scenes as published.
NAMES = """
    airport_inside artstudio auditorium bakery bar bathroom bedroom bookstore bowling buffet casino
    children_room church_inside classroom cloister closet clothingstore computerroom concert_hall
    corridor deli dentaloffice dining_room elevator fastfood_restaurant florist gameroom garage
    greenhouse grocerystore gym hairsalon hospitalroom inside_bus inside_subway jewelleryshop
    kindergarden kitchen laboratorywet laundromat library livingroom lobby locker_room mall
    meeting_room movietheater museum nursery office operating_room pantry poolinside prisoncell
    restaurant restaurant_kitchen shoeshop stairscase studiomusic subway toystore trainstation
    tv_studio videostore waitingroom warehouse winecellar
"""
INDOOR_CLASSES = NAMES.split()
MODES = ("RGB", "RGB", "RGB", "RGB", "L", "CMYK")
FORMATS = ("JPEG", "JPEG", "PNG", "GIF")
# For each split: the number that an image shows, and height and width of the image.
PARTS = {
    "train": [("7", (30, 60)), ("19", (64, 128)), ("205", (20, 90)), ("123456", (30, 60))],
    "extra": [("4321", (70, 40)), ("10", (30, 60))],
    "test": [
        ("5", (30, 60)),
        ("90210", (40, 80)),
        ("31", (30, 60)),
        ("8", (80, 40)),
        ("62", (30, 60)),
    ],
}


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
    (root / "00").mkdir()  # the published folder also has crops of the signs by class
    return folder


def face_shape():
    """66 landmarks of a face, about 30 pixels wide."""
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
        for subfolder in (images, points, labels):
            subfolder.mkdir(parents=True)
        for number in range(count):
            frame = f"{sequence}{number + 1:03d}"
            cos, sin = np.cos(angle := rng.uniform(-0.2, 0.2)), np.sin(angle)
            turn, move = np.array([[cos, sin], [-sin, cos]]), np.array([40 + number, 30])
            Image.fromarray(draw_face(turn, move)).save(images / f"{frame}.png")
            lines = [f"   {x:.7e}   {y:.7e}\n" for x, y in face_shape() @ turn + move]
            (points / f"{frame}_aam.txt").write_text("".join(lines))
            (labels / f"{frame}_facs.txt").write_text(f"   {number % 17:.7e}\n")
    return folder


def solid_image(color, sides):
    """An image of one color, its left half dark."""
    pixels = np.full((sides[1], sides[0], 3), color, "uint8")
    pixels[:, : sides[0] // 2] //= 4
    return Image.fromarray(pixels)


def make_adience(folder):
    """Five folds with a person each, aligned faces bright and others dark."""
    for fold in range(5):
        user, lines = f"{fold}0601258@N03", [ADIENCE_HEADER]
        known = [(age, "fm"[number % 2]) for number, age in enumerate(AGES * 2)]
        for number, (age, gender) in enumerate((*known, *ODD)):
            name = f"{1000 + number}_{fold}c7d_o.jpg"
            cells = (user, name, number, age, gender, 0, 400, 808, 809, -115, 30, 17)
            lines.append("\t".join(map(str, cells)))
            for kind, start, color in (
                ("aligned", "landmark_aligned_face", 200),
                ("faces", "coarse_tilt_aligned_face", 40),
            ):
                (folder / kind / user).mkdir(parents=True, exist_ok=True)
                path = folder / kind / user / f"{start}.{number}.{name}"
                solid_image(color + fold, (40, 40)).save(path)
        (folder / f"fold_{fold}_data.txt").write_text("\n".join(lines) + "\n")
    return folder


def make_uec_food(folder):
    """A hundred categories with four images of their own, and two images of several categories."""
    root = folder / "UECFOOD100"
    dishes = {label: [] for label in range(1, 101)}
    for label, lines in dishes.items():
        (root / str(label)).mkdir(parents=True)
        for number in range(4):
            name = 100 * label + number
            solid_image(100 + label, (24, 20)).save(root / str(label) / f"{name}.jpg")
            lines.append(f"{name} 4 4 20 16")
    for name, (sides, shown) in MEALS.items():
        for label, boxes in shown.items():
            solid_image(255, sides).save(root / str(label) / f"{name}.jpg", quality=95)
            dishes[label] += [f"{name} {' '.join(map(str, box))}" for box in boxes]
    for label, lines in dishes.items():
        table = root / str(label) / "bb_info.txt"
        table.write_text("img x1 y1 x2 y2\n" + "\n".join(lines) + "\n")
    names = [f"{label}\tdish {label}" for label in dishes]
    (root / "category.txt").write_text("id\tname\n" + "\n".join(names) + "\n")
    return folder


def make_mit_scenes(folder):
    """67 classes with two images each for training, one for testing and one in neither list.

    Lists end without a line's end, one is from Windows. Names have blanks and capitals, and some
    images are not what their names say.
    """
    images, listed = folder / "indoorCVPR_09" / "Images", {"Train": [], "Test": []}
    for label, name in enumerate(INDOOR_CLASSES):
        (images / name).mkdir(parents=True)
        for number, part in enumerate(("Train", "Test", "Train", None)):
            path = images / name / f"{name} {number}{'.JPG' if number else '_gif.jpg'}"
            image = solid_image(100 + label, (40, 32 + number)).convert(MODES[label % len(MODES)])
            image.save(path, FORMATS[(label + number) % 4] if image.mode == "RGB" else "JPEG")
            if part:
                listed[part].append(f"{name}/{path.name}")
    for part, end in (("Train", "\r\n"), ("Test", "\n")):
        table = folder / "indoorCVPR_09" / f"{part}Images.txt"
        table.write_text(end.join(sorted(listed[part], reverse=True)), newline="")
    return folder


def color(part, number):
    """Returns the color of an image, which is unique."""
    return 20 * (1 + list(PARTS).index(part)), 30 * number, 200


def pixels(part, number, sides):
    image = np.full((*sides, 3), color(part, number), "uint8")
    image[:, sides[1] // 2 :] //= 2
    return image


def make_svhn(folder):
    """The three folders of the archives: images 1.png and so on, and digitStruct.mat."""
    for part, shown in PARTS.items():
        (folder / part).mkdir(parents=True)
        for number, (_, sides) in enumerate(shown, start=1):
            Image.fromarray(pixels(part, number, sides)).save(folder / part / f"{number}.png")
        numbers = {f"{index}.png": digits for index, (digits, _) in enumerate(shown, start=1)}
        write_digit_struct(folder / part / "digitStruct.mat", numbers)
    return folder


def write_digit_struct(path, numbers):
    """Writes a file like MATLAB: columns of references to names and to groups of boxes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        struct, targets = file.create_group("digitStruct"), file.create_group("#refs#")
        columns = {
            column: struct.create_dataset(column, (len(numbers), 1), h5py.ref_dtype)
            for column in ("name", "bbox")
        }
        for row, (name, digits) in enumerate(numbers.items()):
            codes = np.array([[ord(letter)] for letter in name], "uint16")
            columns["name"][row, 0] = targets.create_dataset(f"n{row}", data=codes).ref
            boxes = targets.create_group(f"b{row}")
            columns["bbox"][row, 0] = boxes.ref
            labels = [float(digit) or 10.0 for digit in digits]
            for key in ("height", "label", "left", "top", "width"):
                write_column(
                    targets, boxes, key, labels if key == "label" else [12.0] * len(labels)
                )


def write_column(targets, boxes, key, values):
    """Writes one value directly, several as references."""
    if len(values) == 1:
        boxes.create_dataset(key, data=np.array([values]))
        return
    column = boxes.create_dataset(key, (len(values), 1), h5py.ref_dtype)
    for row, value in enumerate(values):
        name = f"{boxes.name.split('/')[-1]}_{key}_{row}"
        column[row, 0] = targets.create_dataset(name, data=np.array([[value]])).ref
