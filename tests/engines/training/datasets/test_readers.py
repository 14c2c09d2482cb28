"""Each reader on a tiny copy of its published layout, and on broken ones: one line that says what to do."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.training.datasets.deepfake_faces import picture_bytes, read_table
from engines.training.datasets.items import LabelledItem
from engines.training.datasets.table import READERS, read_dataset
from engines.training.errors import TrainingError
from tests.engines.training.faces_on_disk import rows_of, write_set

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"


def touch(root: Path, *names: str) -> Path:
    """Empty files: readers open no picture and no video."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def by_name(name: str, root: Path) -> dict[str, LabelledItem]:
    return {item.name: item for item in read_dataset(name, root).items}


def write_table(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


# deepfake-faces


@pytest.mark.parametrize("zipped", [True, False])
def test_deepfake_faces_are_read_from_zips_and_folders(tmp_path: Path, zipped: bool) -> None:
    root = write_set(tmp_path, [*rows_of(2, "train", "a"), *rows_of(1, "val", "b")], zipped=zipped)
    items = by_name("deepfake-faces", root)
    assert len(items) == 9
    fake = items["b0f1"]
    assert (fake.label, fake.source, fake.split, fake.kind) == (1, "b0r", "val", "image")
    assert items["a1r"].read_bytes().startswith(b"\xff\xd8")


def kaggle(root: Path, parts: dict[str, int], *, packed: bool) -> Path:
    """Kaggle's own table, which tells no split, with the parts beside it."""
    write_table(
        root / "metadata.csv",
        [["videoname", "original_width", "original_height", "label", "original"]]
        + [[f"{name}.mp4", "185", "186", "REAL", ""] for name in ("early", "middle", "late", "lost")]
        + [["forged.mp4", "185", "186", "FAKE", "late.mp4"]],
    )
    text = "vid,part\n" + "".join(f"{name},{part}\n" for name, part in parts.items())
    if packed:
        (root / "parts.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (root / "parts.csv").write_text(text)
    return touch(root, *(f"faces_224/{name}.jpg" for name in ("early", "middle", "late", "lost", "forged")))


@pytest.mark.parametrize("packed", [True, False])
def test_parts_beside_kaggles_table_give_the_published_split(tmp_path: Path, packed: bool) -> None:
    parts = {"early": 34, "middle": 35, "late": 40, "forged": 49}
    splits = {
        name: item.split for name, item in by_name("deepfake-faces", kaggle(tmp_path, parts, packed=packed)).items()
    }
    assert splits == {"early": "train", "middle": "val", "late": "test", "forged": "test", "lost": None}


def test_a_part_column_gives_the_published_split_too(tmp_path: Path) -> None:
    write_table(tmp_path / "metadata.csv", [["videoname", "label", "original", "part"], ["a.mp4", "REAL", "", "37"]])
    assert by_name("deepfake-faces", touch(tmp_path, "faces_224/a.jpg"))["a"].split == "val"


@pytest.mark.parametrize(
    ("columns", "values", "source", "is_fake"),
    [
        ("label,original", "FAKE,b.mp4", "b", True),
        ("label,original,video", "fake,,c.mp4", "c", True),
        ("label,original,video", "0,b.mp4,c.mp4", "c", False),
        ("label,original", "REAL,NAN", "a", False),
        ("label,original", "REAL,", "a", False),
        ("label", "1", "a", True),
    ],
)
def test_a_row_s_source_is_a_fakes_original_else_its_video_else_itself(
    tmp_path: Path, columns: str, values: str, source: str, is_fake: bool
) -> None:
    (tmp_path / "metadata.csv").write_text(f"\ufeffvideoname,{columns}\na.mp4,{values}\n", encoding="utf-8")
    (row,) = read_table(tmp_path, needs_sources=False)
    assert (row.name, row.source, row.is_fake) == ("a", source, is_fake)


@pytest.mark.parametrize("line", ["b.mp4", "b.mp4,FAKE", "b.mp4,FAKE,a.mp4"])
@pytest.mark.parametrize("needs_sources", [True, False])
def test_a_line_that_is_cut_short_is_no_line(tmp_path: Path, line: str, needs_sources: bool) -> None:
    (tmp_path / "metadata.csv").write_text(f"videoname,label,original,split\na.mp4,REAL,,train\n{line}\n")
    with pytest.raises(TrainingError, match=r"metadata\.csv is damaged \(b\.mp4 has too few values\): unpack"):
        read_table(tmp_path, needs_sources=needs_sources)


def test_a_picture_that_lies_unpacked_beside_its_zip_is_one_item(tmp_path: Path) -> None:
    for zipped in (True, False):
        write_set(tmp_path, rows_of(1, "train", "a"), zipped=zipped)
    listing = read_dataset("deepfake-faces", tmp_path)
    assert [(item.name, item.member) for item in listing.items] == [("a0f0", None), ("a0f1", None), ("a0r", None)]


def test_a_picture_is_found_however_its_zip_spells_its_name(tmp_path: Path) -> None:
    root = write_set(tmp_path, rows_of(1, "train", "a"), zipped=False)
    (root / "faces_224" / "a0r.jpg").unlink()
    with zipfile.ZipFile(root / "faces_224-more.zip", "w") as packed:
        packed.writestr("./faces//a0r.JPG", b"picture")
    assert dict(picture_bytes(root, {"a0r"})) == {"a0r": b"picture"}
    assert by_name("deepfake-faces", root)["a0r"].read_bytes() == b"picture"


def test_a_zip_that_is_not_the_sets_is_left_alone(tmp_path: Path) -> None:
    root = write_set(tmp_path, rows_of(1, "train", "a"), zipped=True)
    (root / "backup.zip").write_bytes(b"PK, but no zip")
    assert len(read_dataset("deepfake-faces", root).items) == 3
    assert len(dict(picture_bytes(root, {"a0r", "a0f0", "a0f1"}))) == 3


def test_rows_without_a_picture_are_counted(tmp_path: Path) -> None:
    root = write_set(tmp_path, rows_of(2, "train", "a"), zipped=False)
    (root / "faces_224" / "a0r.jpg").unlink()
    listing = read_dataset("deepfake-faces", root)
    assert (len(listing.items), listing.missing) == (5, 1)


# DFDC


def dfdc(root: Path) -> Path:
    for part in (3, 36):
        folder = touch(root, *(f"dfdc_train_part_{part}/{part}{name}.mp4" for name in "rf")) / f"dfdc_train_part_{part}"
        (folder / "metadata.json").write_text(
            json.dumps(
                {
                    f"{part}r.mp4": {"label": "REAL", "split": "train"},
                    f"{part}f.mp4": {"label": "FAKE", "split": "train", "original": f"{part}r.mp4"},
                    f"{part}gone.mp4": {"label": "REAL", "split": "train"},
                }
            )
        )
    return root


def test_dfdc_takes_the_published_split_of_its_parts(tmp_path: Path) -> None:
    items = by_name("dfdc", dfdc(tmp_path))
    assert {name: item.split for name, item in items.items()} == {
        "3r": "train",
        "3f": "train",
        "36r": "val",
        "36f": "val",
    }
    assert (items["36f"].label, items["36f"].source, items["36f"].kind) == (1, "36r", "video")
    assert read_dataset("dfdc", tmp_path).missing == 2


def test_another_dfdc_folder_keeps_its_own_split(tmp_path: Path) -> None:
    (touch(tmp_path, "a.mp4") / "metadata.json").write_text(json.dumps({"a.mp4": {"label": "REAL", "split": "test"}}))
    assert by_name("dfdc", tmp_path)["a"].split == "test"


# Celeb-DF v2


def celeb_df(root: Path, listed: str = "1 Celeb-real/id0_0001.mp4\n0 Celeb-synthesis/id0_id7_0001.mp4\n") -> Path:
    (root / "List_of_testing_videos.txt").write_text(listed)
    return touch(
        root,
        "Celeb-real/id0_0001.mp4",
        "Celeb-real/id0_0002.mp4",
        "YouTube-real/00001.mp4",
        "Celeb-synthesis/id0_id7_0001.mp4",
        "Celeb-synthesis/id0_id7_0002.mp4",
    )


def test_in_celeb_dfs_list_1_is_real_and_in_an_item_1_is_fake(tmp_path: Path) -> None:
    items = by_name("celeb-df", celeb_df(tmp_path))
    assert {name: item.label for name, item in items.items()} == {
        "id0_0001": 0,
        "id0_0002": 0,
        "00001": 0,
        "id0_id7_0001": 1,
        "id0_id7_0002": 1,
    }
    assert {name for name, item in items.items() if item.split == "test"} == {"id0_0001", "id0_id7_0001"}


def test_a_celeb_df_fakes_source_is_the_video_that_it_was_made_from(tmp_path: Path) -> None:
    items = by_name("celeb-df", celeb_df(tmp_path))
    assert items["id0_id7_0002"].source == items["id0_0002"].source
    assert items["00001"].source not in {items["id0_0001"].source, items["id0_0002"].source}


def test_a_list_with_its_labels_turned_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not '1 Celeb-real/NAME'"):
        read_dataset("celeb-df", celeb_df(tmp_path, "0 Celeb-real/id0_0001.mp4\n"))


# FaceForensics++


def faceforensics(root: Path, *, splits: str | None = "splits") -> Path:
    if splits:
        pairs = {"train": [["000", "003"]], "val": [["010", "011"]], "test": [["020", "021"]]}
        touch(root, f"{splits}/x")
        for name, pair in pairs.items():
            (root / splits / f"{name}.json").write_text(json.dumps(pair))
    return touch(
        root,
        "original_sequences/youtube/c23/videos/000.mp4",
        "original_sequences/youtube/c40/videos/010.mp4",
        "original_sequences/actors/raw/videos/01__talking.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "manipulated_sequences/NeuralTextures/c40/videos/021_020.mp4",
        "manipulated_sequences/DeepFakeDetection/c0/videos/01_03__talking__A1B2.mp4",
    )


@pytest.mark.parametrize("place", ["splits", "dataset/splits"])
def test_faceforensics_knows_method_compression_source_and_split(tmp_path: Path, place: str) -> None:
    items = by_name("faceforensics", faceforensics(tmp_path, splits=place))
    fake = items["Deepfakes/000_003"]
    assert (fake.label, fake.manipulation, fake.compression, fake.source, fake.split) == (
        1,
        "Deepfakes",
        "c23",
        "000",
        "train",
    )
    assert (items["NeuralTextures/021_020"].source, items["NeuralTextures/021_020"].split) == ("021", "test")
    assert (items["010"].label, items["010"].split, items["010"].compression) == (0, "val", "c40")


def test_an_actors_fake_is_of_the_actors_video_and_of_no_official_split(tmp_path: Path) -> None:
    items = by_name("faceforensics", faceforensics(tmp_path))
    fake, real = items["DeepFakeDetection/01_03__talking__A1B2"], items["01__talking"]
    assert fake.source == real.source
    assert (fake.split, fake.compression) == (None, "raw")


def test_without_its_split_files_faceforensics_is_in_no_split(tmp_path: Path) -> None:
    assert {item.split for item in by_name("faceforensics", faceforensics(tmp_path, splits=None)).values()} == {None}


# Plain folders


def test_folders_name_label_manipulation_and_source(tmp_path: Path) -> None:
    items = by_name("clips", touch(tmp_path, "real/ann_1.mp4", "fake/swap/ann_2.MP4", "fake/bob.jpg", "fake/notes.txt"))
    assert {name: (item.label, item.manipulation, item.source, item.kind) for name, item in items.items()} == {
        "real/ann_1": (0, "real", "ann", "video"),
        "fake/swap/ann_2": (1, "swap", "ann", "video"),
        "fake/bob": (1, "fake", "bob", "image"),
    }


def test_folders_may_lie_in_splits_and_a_table_may_tell_sources(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/real/a.mp4", "test/fake/b.mp4")
    write_table(root / "sources.csv", [["name", "source"], ["b.mp4", "a"]])
    items = by_name("clips", root)
    assert (items["real/a"].split, items["fake/b"].split) == ("train", "test")
    assert items["fake/b"].source == "a"


# Malformed: one clear line each


def breaks(**files: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


MALFORMED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "faces without a table": ("deepfake-faces", breaks(), "give its folder"),
    "faces without a column": (
        "deepfake-faces",
        breaks(metadata_DOT_csv="videoname,label\na.mp4,REAL\n"),
        "column original",
    ),
    "faces with an odd label": (
        "deepfake-faces",
        breaks(metadata_DOT_csv="videoname,label,original,split\na.mp4,MAYBE,,train\n"),
        "write FAKE or REAL",
    ),
    "faces with an odd part": (
        "deepfake-faces",
        breaks(metadata_DOT_csv="videoname,label,original,part\na.mp4,FAKE,,x\n"),
        "is damaged",
    ),
    "faces with packed parts that are not": (
        "deepfake-faces",
        breaks(metadata_DOT_csv="videoname,label,original\na.mp4,FAKE,\n", parts_DOT_csv_DOT_gz="vid,part"),
        "mend or remove it",
    ),
    "faces without pictures": (
        "deepfake-faces",
        breaks(metadata_DOT_csv="videoname,label,original,split\na.mp4,REAL,,train\n"),
        "expected faces_224/",
    ),
    "faces in a broken zip": (
        "deepfake-faces",
        breaks(metadata_DOT_csv="videoname,label,original,split\na.mp4,REAL,,train\n", faces_224_DOT_zip="PK"),
        "fetch it again",
    ),
    "dfdc without a table": ("dfdc", breaks(a_DOT_mp4=""), "metadata.json"),
    "dfdc with half a table": ("dfdc", breaks(metadata_DOT_json='{"a.mp4": {'), "fetch it again"),
    "dfdc with another table": ("dfdc", breaks(metadata_DOT_json='["a.mp4"]'), "map each video"),
    "dfdc with an odd label": ("dfdc", breaks(metadata_DOT_json='{"a.mp4": {"label": 1}}'), "neither REAL nor FAKE"),
    "celeb-df without its list": ("celeb-df", breaks(), "give the folder that holds"),
    "celeb-df with an odd line": ("celeb-df", breaks(List_of_testing_videos_DOT_txt="1\n"), "is not '1 Celeb-real"),
    "celeb-df with an odd fake": (
        "celeb-df",
        lambda root: void(touch(celeb_df(root), "Celeb-synthesis/x.mp4")),
        "is no name of a Celeb-DF fake",
    ),
    "faceforensics without videos": ("faceforensics", breaks(), "expected original_sequences"),
    "faceforensics with an odd split": (
        "faceforensics",
        lambda root: void((faceforensics(root) / "splits/val.json").write_text('["a", 3]')),
        "is not a list of pairs",
    ),
    "faceforensics with an odd fake": (
        "faceforensics",
        lambda root: void(touch(faceforensics(root), "manipulated_sequences/FaceSwap/c23/videos/7.mp4")),
        "is no name of a FaceForensics",
    ),
    "clips without real or fake": ("clips", breaks(real__notes_DOT_txt=""), "expected real/ and fake/"),
    "clips with an odd table": (
        "clips",
        breaks(real__a_DOT_mp4="", sources_DOT_csv="file,person\na,b\n"),
        "no table of name,source",
    ),
}


def void(_: object) -> None:
    """Forget what a maker of layouts returned."""


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_set_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    name, write, words = MALFORMED[case]
    write(tmp_path)
    with pytest.raises(TrainingError) as caught:
        read_dataset(name, tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_folder_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder at"):
        read_dataset(name, tmp_path / "nowhere")


def test_an_unknown_set_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="celeb-df, clips, deepfake-faces"):
        read_dataset("dfcd", tmp_path)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    listing = read_dataset("celeb-df", celeb_df(tmp_path))
    assert {item.split for item in listing.of_split("test").items} == {"test"}
    assert listing.of_split(None) == listing
    with pytest.raises(TrainingError, match="this set has test, train"):
        listing.of_split("val")


def test_a_picture_that_went_away_is_told_in_one_line(tmp_path: Path) -> None:
    item = by_name("clips", touch(tmp_path, "real/a.jpg"))["real/a"]
    item.path.unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        item.read_bytes()


def test_the_shared_faces_have_the_published_counts() -> None:
    root = SHARED / "deepfake-faces"
    if not root.is_dir():
        pytest.skip(f"the shared deepfake-faces set is not at {root}")
    items = read_dataset("deepfake-faces", root).items
    counts = {(split, label): 0 for split in ("train", "val") for label in (0, 1)}
    for item in items:
        counts[str(item.split), item.label] += 1
    assert counts == {("train", 0): 9505, ("train", 1): 16334, ("val", 0): 1807, ("val", 1): 3098}
