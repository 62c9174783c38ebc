"""Writes small folders of generated recordings and flights in the formats of published ones."""

import numpy as np

# Degrees of freedom of CMU's skeletons: 56, and 6 of the root.
LIMB = {"femur": "rx ry rz", "tibia": "rx", "foot": "rx rz", "toes": "rx"}
ARM = {"clavicle": "ry rz", "humerus": "rx ry rz", "radius": "rx", "wrist": "ry"}
ARM |= {"hand": "rx rz", "fingers": "rx", "thumb": "rx rz"}
BACK = ("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head")
CLASSES = ("dance", "jump", "walk")
OF_CLASS = 5


def bones():
    """Each bone of the skeleton with its degrees of freedom; the hips have none."""
    named = {"lhipjoint": ""}
    named |= {f"l{bone}": freedoms for bone, freedoms in LIMB.items()}
    named |= {"rhipjoint": ""} | {f"r{bone}": freedoms for bone, freedoms in LIMB.items()}
    named |= dict.fromkeys(BACK, "rx ry rz")
    for side in "lr":
        named |= {f"{side}{bone}": freedoms for bone, freedoms in ARM.items()}
    return named


def asf():
    """A skeleton file, with comments and indents like CMU's."""
    lines = ["# AST/ASF file generated using VICON BodyLanguage", "# -------------------------"]
    lines += [
        ":version 1.10",
        ":name VICON",
        ":units",
        "  mass 1.0",
        "  length 0.45",
        "  angle deg",
    ]
    lines += [":documentation", "   .ast/.asf automatically generated from VICON data", ":root"]
    lines += ["   order TX TY TZ RX RY RZ", "   axis XYZ", "   position 0 0 0"]
    lines += ["   orientation 0 0 0 ", ":bonedata"]
    for number, (name, freedoms) in enumerate(bones().items()):
        lines += ["  begin", f"     id {number + 1} ", f"     name {name}"]
        lines += ["     direction 0.566809 -0.746758 0.347993 ", "     length 2.40432 "]
        lines += ["     axis 0 0 20   XYZ  "]
        if freedoms:
            limits = ["(-160.0 20.0)"] * len(freedoms.split())
            lines += [f"    dof {freedoms} ", f"    limits {limits[0]}"]
            lines += [f"           {limit}" for limit in limits[1:]]
        lines += ["  end"]
    lines += [":hierarchy", "  begin", "    root lhipjoint rhipjoint lowerback", "  end"]
    return "\n".join(lines) + "\n"


def amc(motion):
    """A motion file of `(frames, 62)` numbers, columns in the skeleton's order."""
    lines = ["#!OML:ASF F:\\VICON\\USERDATA\\rory3\\rory3.ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    counts = {"root": 6} | {name: len(freedoms.split()) for name, freedoms in bones().items()}
    for number, frame in enumerate(motion):
        lines.append(str(number + 1))
        parts = np.split(frame, np.cumsum(list(counts.values())))
        of_bones = {name: part for name, part in zip(counts, parts, strict=False) if len(part)}
        # The order of the bones in the files differs from that of the skeleton.
        for name in ("root", *sorted(set(of_bones) - {"root"})):
            lines.append(f"{name} {' '.join(f'{value:g}' for value in of_bones[name])}")
    return "\n".join(lines) + "\n"


def motion(number, label):
    """Frames of 62 sensors: waves with a frequency per class; the last sensor is constant."""
    frames = np.arange(20 + number)[:, None]
    waves = np.sin((label + 1) * frames / 5 + np.arange(62)) * np.arange(1, 63) + number
    waves[:, -1] = 0.1
    return waves.round(3)


def make_mocap(folder):
    """A folder for each class with five recordings; the last is a CSV file."""
    (folder / "07.asf").write_text(asf())
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(OF_CLASS):
            path = folder / name / f"07_{10 * label + number:02d}.amc"
            path.write_text(amc(motion(number, label)))
    return folder


def make_sensors(folder, header=True):
    """The same recordings as CSV files."""
    names = ",".join(f"sensor {number}" for number in range(62))
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(OF_CLASS):
            rows = [",".join(map(str, row)) for row in motion(number, label)]
            text = "\n".join([names, *rows] if header else rows) + "\n"
            (folder / name / f"{number}.csv").write_text(text)
    return folder


def make_flights(folder, lengths=(30, 25, 40, 20, 35)):
    """Flights with altitude, two engines' fuel flow and a constant; fuel follows altitude."""
    for number, length in enumerate(lengths):
        (folder / "687").mkdir(exist_ok=True)
        altitude = (1000 + 100 * number) * np.sin(np.arange(length) / 10 + number)
        flow = 2000 + altitude / 2
        rows = [f"{a:.4f},{f:.4f},{f + 10:.4f},7" for a, f in zip(altitude, flow, strict=True)]
        text = "\r\n".join(["ALT,FF_1,FF_2,CAS", *rows]) + "\r\n"
        (folder / "687" / f"68720040325143{number}.csv").write_text(text)
    return folder
