"""The sentence at the top, for each way in which a run ends, and the Markdown that begins with it."""

from typing import Any

import pytest

from lakeline.report import markdown
from lakeline.report.verdict import judge

Record = dict[str, Any]

SENTENCES = {
    "promoted": "Version 3 was promoted: rmse 13.1 minutes, 2.3 % better than version 2 on the same 41,020 held-out rows.",
    "first": "Version 1 was promoted: rmse 13.1 minutes on 41,020 held-out rows; there was no model in production to compare it with.",
    "held": "Version 3 was held back: rmse 13.1 minutes, 2.3 % better than version 2 on the same 41,020 held-out rows. "
    "1 of 3 gates refused it.",
    "refused": "2013-08 was refused: 412 of 29,327 raw rows fail “dep_delay is a number”.",
    "published": "2013-07 was published with 28,293 clean rows: every check holds.",
    "repeated": "Nothing new: 2013-07 was published before. flights stays as it was.",
    "nothing": "The run of the data set ended.",
}


def _said(record: Record) -> str:
    return judge(record).sentence.replace("\u00a0", " ")


@pytest.mark.parametrize("kind", SENTENCES)
def test_sentence_says_how_the_run_ended(kind: str, records: dict[str, Record]):
    assert _said(records[kind]) == SENTENCES[kind]


def test_worse_candidate_is_called_worse(records: dict[str, Record]):
    record = records["held"]
    record["evaluation"]["candidate"]["rmse"] = 14.08
    assert "5.0 % worse than version 2" in _said(record)


def test_more_is_better_of_r2_which_has_no_unit(records: dict[str, Record]):
    record = records["promoted"]
    record["metric"] = {"name": "r2", "direction": "maximize"}
    record["evaluation"] |= {"candidate": {"r2": 0.66}, "production": {"r2": 0.6}}
    assert "r2 0.660, 10.0 % better than version 2" in _said(record)


def test_equal_models_are_the_same(records: dict[str, Record]):
    record = records["held"]
    record["evaluation"]["production"] = record["evaluation"]["candidate"]
    assert "rmse 13.1 minutes, the same as version 2 on the same 41,020" in _said(record)


def test_production_that_could_not_be_scored_is_no_missing_one(records: dict[str, Record]):
    record = records["held"]
    record["evaluation"] |= {"production": None, "production_version": 2, "production_reason": "it needs other columns"}
    assert "version 2 could not be scored on them" in _said(record)


def test_failure_counts_more_than_what_was_reached_before_it(records: dict[str, Record]):
    record = records["promoted"]
    record["run"] |= {"status": "failed", "error": "the disk is full (model.skops)."}
    verdict = judge(record)
    assert verdict.outcome == "failed"
    assert verdict.sentence == "The continuous run of flights failed."
    assert verdict.error == "the disk is full (model.skops)."


def test_table_refused_as_a_whole_says_its_problem(records: dict[str, Record]):
    record = records["refused"]
    record["validation"][0]["checks"] = [
        {"check": "dep_delay is there", "failed": 29327, "samples": [], "problem": "column dep_delay is missing"}
    ]
    assert _said(record) == "2013-08 was refused: column dep_delay is missing."


def test_checked_rows_are_not_published_rows(records: dict[str, Record]):
    """The page of the step that validates comes before anything is published."""
    record = {"run": {"dataset": "flights"}, "data": {"commit": "9f1c"}, "validation": records["published"]["validation"][:1]}
    assert judge(record).outcome == "checked"
    assert _said(record) == "2013-07: every check of the raw rows holds."


def test_markdown_has_verdict_figures_metrics_gates_and_lineage(records: dict[str, Record]):
    text = markdown(records["held"])
    assert text.startswith("## ■ Held back: NYC flights 2013, continuous run\n\n**Version 3 was held back")
    assert "| improvement | ✗ refuses | 2.2 % | 5.0 % |" in text
    assert "| rmse, decides | 13.10 | 13.41 | ✓ 2.3 % better |" in text
    assert "- Data commit: `9f1c52a7d0b3e84477ab21f0c55d9e1b3a6c7f80`" in text


def test_markdown_takes_no_text_for_markup(records: dict[str, Record]):
    record = records["refused"]
    record["run"]["error"] = "bad value: <img src=x> | `code` [link](https://example.org) *bold*\n# no heading"
    text = markdown(record)
    assert r"bad value: \<img src=x\> \| \`code\` \[link\]\(https://example.org\) \*bold\*" in text
    assert "\n# " not in text


def test_evaluation_without_a_decision_promotes_nothing(records: dict[str, Record]):
    record = records["promoted"]
    del record["decision"], record["model"]
    assert _said(record).startswith("The candidate was evaluated: rmse 13.1 minutes, 2.3 % better than version 2")
    assert _said(record).endswith("Nothing was promoted.")


def test_failure_without_a_reason_says_where_to_look(records: dict[str, Record]):
    verdict = judge({"run": {"status": "failed"}})
    assert verdict.sentence == "The run of the data set failed."
    assert "log" in verdict.error
