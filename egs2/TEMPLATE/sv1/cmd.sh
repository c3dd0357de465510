#!/usr/bin/env bash
# Selects where jobs run. All back ends have the interface of Kaldi's:
#   <cmd>.pl [options] [JOB=1:<nj>] <log> <command...>
# with --mem 4G, --num-threads N, --gpu N, --max-jobs-run N, --time, --config FILE.
# Options of the cluster (partitions, queues) are set in conf/slurm.conf,
# conf/queue.conf or conf/pbs.conf.
#
# run.pl is part of this project; the others are part of ESPnet and Kaldi: put this
# project into such a checkout, set MAIN_ROOT to one, or add them to PATH.

# Choose from local, stdout, sge, slurm, pbs, ssh and jhu, here or in the environment
cmd_backend=${cmd_backend:-local}

# train_cmd: CPU jobs; cuda_cmd: training, with "--gpu N"; decode_cmd: embedding
case "${cmd_backend}" in
    local) # this machine
        export train_cmd="run.pl"
        export cuda_cmd="run.pl"
        export decode_cmd="run.pl"
        ;;
    stdout) # this machine; also prints the logs
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
    ssh) # the hosts listed in .queue/machines, one per line
        export train_cmd="ssh.pl"
        export cuda_cmd="ssh.pl"
        export decode_cmd="ssh.pl"
        ;;
    jhu) # example of site-specific options
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
            "set MAIN_ROOT to an ESPnet checkout with Kaldi, or add its utils/parallel to PATH" 1>&2
        return 1
    fi
done
unset _cmd
