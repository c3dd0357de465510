#!/usr/bin/env bash
# The options of ESPnet's spk.sh that sv.sh calls otherwise or does not have; sourced by
# sv.sh. README.md, "Coming from spk1", lists them.
# shellcheck disable=SC2154  # options of sv.sh

# take_spk_options WORD...: sets the array arguments to the words without the options of
# spk.sh that ask for what sv.sh does anyway; exits with what to use instead of others
# that sv.sh does not have. Sets the array option_names to the options that are left.
take_spk_options() {
    local name instead
    arguments=() option_names=()
    while [[ ${1:-} == --?* ]] && [ $# -ge 2 ]; do
        name=${1#--}
        name=${name//-/_}
        if ! instead=$(instead_of "${name}" "$2"); then
            arguments+=("$1" "$2")
            option_names+=("${name}")
        elif [ -n "${instead}" ]; then
            die "--${name} ${2@Q} of spk.sh: ${instead}"
        fi
        shift 2
    done
    arguments+=("$@")
}

# instead_of NAME VALUE: prints what replaces an option of spk.sh; nothing if sv.sh does
# that anyway. Fails if it is no such option.
instead_of() {
    case "$1=$2" in
        feats_type=raw | enroll_mode=single | fold_length=120000 | lang=multilingual) ;;
        min_wav_duration=1.0 | max_wav_duration=60.) ;; # spk.sh does not use them either
        eval_valid_set=false | multi_columns_*put_wav_scp=false) ;;
        ignore_init_mismatch=false) ;;
        speed_perturb_factors=*)
            echo "set speed_perturb_factors in the training configuration, or give" \
                "--sv_args '--speed_perturb_factors 0.9 1.0 1.1'"
            ;;
        feats_type=*)
            echo "leave it out: stage 3 converts only the audio that needs it, and features" \
                "are computed in training"
            ;;
        min_wav_duration=* | max_wav_duration=*)
            echo "no utterance is left out for its duration: let local/data.sh do that"
            ;;
        multi_columns_*put_wav_scp=*)
            echo "channels are averaged, or --format_args '--channel 1' chooses one"
            ;;
        fold_length=*)
            echo "set target_duration, the seconds of a training crop, in the training" \
                "configuration"
            ;;
        ignore_init_mismatch=*)
            echo "name the parts that fit, e.g. --pretrained_model 'FILE:head:head'"
            ;;
        enroll_mode=*)
            echo "data/SET/enroll_spk2utt enrols several utterances per model; sv_score" \
                "--enroll_mode chooses between mean embeddings and mean scores"
            ;;
        eval_valid_set=*) echo "name the validation set in --test_sets, too" ;;
        lang=*) echo "for the model card, give --pack_args '--language en'" ;;
        *) return 1 ;;
    esac
}

# same_option NAME DEFAULT SPK_NAME VALUE: gives the option NAME the value that SPK_NAME
# has, what spk.sh calls it; exits if both are given and differ
same_option() {
    local name=$1
    [ -n "$4" ] || return 0
    if [ "${!name}" != "$4" ]; then
        if [ "${!name}" != "$2" ] || [[ " ${option_names[*]:-} " == *" ${name} "* ]]; then
            die "--${name} ${!name@Q} and --$3 ${4@Q} are one option: give one of them" \
                "(run.sh may give the other)"
        fi
    fi
    printf -v "${name}" '%s' "$4"
}

# take_spk_names: gives the options of sv.sh the values of those by which spk.sh knows
# them
take_spk_names() {
    same_option sv_config "" spk_config "${spk_config}"
    same_option sv_args "" spk_args "${spk_args}"
    same_option sv_tag "" spk_tag "${spk_tag}"
    same_option sv_exp "" spk_exp "${spk_exp}"
    # Kaldi's parse_options.sh lets any value pass
    [[ ${qmf_func} =~ ^(true|false|)$ ]] || die "--qmf_func ${qmf_func@Q}: write true or false"
    same_option calibrate false qmf_func "${qmf_func}"
    [ -z "${pretrained_model}" ] || [[ " ${sv_args}" != *" --init_param"* ]] \
        || die "--pretrained_model and --init_param in --sv_args are one option: give one of them"
}
