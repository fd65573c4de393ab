"""What was recorded survives the end of the process at any moment."""

import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import func, select

from dicom_node.index.engine import open_index
from dicom_node.index.tables import exam, instance, series, study

_RECORD = """
import sys, threading
from dicom_node.index.engine import open_index
from tests.entries import make_entry
index = open_index(sys.argv[1])
def record(thread):
    number = 0
    while True:
        entry = make_entry(study_uid=f"1.{thread}", series_uid=f"1.{thread}.{number % 3}")
        index.record(entry)
        sys.stdout.write(entry.facts.sop_instance_uid + "\\n")
        sys.stdout.flush()
        number += 1
for thread in range(4):
    threading.Thread(target=record, args=[thread]).start()
"""


@pytest.mark.parametrize("answers", [1, 7, 20, 60])
def test_what_was_answered_survives_a_kill(index_url: str, answers: int) -> None:
    answered = []
    with subprocess.Popen([sys.executable, "-c", _RECORD, index_url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answered.append(line)
            if len(answered) == answers:
                process.kill()
    complete = {line.strip() for line in answered if line.endswith("\n")}
    assert len(complete) >= answers
    with closing(open_index(index_url)) as index, index.read() as conn:
        assert complete <= set(conn.execute(select(instance.c.sop_instance_uid)).scalars())
        for table in (study, series, exam):
            held = conn.execute(select(func.sum(table.c.instance_count))).scalar_one()
            assert held == conn.execute(select(func.count()).select_from(instance)).scalar_one()
        assert conn.execute(select(func.sum(study.c.series_count))).scalar_one() == len(
            conn.execute(select(series)).all()
        )
