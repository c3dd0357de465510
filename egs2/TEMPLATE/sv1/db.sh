#!/usr/bin/env bash
# Locations of corpora on this machine; sourced by local/data.sh. Variables set in the
# environment take precedence. "downloads" is a folder of the recipe that local/data.sh
# may fill.
# shellcheck disable=SC2034

# Folder of your own recordings, SPEAKER/FILE, for the template's local/data.sh
CORPUS=${CORPUS:-downloads}
# Folders of VoxCeleb: dev/wav and test/wav of VoxCeleb1, dev/aac (or dev/wav, converted)
# of VoxCeleb2, with idXXXXX/VIDEO/00001.wav below; or the archives as distributed:
# vox1_dev_wav_parta?, vox1_test_wav.zip, vox2_dev_aac_parta?.
VOXCELEB1=${VOXCELEB1:-}
VOXCELEB2=${VOXCELEB2:-}
# Those that are not set are voxceleb1 and voxceleb2 in this folder, or archives in it
VOXCELEB=${VOXCELEB:-downloads}
# Folders of MUSAN (OpenSLR 17) and RIRS_NOISES (OpenSLR 28), or musan.tar.gz and
# rirs_noises.zip, or the folders that hold them. RIR is ESPnet's name for RIRS.
MUSAN=${MUSAN:-downloads/musan}
RIRS=${RIRS:-${RIR:-downloads/RIRS_NOISES}}
# Folder of the Debian package that fotaq uses; downloaded there if missing
FOTAQ=${FOTAQ:-downloads}
