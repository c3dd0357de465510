from espnet2_sv.data.validation_report import ValidationReport


def test_each_kind_is_cut_and_counted():
    findings = ValidationReport(listed=2)
    for i in range(5):
        findings.problem("audio", f"file {i}")
    findings.problem("order", "not sorted")
    findings.warning("silent", "file 9")
    assert list(findings.problems()) == [
        "file 0",
        "file 1",
        "audio: 3 more",
        "not sorted",
    ]
    assert list(findings.warnings()) == ["file 9"]
    assert findings.num_problems == 6
