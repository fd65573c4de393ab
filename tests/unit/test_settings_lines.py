import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.settings.lines import KeyPath, key_lines, line_of, written_path

TRICKY = '''# a comment with [brackets] and key = value
title = "one \\" two ] } # not a comment"   # comment
literal = 'back\\slash "quoted" #'
long = """
first = 1
[not.a.table]
\\""" still inside ""\\"
two more quotes at the end"""""
raw = \'\'\'
it's "raw" \\
\'\'\'
empty = ""
numbers = [ 1, 2,
  # a comment ] in between
  3,
]
when = 1979-05-27 07:32:00
inline = { a = 1, "b.c" = { d = [ { e = 2 }, { e = 3 } ] } }
dotted . "key one".x = true

[servers]
[servers.alpha]
ip = "10.0.0.1"
[[servers.alpha.disk]]
size = 1
[[servers.alpha.disk]]
size = 2
[servers.alpha.disk.part]
boot = true
[ "quoted table" . b ]
c = 1'''


def paths_of(data: Any, at: KeyPath = ()) -> list[KeyPath]:
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for step, value in steps for path in ((*at, step), *paths_of(value, (*at, step)))]


def test_every_key_of_a_text_with_everything_in_it_has_its_line() -> None:
    lines = key_lines(TRICKY)
    assert set(lines) == set(paths_of(tomllib.loads(TRICKY)))
    expected = {
        ("title",): 2,
        ("literal",): 3,
        ("long",): 4,
        ("raw",): 9,
        ("numbers", 1): 13,
        ("numbers", 2): 15,
        ("inline", "b.c", "d", 1, "e"): 18,
        ("dotted", "key one", "x"): 19,
        ("servers",): 21,
        ("servers", "alpha", "disk", 0): 24,
        ("servers", "alpha", "disk", 1, "size"): 27,
        ("servers", "alpha", "disk", 1, "part", "boot"): 29,
        ("quoted table", "b", "c"): 31,
    }
    assert {path: lines[path] for path in expected} == expected


def test_windows_line_ends_count_once() -> None:
    assert key_lines('a = 1\r\nb = """x\r\ny"""\r\nc = 3\r\n') == {("a",): 1, ("b",): 2, ("c",): 4}


def test_a_key_that_is_not_in_the_file_stands_at_the_nearest_table_around_it() -> None:
    lines = key_lines("[a]\nb = 1\n\n[a.c]\nd = 2\n")
    assert line_of(lines, ("a", "c", "missing", 0)) == 4
    assert line_of(lines, ("elsewhere",)) == 1


def test_a_key_is_named_on_one_line_whatever_it_holds() -> None:
    assert written_path(("units", "a\nb", 0, "host")) == r"units.'a\nb'.0.host"


_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
_scalars = st.one_of(
    st.integers(-99, 99).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.dates().map(str),
    _text.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    _text.map(lambda text: "'" + text.replace("'", "") + "'"),
    _text.map(lambda text: '"""\n' + text.replace("\\", "\\\\").replace('"', '\\"') + '\n# [x]\n"""'),
    _text.map(lambda text: "'''" + text.replace("'", "") + "\n = ]\n'''"),
)
_gaps = st.sampled_from(["", " ", "\n", " # ] , }\n", "\n\n\t"])
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(st.tuples(_gaps, inner, _gaps), max_size=4).map(
        lambda items: "[" + ",".join(f"{before}{value}{after}" for before, value, after in items) + "]"
    ),
    max_leaves=6,
)
_blocks = st.tuples(st.sampled_from(["[{}]", "[[{}]]", "[ {}.sub ]"]), st.lists(_values, max_size=4))


@given(st.lists(_blocks, max_size=5))
def test_every_key_of_any_text_has_the_line_it_is_written_on(blocks: list[tuple[str, list[str]]]) -> None:
    text = ""
    written: dict[str, int] = {}
    for number, (header, values) in enumerate(blocks):
        text += header.format(f"table{number}") + " # header\n"
        for place, value in enumerate(values):
            key = f"key{number}x{place}"
            written[key] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    lines = key_lines(text)
    assert set(lines) == set(paths_of(tomllib.loads(text)))
    assert {path[-1]: line for path, line in lines.items() if path[-1] in written} == written
