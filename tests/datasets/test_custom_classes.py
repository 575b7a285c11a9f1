"""``classes.csv``: every table that means something, and one message for every other."""

import numpy as np
import pytest
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.custom_classes import means_void, read_classes

VALUES = "name,values,color\nland,0 7,#00ff00\nsea,3,#0000ff\n"
COLORS = "name,values,color\nland,#00ff00 #808000,#00ff00\nsea,#0000ff,#0000ff\n"
MANY = "name,values,color\n" + "\n".join(f"class {i},#{i:06x},#{i:06x}" for i in range(255))
VOID = (
    "void", "Unlabeled", "UNLABELLED", "un-labeled", "background", "Ignored", "none", "don't care",
    "Dont_Care", "__ignore__", "void/unlabelled", "no label", "void 1", "ignore_label",
    "Unlabelled pixels",
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + VALUES,
        VALUES.replace(",", ";"),
        VALUES.replace(",", "\t"),
        VALUES.replace("\n", "\r\n"),
        "\n" + VALUES.replace("name,values,color", " Name , VALUES,color") + "\n,,\n",
        VALUES.replace("sea", '"sea"').rstrip("\n"),
    ],
)
def test_table_as_spreadsheets_write_it_is_the_same_table(tmp_path, text):
    (tmp_path / "a.csv").write_text(VALUES)
    (tmp_path / "b.csv").write_text(text, encoding="utf-8", newline="")
    assert read_classes(tmp_path / "a.csv") == read_classes(tmp_path / "b.csv")


def test_two_and_254_classes_are_possible(tmp_path):
    path = tmp_path / "classes.csv"
    rows = [f"class {i},#0000{i:02x},#{i:02x}0000" for i in range(254)]
    path.write_text("\n".join(["name,values,color", *rows]))
    table = read_classes(path)
    assert [item.train_id for item in table.classes] == list(range(254))
    Image.fromarray(np.array([[[0, 0, 253], [0, 0, 0]]], np.uint8)).save(tmp_path / "a.png")
    assert table.read(tmp_path / "a.png").tolist() == [[253, 0]]


def test_protocol_tells_tables_apart_that_label_otherwise(tmp_path):
    def protocol(text: str) -> str:
        (tmp_path / "classes.csv").write_text(text)
        return read_classes(tmp_path / "classes.csv").protocol

    assert protocol(VALUES) == protocol(VALUES.replace("#0000ff", "#0000fe"))  # paint alone
    others = {
        protocol(VALUES.replace("0 7", "0")),
        protocol(VALUES.replace("sea", "lake")),
        protocol(VALUES + "ignore,9,\n"),
        protocol(VALUES + "ignore,*,\n"),
        protocol(COLORS),
    }
    assert len(others | {protocol(VALUES)}) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected the columns name, values, color"),
        ("\n,,\n", "is empty"),
        ("name,values\nland,0\n", "expected the columns name, values, color, got 'name,values'"),
        ("land,0,#00ff00\nsea,3,#0000ff\n", "expected the columns"),
        (VALUES + "sky,5\n", "line 4: 2 cells"),
        (VALUES + "sky,5,6,#ffffff\n", "line 4: 4 cells"),
        (VALUES + ",5,#ffffff\n", "line 4: '' is not a class name"),
        (VALUES + f"{'x' * 99},5,#ffffff\n", "is not a class name"),
        (VALUES + "sea,5,#ffffff\n", "line 4: the name 'sea' is listed twice"),
        (VALUES + "\u00e9,5,#ff0000\ne\u0301,6,#ffffff\n", "line 5: the name '\u00e9' is listed"),
        (VALUES + "sky,3,#ffffff\n", "line 4: '3' belongs to 'sea' already"),
        (VALUES + "sky,5 5,#ffffff\n", "line 4: '5' belongs to 'sky' already"),
        (VALUES + "sky,5,#0000FF\n", "line 4: 'sky' would be painted like 'sea'"),
        (VALUES + "sky,,#ffffff\n", "line 4: 'sky' has no values"),
        (VALUES + "sky,256,#ffffff\n", "line 4: '256' is not a label value"),
        (VALUES + "sky,-1,#ffffff\n", "line 4: '-1' is not a label value"),
        (VALUES + "sky,5.0,#ffffff\n", "line 4: '5.0' is not a label value"),
        (VALUES + "sky,*,#ffffff\n", "line 4: '*' is not a label value"),
        (VALUES + "sky,#ffffff,#ffffff\n", "line 4: '#ffffff': numbers and colours are mixed"),
        (VALUES + "sky,5,white\n", "line 4: 'white' is not a colour; write it as #rrggbb"),
        (VALUES + "sky,5,\n", "line 4: 'sky' has no colour. Does it mean pixels without a class"),
        (VALUES + "ignore,5,white\n", "line 4: 'white' is not a colour; write it as #rrggbb"),
        (VALUES + "ignore,5,\nIgnore,6,\n", "line 5: the name 'ignore' is listed twice"),
        (VALUES + "ignore,,\n", "line 4: 'ignore' has no values"),
        (VALUES + "ignore,3,\n", "line 4: '3' belongs to 'sea' already"),
        (COLORS + "sky,#00f,#ffffff\n", "line 4: '#00f' is not a colour"),
        (COLORS + "sky,#0000ff,#ffffff\n", "line 4: '#0000ff' belongs to 'sea' already"),
        (VALUES + '"sky,5,#ffffff\n', "unexpected end of data"),
        ("name,values,color\nland,0,#00ff00\n", "1 classes; 2 to 254 are possible"),
        ("name,values,color\nignore,0,\n", "0 classes"),
        (MANY, "255 classes; 2 to 254 are possible"),
        (VALUES.replace("sea", "Süd").encode("cp1252"), "at byte 36, line 3). Save it as UTF-8;"),
        (VALUES.encode("utf-16"), "at byte 0, line 1). Save it as UTF-8;"),
        (VALUES.encode("utf-16-le"), "zero bytes, as in UTF-16). Save it as UTF-8;"),
    ],
)
def test_table_that_says_nothing_or_contradicts_itself_is_refused(tmp_path, text, message):
    path = tmp_path / "classes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SgcpError) as caught:
        read_classes(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_names_that_usually_mean_no_class_are_known():
    assert all(map(means_void, VOID))
    assert not any(map(means_void, ("sky", "avoid", "background class", "unknown object")))
