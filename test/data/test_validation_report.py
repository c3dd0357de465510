from espnet2_sv.data.validation_report import ValidationReport


def test_each_kind_is_cut_and_counted():
    report = ValidationReport(listed=2)
    for i in range(5):
        report.problem("audio", f"file {i}")
    report.problem("order", "not sorted")
    report.warning("silent", "file 9")
    assert list(report.problems()) == [
        "file 0",
        "file 1",
        "audio: 3 more",
        "not sorted",
    ]
    assert list(report.warnings()) == ["file 9"]
    assert report.num_problems == 6
