"""The Pain Archive's folder: a few generated frames in the original format."""

import shutil

import numpy as np
import pytest
from PIL import Image

from keras_attention import datasets
from keras_attention.datasets.pain_archive import fit_to_square, mean_shape, warp, warp_weights
from keras_attention.datasets.splits import choose_subjects
from tests.datasets.image_dataset_files import SUBJECTS, draw_face, face_shape, make_pain_archive

# One of three subjects is the test subject: the one closest to 30 % of the 13 frames.
TEST_FRAMES = 4
TRAIN_FRAMES = sum(SUBJECTS.values()) - TEST_FRAMES
SIZE = 24
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.4, 0.6], [0.7, 0.2]]) * (SIZE - 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_pain_archive(tmp_path_factory.mktemp("pain"))


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy")


def arrays(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


def load(split, folder, **arguments):
    return datasets.load("pain_archive", split, data_dir=folder, **arguments)


@pytest.fixture(scope="module")
def plain_faces(made):
    """All training faces in their order, without noise and flips."""
    return arrays(load("train", made, shuffle=False, augment=False))[0]


def test_faces_and_labels(made):
    dataset = load("test", made)
    assert dataset.element_spec[0].shape == (48, 48, 3)
    images, labels = arrays(dataset)
    assert (images.dtype, labels.dtype) == (np.float32, np.float32)
    assert labels.tolist() == [0, 1, 2, 3]
    assert images.min() == 0
    assert 0.5 < images.max() <= 1
    assert np.all(images[:, 0, 0] == 0), "black outside the face"
    batch, _ = next(iter(load("train", made, batch_size=2, size=20)))
    assert batch.shape == (2, 20, 20, 3)


def test_moved_and_turned_faces_come_out_alike(plain_faces):
    faces = plain_faces
    assert np.abs(faces - faces[0]).max() < 0.05
    assert faces[0].std() > 0.2
    # The center of the first face equals the center of an upright image.
    left, top = face_shape().min(axis=0) + np.array([40, 30])
    right, bottom = face_shape().max(axis=0) + np.array([40, 30])
    upright = Image.fromarray(draw_face(np.eye(2), (40, 30)))
    side = round(48 * (right - left) / (bottom - top))
    upright = upright.resize((side, 48), box=(left, top, right, bottom))
    margin = (48 - side) // 2
    middle = faces[0][12:36, margin : margin + side]
    wanted = np.asarray(upright, "float32")[12:36] / 255
    assert np.corrcoef(middle[:, 8:-8].ravel(), wanted[:, 8:-8].ravel())[0, 1] > 0.95


def test_parts_share_no_subject(made):
    assert int(load("train", made).cardinality()) == TRAIN_FRAMES
    assert int(load("test", made, size=12).cardinality()) == TEST_FRAMES
    requested = load("test", made, test_subjects=["042-ll042", "043-jh043"], size=12)
    assert int(requested.cardinality()) == 9


def test_seven_of_25_subjects_have_30_percent_of_the_frames():
    counts = np.random.default_rng(1).integers(500, 4000, 25)
    subjects = np.repeat([f"subject {number}" for number in range(25)], counts)
    chosen = choose_subjects(subjects)
    assert len(chosen) == 7
    assert np.isin(subjects, chosen).mean() == pytest.approx(0.3, abs=0.002)
    assert chosen == choose_subjects(np.random.default_rng(0).permutation(subjects))


def test_every_pass_redraws_noise_and_flips_and_seeds_repeat_them(made):
    options = {"shuffle": False, "size": 20}
    first, again, other = (load("train", made, seed=seed, **options) for seed in (3, 3, 4))
    one, two = arrays(first), arrays(first)
    assert np.abs(one[0] - two[0]).mean() > 0.01
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(one[0], arrays(again)[0])
    np.testing.assert_array_equal(two[0], arrays(again)[0])
    assert np.abs(one[0] - arrays(other)[0]).mean() > 0.01


@pytest.mark.slow
def test_skipping_passes_gives_what_would_have_come(made):
    whole, rest = (load("train", made, batch_size=3, seed=1, size=12).repeat() for _ in range(2))
    whole = list(whole.take(9).as_numpy_iterator())[6:]
    for (face, label), (want, want_label) in zip(rest.skip(6).take(3), whole, strict=True):
        np.testing.assert_array_equal(face, want)
        np.testing.assert_array_equal(label, want_label)


def test_without_noise_faces_are_mirrored_or_as_they_are(made, plain_faces):
    plain = plain_faces
    drawn, _ = arrays(load("train", made, shuffle=False, landmark_noise=0))
    same = np.abs(drawn - plain).max(axis=(1, 2, 3)) < 0.003
    mirrored = np.abs(drawn - plain[:, :, ::-1]).max(axis=(1, 2, 3)) < 0.003
    assert np.all(same ^ mirrored)
    assert 0 < same.sum() < len(same)


@pytest.mark.slow
def test_small_noise_changes_faces_little(made, plain_faces):
    plain = plain_faces
    changes = []
    for noise in (1e-4, 1e-2):
        noisy, _ = arrays(load("train", made, shuffle=False, landmark_noise=noise))
        either = [np.abs(noisy - face).mean(axis=(1, 2, 3)) for face in (plain, plain[:, :, ::-1])]
        changes.append(np.minimum(*either).mean())
    assert changes[0] < 0.005 < changes[1] < 0.15


@pytest.mark.slow
def test_train_size_draws_frames_and_the_test_part_stays(made):
    options = {"train_size": 5, "shuffle": False, "augment": False, "size": 12}
    labels = [arrays(load("train", made, **options))[1] for _ in range(2)]
    assert len(labels[0]) == 5
    np.testing.assert_array_equal(*labels)
    whole, few = (arrays(load("test", made, train_size=count, size=12))[0] for count in (None, 5))
    np.testing.assert_array_equal(whole, few)


def test_the_environment_variable_leads_to_the_folder(made, monkeypatch):
    monkeypatch.setenv("PAIN_ARCHIVE_DIR", str(made))
    assert int(datasets.load("pain_archive", "test").cardinality()) == TEST_FRAMES


@pytest.mark.slow
def test_frames_without_label_are_left_out_with_a_warning(folder):
    next(folder.glob("Frame_Labels/PSPI/042*/*/*001_facs.txt")).unlink()
    with pytest.warns(UserWarning, match=r"1 of 13 frames.*ll042t1aaaff001.png"):
        dataset = load("test", folder, test_subjects=["042-ll042"])
    assert int(dataset.cardinality()) == SUBJECTS["042-ll042"] - 1


@pytest.mark.parametrize(
    ("pattern", "text", "message"),
    [
        ("AAM_landmarks/*/*/*001_aam.txt", "1 2\n" * 65, "66 lines of x and y.*: 130 numbers"),
        ("AAM_landmarks/*/*/*001_aam.txt", "1 nan\n" * 66, "132 numbers, 66 of them finite"),
        ("AAM_landmarks/*/*/*001_aam.txt", "1 1\n" * 66, "66 lines of x and y"),
        ("Frame_Labels/PSPI/*/*/*001_facs.txt", "17", r"from 0 to 16.*facs.txt'. Received: \[17"),
        ("Frame_Labels/PSPI/*/*/*001_facs.txt", "none", r"Received: \[nan\]"),
    ],
)
def test_files_that_are_not_as_published(folder, pattern, text, message):
    next(iter(sorted(folder.glob(pattern)))).write_text(text)
    with pytest.raises(ValueError, match=message):
        load("train", folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"landmark_noise": -1}, "Received: landmark_noise=-1"),
        (
            {"test_subjects": ["ann"]},
            "subset of 042-ll042, .*Received: test_subjects=.'ann'",
        ),
        ({"test_subjects": list(SUBJECTS)}, "must be a proper subset"),
        ({"train_size": TRAIN_FRAMES + 1}, "from 1 to 9. Received: train_size=10"),
    ],
)
def test_bad_options(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        load("train", made, **arguments)


def test_errors_for_wrong_folders_name_the_source(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("PAIN_ARCHIVE_DIR", raising=False)
    expected = r"PAIN_ARCHIVE_DIR.*AAM_landmarks/SUBJECT.*on request: https://.*Received: data_dir="
    with pytest.raises(ValueError, match=f"{expected}None"):
        datasets.load("pain_archive", "train")
    with pytest.raises(ValueError, match=f"{expected}'.*', a folder with copy"):
        load("train", tmp_path)
    shutil.rmtree(folder / "AAM_landmarks")
    with pytest.raises(ValueError, match="13 frames without landmarks"):
        load("train", folder)


def test_one_subject_is_not_enough(folder):
    for subject in ("042-ll042", "043-jh043"):
        shutil.rmtree(folder / "Images" / subject)
    with pytest.raises(ValueError, match=r"at least two subjects.*Received: 047-jl047"):
        load("train", folder)


def smooth(height, width):
    """An image whose bilinear interpolation is almost exact."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + y / 7), np.cos(x / 8 - y / 9), np.sin(y / 6)]
    return (np.stack(waves, axis=-1) / 2 + 0.5).astype("float32")


def turned(shape, angle=0.0, scale=1.0, move=(0.0, 0.0)):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return shape @ np.array([[cos, sin], [-sin, cos]]) + np.array(move)


def test_reference_landmarks_change_nothing():
    image = smooth(SIZE, SIZE)
    warped = warp(image, CORNERS.astype("float32"), warp_weights(CORNERS, SIZE), SIZE)
    np.testing.assert_allclose(warped, image, atol=1e-5)


def test_an_affine_change_is_undone():
    """An affine map of image and landmarks must not change the warped image."""
    affine, move = np.array([[1.3, 0.2], [-0.3, 1.1]]), np.array([9.0, 4.0])
    wide = smooth(60, 60)
    landmarks = (CORNERS @ affine + move).astype("float32")
    warped = warp(wide, landmarks, warp_weights(CORNERS, SIZE), SIZE)
    y, x = np.mgrid[:SIZE, :SIZE]
    u, v = np.moveaxis(np.stack([x, y], axis=-1) @ affine + move, -1, 0)
    waves = [np.sin(u / 9 + v / 7), np.cos(u / 8 - v / 9), np.sin(v / 6)]
    np.testing.assert_allclose(warped, np.stack(waves, axis=-1) / 2 + 0.5, atol=5e-3)


def test_each_triangle_is_warped_on_its_own():
    """Moving a landmark changes the result only in its neighborhood."""
    moved = CORNERS.copy()
    moved[4] += [3.0, -2.0]
    image, weights = smooth(SIZE, SIZE), warp_weights(CORNERS, SIZE)
    where = weights @ moved
    inner = weights @ CORNERS - np.stack(np.meshgrid(*[np.arange(SIZE)] * 2), -1).reshape(-1, 2)
    np.testing.assert_allclose(inner, 0, atol=1e-5)
    far = weights[:, 4] == 0
    assert 0.1 < far.mean() < 0.9
    warped = warp(image, moved.astype("float32"), weights, SIZE).numpy().reshape(-1, 3)
    np.testing.assert_allclose(warped[far], image.reshape(-1, 3)[far], atol=1e-5)
    assert np.abs(where[~far] - (weights @ CORNERS)[~far]).max() > 2


def test_outside_the_outline_is_black_and_inside_weights_sum_to_one():
    shape = fit_to_square(face_shape(), SIZE)
    weights = warp_weights(shape, SIZE, samples=2)
    assert weights.shape == (4 * SIZE * SIZE, 66)
    sums = weights.sum(axis=1)
    assert np.all(np.isclose(sums, 1, atol=1e-5) | (sums == 0))
    assert 0.5 < sums.mean() < 0.9
    white = np.ones((40, 40, 1), "float32")
    warped = warp(white, (shape + 5).astype("float32"), weights, SIZE, 2).numpy()
    assert warped[0, 0, 0] == 0
    assert warped.max() == 1


def test_samples_smooth_images_that_shrink():
    """Alternating black and white rows, four per pixel of the result."""
    rows = np.zeros((4 * SIZE, 4 * SIZE, 1), "float32")
    rows[1::2] = 1
    landmarks = (CORNERS * 4).astype("float32")
    rough = warp(rows, landmarks + 1.0, warp_weights(CORNERS, SIZE), SIZE)
    np.testing.assert_allclose(rough, 1, atol=1e-4)
    fine = warp(rows, landmarks + 1.5, warp_weights(CORNERS, SIZE, 4), SIZE, 4)
    np.testing.assert_allclose(fine[1:-1, 1:-1], 0.5, atol=1e-4)


def test_mean_shape_ignores_position_size_and_rotation():
    shape = face_shape()
    changes = [(0.1, 1.0, (3, 4)), (-0.1, 2.5, (100, 50)), (0.0, 0.4, (-7, 0))]
    mean = mean_shape(np.stack([turned(shape, *change) for change in changes]))
    centered = shape - shape.mean(axis=0)
    np.testing.assert_allclose(mean, centered / np.linalg.norm(centered), atol=1e-6)


def test_fit_to_square_fills_the_longer_side():
    shape = fit_to_square(face_shape(), 48)
    assert np.ptp(shape, axis=0).max() == pytest.approx(47)
    np.testing.assert_allclose((shape.min(axis=0) + shape.max(axis=0)) / 2, 23.5)


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"finite, different landmarks. Received: shapes\[1\]"):
        mean_shape(np.stack([CORNERS, np.ones_like(CORNERS)]))
    line = np.arange(5.0)[:, None] * [1.0, 2.0]
    with pytest.raises(ValueError, match=r"span an area\. Received: reference="):
        warp_weights(line, 8)
