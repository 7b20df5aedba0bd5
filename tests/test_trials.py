from dataclasses import replace

import pytest

from gantools import trials
from gantools.trials import COLUMNS, Row, StudyError, Trial

TRIAL = Trial("classical+gan", 1_000, 0.25, 3, "cnn", "rgan-1000-3", 1)
ROW = Row(*vars(TRIAL).values(), 600, 0.9712, 0.9695, "0123456789ab", 19.5, (0.99, 0.25, 1.0))


def test_a_trial_prints_itself_as_a_row_is_asked_for_and_is_parsed_back():
    text = "arm=classical+gan,size=1000,dose=0.25,subset=3,classifier=cnn,gan=rgan-1000-3,seed=1"
    assert str(TRIAL) == text
    assert Trial(**trials.parse(text)) == TRIAL
    assert trials.parse(" arm = gan only , dose=4") == {"arm": "gan only", "dose": 4.0}
    assert "gan=" not in str(replace(TRIAL, gan=""))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("arm", "'arm' is not one of arm=…, size="), ("steps=3", "'steps=3'"), ("size=many", "size='many' is no number")],
)
def test_a_row_that_cannot_be_read_is_named(text, complaint):
    with pytest.raises(StudyError, match=complaint):
        trials.parse(text)


def test_file_names_differ_where_trials_do_and_hold_no_spaces():
    others = [replace(TRIAL, dose=4.0), replace(TRIAL, seed=0), replace(TRIAL, gan=""), replace(TRIAL, arm="gan only")]
    names = {trial.file_name for trial in (TRIAL, *others)}
    assert len(names) == 5
    assert not any(" " in name for name in names)


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    plain = Row("real", 100, 0.0, 0, "published cnn", "", 0, 6_250, 1.0, 0.5, "", 2.25, (1.0,))
    trials.append(path, [ROW])
    trials.append(path, [plain])
    assert trials.read(path) == [ROW, plain]
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert path.read_text().splitlines()[1].startswith("classical+gan,1000,0.25,3,cnn,rgan-1000-3,1,600,0.9712,0.9695,")
    assert ROW.trial == TRIAL and type(ROW.trial) is Trial


@pytest.mark.parametrize("half", ["classical+gan,1000,0.2", "", "a"])
def test_half_a_line_at_the_end_is_cut_off_and_nothing_else(tmp_path, half):
    path = tmp_path / "rows.csv"
    trials.append(path, [ROW, replace(ROW, seed=0)])
    whole = path.read_text()
    path.write_text(whole + half)
    trials.mend(path)
    assert path.read_text() == whole


def test_a_file_with_half_a_heading_begins_anew(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("arm,si")
    trials.mend(path)
    trials.append(path, [ROW])
    assert trials.read(path) == [ROW]
    trials.mend(tmp_path / "missing.csv")
    assert not (tmp_path / "missing.csv").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("arm,size\nreal,100\n", "expected the columns arm, size, dose"),
        ("", "expected the columns"),
        (",".join(COLUMNS) + "\nreal,many,0,0,cnn,,0,1,1,1,,1,1\n", "cannot be read: .*many"),
        (",".join(COLUMNS) + "\nreal,100\n", "cannot be read"),
        (",".join(COLUMNS) + "\nreal,100,0,0,cnn,,0,1,1,1,,1\n", "cannot be read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, complaint):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(StudyError, match=complaint):
        trials.read(path)
    with pytest.raises(StudyError, match=r"missing\.csv cannot be read"):
        trials.read(tmp_path / "missing.csv")


def test_a_field_of_a_row_is_given_once():
    with pytest.raises(StudyError, match="gives size twice"):
        trials.parse("size=100,size=300")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda line: line + ",7", "more than 13 columns"),
        (lambda line: line.replace("0.9712", "nan"), "accuracy=nan, validation=0.9695 must be shares"),
        (lambda line: line.replace("0.9695", "7"), "accuracy=0.9712, validation=7.0 must be shares"),
    ],
)
def test_a_line_that_is_no_row_is_refused(tmp_path, change, complaint):
    path = tmp_path / "rows.csv"
    trials.append(path, [ROW])
    heading, line = path.read_text().splitlines()
    path.write_text(f"{heading}\n{change(line)}\n")
    with pytest.raises(StudyError, match=complaint):
        trials.read(path)
