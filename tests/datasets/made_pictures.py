"""Small folders of made-up faces, dishes and rooms in the true format of published data sets."""

import numpy as np
from PIL import Image

HEADER = (
    "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\t"
    "fiducial_yaw_angle\tfiducial_score"
)
AGES = ("(0, 2)", "(4, 6)", "(8, 12)", "(15, 20)", "(25, 32)", "(38, 43)", "(48, 53)", "(60, 100)")
# Lines of every fold beside two of each class: an age that fits nearly and three that do not.
ODD = (("(27, 32)", "f"), ("None", "m"), ("35", "u"), ("(8, 23)", ""))
# Of each image of food: its sides, and its dishes by folder.
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
SCENES = NAMES.split()
MODES = ("RGB", "RGB", "RGB", "RGB", "L", "CMYK")
FORMATS = ("JPEG", "JPEG", "PNG", "GIF")


def solid_image(color, sides):
    """An image of one color, its left half dark."""
    pixels = np.full((sides[1], sides[0], 3), color, "uint8")
    pixels[:, : sides[0] // 2] //= 4
    return Image.fromarray(pixels)


def make_adience(folder):
    """Five folds with a person each, aligned faces bright and others dark."""
    for fold in range(5):
        user, lines = f"{fold}0601258@N03", [HEADER]
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
    """A hundred categories with four images of their own, and two that several share."""
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
    for label, name in enumerate(SCENES):
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
