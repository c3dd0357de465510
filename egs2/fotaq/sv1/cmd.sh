#!/usr/bin/env bash
# Where jobs run. The programs have one interface, that of Kaldi's:
#   <cmd>.pl [options] [JOB=1:<nj>] <log> <command...>
# with --mem 4G, --num-threads N, --gpu N, --max-jobs-run N, --time, --config FILE. What these mean
# on a cluster (partitions, queues) is set in conf/slurm.conf, conf/queue.conf or conf/pbs.conf.
#
# run.pl comes with this project; the others come with ESPnet and Kaldi: place this project in
# such a checkout, let MAIN_ROOT name one, or put them on PATH.

# local, stdout, sge, slurm, pbs, ssh or jhu; also taken from the environment
cmd_backend=${cmd_backend:-local}

# train_cmd: work on CPUs; cuda_cmd: training, "--gpu N" is added; decode_cmd: embedding
case "${cmd_backend}" in
    local) # this machine
        export train_cmd="run.pl"
        export cuda_cmd="run.pl"
        export decode_cmd="run.pl"
        ;;
    stdout) # this machine; logs are shown as well
        export train_cmd="stdout.pl"
        export cuda_cmd="stdout.pl"
        export decode_cmd="stdout.pl"
        ;;
    sge) # "qsub" of SGE or Torque; queues in conf/queue.conf
        export train_cmd="queue.pl"
        export cuda_cmd="queue.pl"
        export decode_cmd="queue.pl"
        ;;
    slurm) # "sbatch"; partitions in conf/slurm.conf
        export train_cmd="slurm.pl"
        export cuda_cmd="slurm.pl"
        export decode_cmd="slurm.pl"
        ;;
    pbs) # "qsub" of PBS Pro; queues in conf/pbs.conf
        export train_cmd="pbs.pl"
        export cuda_cmd="pbs.pl"
        export decode_cmd="pbs.pl"
        ;;
    ssh) # the hosts listed in .queue/machines, one a line
        export train_cmd="ssh.pl"
        export cuda_cmd="ssh.pl"
        export decode_cmd="ssh.pl"
        ;;
    jhu) # an example of a site's own options
        export train_cmd="queue.pl --mem 2G"
        export cuda_cmd="queue-freegpu.pl --mem 2G --gpu 1 --config conf/gpu.conf"
        export decode_cmd="queue.pl --mem 4G"
        ;;
    *)
        echo "cmd.sh: unknown cmd_backend=${cmd_backend}" 1>&2
        return 1
        ;;
esac

for _cmd in "${train_cmd}" "${cuda_cmd}" "${decode_cmd}"; do
    if ! command -v "${_cmd%% *}" > /dev/null; then
        echo "cmd.sh: ${_cmd%% *} (cmd_backend=${cmd_backend}) is not on PATH;" \
            "let MAIN_ROOT name an ESPnet checkout with Kaldi, or add its utils/parallel to PATH" 1>&2
        return 1
    fi
done
unset _cmd
