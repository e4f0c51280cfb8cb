# Perl's Redis against the server: CL.THROTTLE until denied, a pipeline of 1000, reconnect after CLIENT KILL.
# Prints "ok", or the error and exits 1. Usage: perl redis_client.pl PORT. Its keys begin with "perl:".

use strict;
use warnings;
use Redis;

sub check {
    my ($got, $expected, $what) = @_;
    my ($left, $right) = map { ref $_ ? join(',', map { $_ // 'nil' } @$_) : ($_ // 'nil') } $got, $expected;
    die "$what: got $left, expected $right\n" if $left ne $right;
}

my $began = time;

# The last two numbers of a limit are times in seconds, which count down: they may be lower by the number of seconds
# begun since the program started.
sub check_limit {
    my ($got, $expected, $what) = @_;
    my ($passed, @shown) = (time - $began, @$got);
    for my $i (3 .. 4) {
        my $missing = $expected->[$i] - $shown[$i];
        $shown[$i] = $expected->[$i] if $expected->[$i] > 0 && $missing >= 0 && $missing <= $passed;
    }
    check(\@shown, $expected, $what);
}

my $port = $ARGV[0] or die "usage: perl redis_client.pl PORT\n";
my %address = (server => "127.0.0.1:$port");
my $redis = Redis->new(%address, reconnect => 5, every => 10_000);

# The module turns method names into commands, with a space for `_`: CL.THROTTLE needs the generic call.
sub throttle { my ($connection, @arguments) = @_; return [$connection->__std_cmd('CL.THROTTLE', @arguments)] }

check_limit(throttle($redis, 'perl:k', 4, 1, 1000), [0, 5, 4 - $_, -1, 1000 * ($_ + 1)], "call $_") for 0 .. 4;
check_limit(throttle($redis, 'perl:k', 4, 1, 1000), [1, 5, 0, 1000, 5000], 'denied call');

my @replies;
for (1 .. 1000) {
    $redis->__std_cmd('CL.THROTTLE', 'perl:pipe', 1999, 1, 1000, sub { push @replies, [@_] });
}
$redis->wait_all_responses;
check(scalar @replies, 1000, 'replies of the pipeline');
for my $i (0 .. 999) {
    my ($reply, $problem) = @{ $replies[$i] };
    die "pipeline, reply $i: $problem\n" if defined $problem;
    # The library returns the elements of nested replies as [value, error].
    check_limit([map { ref $_ ? $_->[0] : $_ } @$reply], [0, 2000, 1999 - $i, -1, 1000 * ($i + 1)], "pipeline, reply $i");
}

my $before = $redis->client('ID');
my $killer = Redis->new(%address);
check($killer->client('KILL', 'ID', $before), 1, 'CLIENT KILL');
# The library reconnects automatically.
check_limit(throttle($redis, 'perl:k', 4, 1, 1000), [1, 5, 0, 1000, 5000], 'after CLIENT KILL');
die "the same connection after CLIENT KILL\n" if $redis->client('ID') == $before;

eval { throttle($redis, 'perl:k', 4, 0, 1000) };
die "no error for count 0\n" unless $@;
die "error: $@" unless $@ =~ /ERR zero rates are not supported/;
print "ok\n";
