#!/usr/bin/env perl
# Splits a file of lines into consecutive parts whose sizes differ by one line at most.
#
#   split_scp.pl [--utt2spk=FILE] IN OUT1 ... OUTn       all the parts
#   split_scp.pl -j N I [--utt2spk=FILE] IN [OUT]         part I of N (counted from 0)
#
# With --utt2spk the lines of one speaker stay together. The options and the parts are those of
# Kaldi's script of this name.
use strict;
use warnings;

my $usage = "Usage: split_scp.pl [-j N I] [--utt2spk=FILE] IN OUT1 [OUT2 ...]\n";
my ($num_jobs, $job, $utt2spk);
while (@ARGV && $ARGV[0] =~ /^-./) {
    my $option = shift @ARGV;
    if ($option eq "-j") {
        ($num_jobs, $job) = splice @ARGV, 0, 2;
        die $usage if !defined $job || "$num_jobs $job" !~ /^\d+ \d+$/;
        die "split_scp.pl: -j $num_jobs $job: parts are counted from 0\n" if $job >= $num_jobs;
    } elsif ($option =~ /^--utt2spk=(.+)$/) {
        $utt2spk = $1;
    } else {
        die "split_scp.pl: unknown option $option\n$usage";
    }
}
my ($in, @out) = @ARGV;
die $usage if !defined $in || (defined $job ? @out > 1 : !@out);

open(my $input, $in eq "-" ? "<&STDIN" : "<$in") or die "split_scp.pl: $in: $!\n";
my @lines = <$input>;
die "split_scp.pl: $in is empty\n" if !@lines;
my $parts = defined $job ? $num_jobs : scalar @out;

# $end[$i]: how many lines lie before the end of part $i
my @end = map { my $i = $_; even_end(scalar @lines, $parts, $i) } 0 .. $parts - 1;
if (defined $utt2spk) {
    @end = ends_between_speakers(\@lines, \@end, $utt2spk);
} elsif (@lines < $parts) {
    die "split_scp.pl: $in has " . @lines . " lines, too few for $parts parts; reduce nj\n";
}

if (defined $job) {
    write_part($job, defined $out[0] ? $out[0] : "-");
} else {
    write_part($_, $out[$_]) for 0 .. $parts - 1;
}

sub even_end {    # the first (lines modulo parts) parts have one line more
    my ($num_lines, $num_parts, $i) = @_;
    my $rest = $num_lines % $num_parts;
    return ($i + 1) * int($num_lines / $num_parts) + ($i + 1 < $rest ? $i + 1 : $rest);
}

sub ends_between_speakers {    # moves each end to the nearest place where the speaker changes
    my ($lines, $ends, $file) = @_;
    my %speaker;
    open(my $stream, "<", $file) or die "split_scp.pl: $file: $!\n";
    while (<$stream>) {
        my ($utterance, $spk) = split;
        $speaker{$utterance} = $spk if defined $spk;
    }
    my (@changes, $last);
    for my $n (0 .. $#$lines) {
        my ($utterance) = split " ", $lines->[$n];
        my $spk = $speaker{$utterance};
        die "split_scp.pl: $utterance of $in is not in $file\n" if !defined $spk;
        push @changes, $n if defined $last && $last ne $spk;
        $last = $spk;
    }
    push @changes, scalar @$lines;
    die "split_scp.pl: $in has " . @changes . " speakers, too few for " . @$ends . " parts\n"
        if @changes < @$ends;
    my @moved;
    my $next = 0;    # the first change that is still free
    for my $i (0 .. $#$ends) {
        my $last_free = $#changes - ($#$ends - $i);    # leave one change for each later part
        my $best = $i == $#$ends ? $#changes : $next;
        for my $c ($next .. $last_free) {
            next if $i == $#$ends;
            $best = $c if abs($changes[$c] - $ends->[$i]) < abs($changes[$best] - $ends->[$i]);
        }
        push @moved, $changes[$best];
        $next = $best + 1;
    }
    return @moved;
}

sub write_part {
    my ($i, $file) = @_;
    my $begin = $i == 0 ? 0 : $end[ $i - 1 ];
    open(my $stream, $file eq "-" ? ">&STDOUT" : ">$file") or die "split_scp.pl: $file: $!\n";
    print $stream @lines[ $begin .. $end[$i] - 1 ];
    close $stream or die "split_scp.pl: $file: $!\n";
}
