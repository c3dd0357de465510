#!/usr/bin/env perl
# Runs a command, or an array of jobs in parallel, on this machine. Each has a log file.
#
#   run.pl [options] LOG COMMAND ARG...
#   run.pl [options] JOB=1:4 LOG.JOB COMMAND ARG...      JOB is replaced by 1 ... 4
#
# Same interface as Kaldi's run.pl, queue.pl and slurm.pl, so that one recipe runs here
# and on a cluster. --max-jobs-run N limits the number of concurrent jobs (default: the
# number of processors or, with --gpu G, the number of GPUs divided by G). Options meant
# for a cluster (--mem, --num-threads, --time, --name, --config ...) are accepted and
# ignored, each with one value. An argument that is a shell operator (| > >> < 2>&1 &&
# || ;) acts as one; any other argument is passed to the command unchanged. Exit status:
# 0 if all jobs succeed, 130 after Ctrl-C, else 1.
use strict;
use warnings;
use POSIX qw(SIGHUP SIGINT SIGTERM SIG_BLOCK SIG_UNBLOCK WNOHANG);

my ($max_jobs, $gpus, $name, $first, $last) = (0, 0, undef, 1, 1);
while (@ARGV) {
    if ($ARGV[0] =~ /^([A-Za-z_]\w*)=(\d+)(?::(\d+))?\z/) {    # e.g. JOB=1:4 or JOB=3
        ($name, $first, $last) = ($1, $2, defined $3 ? $3 : $2);
        fail("'$ARGV[0]': job numbers start at 1 and must not decrease")
            if $first < 1 || $last < $first;
        shift @ARGV;
    } elsif ($ARGV[0] =~ /^-/) {
        my $option = shift @ARGV;
        next if $option eq "-V";
        fail("option $option needs a value") if !@ARGV;
        my $value = shift @ARGV;
        if ($option =~ /^(--max-jobs-run|-tc)\z/) {
            fail("$option $value is not a positive number") if $value !~ /^[1-9]\d*\z/;
            $max_jobs = $value;
        } elsif ($option eq "--gpu") {
            $gpus = $value =~ /^\d+\z/ ? $value : 0;
        }
    } else {
        last;
    }
}
fail("usage: run.pl [options] [JOB=1:n] LOG COMMAND ARG...") if @ARGV < 2;
my ($log, @command) = @ARGV;
fail("jobs $first..$last would all write to $log: put $name into its name")
    if defined $name && $first != $last && $log !~ /$name/;
$max_jobs ||= default_parallel($gpus);

my (%running, %failed);
for my $signal (qw(TERM HUP)) {    # stopping this process stops its jobs
    $SIG{$signal} = sub { stop_jobs(0); die "run.pl: stopped by SIG$signal\n"; };
}
$SIG{INT} = sub { stop_jobs(5); exit 130; };    # Ctrl-C; the jobs get it, too
for my $job ($first .. $last) {
    wait_for_one() while keys %running >= $max_jobs;
    signals(SIG_BLOCK);    # until it is known which process runs the job
    $running{ start($job) } = $job;
    signals(SIG_UNBLOCK);
}
wait_for_one() while %running;

if (%failed) {
    my $total = $last - $first + 1;
    (my $logs = $log) =~ s/$name/*/g if defined $name && $total > 1;
    fail($total > 1
        ? scalar(keys %failed) . " / $total failed, log is in $logs"
        : "job failed, log is in " . replaced($log, $first));
}
exit 0;

sub fail {
    print STDERR "run.pl: @_\n";
    stop_jobs(0);
    exit 1;
}

sub signals {    # SIG_BLOCK or SIG_UNBLOCK
    POSIX::sigprocmask($_[0], POSIX::SigSet->new(SIGINT, SIGTERM, SIGHUP));
}

# waits until all jobs have ended; stops them after some seconds
sub stop_jobs {
    my ($seconds) = @_;
    $SIG{$_} = "DEFAULT" for qw(INT TERM HUP);    # another one ends this process
    for (my $left = 20 * $seconds; %running; $left--) {
        kill TERM => keys %running if $left == 0;
        my $pid = waitpid(-1, WNOHANG);
        delete $running{$pid};
        return if $pid < 0;
        select(undef, undef, undef, 0.05) if $pid == 0;
    }
}

sub replaced {
    my ($text, $job) = @_;
    $text =~ s/$name/$job/g if defined $name;
    return $text;
}

sub default_parallel {
    my ($per_job) = @_;
    if ($per_job > 0) {
        my $count = grep { /^GPU/ } `nvidia-smi -L 2>/dev/null`;
        return $count > $per_job ? int($count / $per_job) : 1;
    }
    chomp(my $processors = `getconf _NPROCESSORS_ONLN 2>/dev/null`);
    return $processors =~ /^[1-9]\d*$/ ? $processors : 1;
}

sub shell_word {
    my ($word) = @_;
    return $word if $word =~ /^(?:[|<;]|\d?>>?|\d?>&\d|&&|\|\||&>)\z/;    # e.g. | or 2>&1
    return $word if $word =~ m{^[\w./:,=+%@-]+\z}a;
    # already quoted for Kaldi's run.pl (quote_words in scripts/stage_functions.sh)
    return $word if $word =~ /^\$'(?:[^'\\\s]|\\x[0-9a-f]{2})*'\z/;
    $word =~ s/'/'\\''/g;
    return "'$word'";
}

sub start {    # returns the process id
    my ($job) = @_;
    my $file = replaced($log, $job);
    my $text = join " ", map { shell_word(replaced($_, $job)) } @command;
    make_folder($1) if $file =~ m{^(.+)/[^/]*$};
    open(my $stream, ">", $file) or fail("cannot write the log $file: $!");
    my $pid = fork();
    fail("cannot start another process: $!") if !defined $pid;
    return $pid if $pid;

    # in the child: run the command, then write its status to the log
    my $shell;
    $SIG{INT} = "IGNORE";    # Ctrl-C reaches the command, too
    for my $signal (qw(TERM HUP)) {
        $SIG{$signal} = sub { kill TERM => $shell if $shell; };
    }
    $stream->autoflush(1);
    my $began = time;
    print $stream "# $text\n# Started at " . localtime() . "\n#\n";
    $shell = fork();
    if (!defined $shell || $shell == 0) {
        $SIG{$_} = "DEFAULT" for qw(INT TERM HUP);
        signals(SIG_UNBLOCK);
        open(STDOUT, ">&", $stream) && open(STDERR, ">&", $stream) or exit 126;
        exec { "bash" } "bash", "-c", $text or exit 127;
    }
    signals(SIG_UNBLOCK);
    1 until waitpid($shell, 0) == $shell;
    my ($code, $signal) = ($? >> 8, $? & 127);
    my $seconds = time - $began;
    print $stream "# Accounting: time=$seconds threads=1\n";
    print $stream "# Ended (code $code" . ($signal ? ", signal $signal" : "") . ") at "
        . localtime() . ", elapsed time $seconds seconds\n";
    close $stream or exit 1;    # e.g. the disk is full
    exit($code || $signal ? 1 : 0);
}

sub make_folder {
    my ($folder) = @_;
    return if -d $folder;
    make_folder($1) if $folder =~ m{^(.+)/[^/]+$};
    mkdir $folder or -d $folder or fail("cannot make the folder $folder: $!");
}

sub wait_for_one {
    my $pid = wait();
    return if !exists $running{$pid};
    my $job = delete $running{$pid};
    $failed{$job} = 1 if $?;
}
