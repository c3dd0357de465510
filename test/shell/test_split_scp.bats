#!/usr/bin/env bats
# utils/split_scp.pl

setup() {
    split_scp="${BATS_TEST_DIRNAME}/../../egs2/TEMPLATE/sv1/utils/split_scp.pl"
    cd "${BATS_TEST_TMPDIR}" || return 1
    seq -f "utt%02g file" 10 > wav.scp
}

@test "the parts together are the file, and differ by one line at most" {
    "${split_scp}" wav.scp p1 p2 p3 p4
    cat p1 p2 p3 p4 | cmp - wav.scp
    [ "$(wc -l < p1) $(wc -l < p2) $(wc -l < p3) $(wc -l < p4)" = "3 3 2 2" ]
}

@test "-j makes one part, the same as in a whole split" {
    "${split_scp}" wav.scp p0 p1 p2
    for i in 0 1 2; do "${split_scp}" -j 3 "${i}" wav.scp | cmp - "p${i}"; done
}

@test "--utt2spk keeps the lines of a speaker together" {
    awk '{print $1, (NR <= 6 ? "A" : NR <= 7 ? "B" : NR <= 9 ? "C" : "D")}' wav.scp > utt2spk
    "${split_scp}" --utt2spk=utt2spk wav.scp p1 p2 p3
    cat p1 p2 p3 | cmp - wav.scp
    [ "$(wc -l < p1) $(wc -l < p2) $(wc -l < p3)" = "6 1 3" ]
    "${split_scp}" --utt2spk=utt2spk wav.scp p1 p2 p3 p4
    [ "$(wc -l < p1) $(wc -l < p2) $(wc -l < p3) $(wc -l < p4)" = "6 1 2 1" ]
    run "${split_scp}" --utt2spk=utt2spk wav.scp p1 p2 p3 p4 p5
    [ "$status" -ne 0 ]
    [[ "$output" == *"4 speakers, too few for 5"* ]]
}

@test "more parts than lines, an empty file and an unknown option are errors" {
    run "${split_scp}" wav.scp a b c d e f g h i j k
    [ "$status" -ne 0 ]
    [[ "$output" == *"reduce nj"* ]]
    : > empty
    run "${split_scp}" empty a
    [ "$status" -ne 0 ]
    [[ "$output" == *"empty is empty"* ]]
    run "${split_scp}" --shuffle wav.scp a
    [ "$status" -ne 0 ]
    [[ "$output" == *"--shuffle"* ]]
}
