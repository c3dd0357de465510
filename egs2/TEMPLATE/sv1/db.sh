#!/usr/bin/env bash
# Where corpora lie on this machine; sourced by local/data.sh. A variable set in the environment
# wins. "downloads" stands for a folder of the recipe, which local/data.sh may fill.
# shellcheck disable=SC2034

VOXCELEB=${VOXCELEB:-downloads} # voxceleb1/ and voxceleb2/ with dev/ and test/ in them
MUSAN=${MUSAN:-downloads/musan}
RIRS_NOISES=${RIRS_NOISES:-downloads/RIRS_NOISES}
FOTAQ=${FOTAQ:-downloads}
