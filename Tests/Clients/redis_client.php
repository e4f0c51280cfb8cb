<?php
// php-redis against the server: CL.THROTTLE until denied, a pipeline of 1000, reconnect after CLIENT KILL.
// Prints "ok", or the error and exits 1. Usage: php redis_client.php PORT. Its keys begin with "php:".

function check($got, $expected, string $what): void {
    if ($got !== $expected) {
        fwrite(STDERR, "$what: got " . json_encode($got) . ", expected " . json_encode($expected) . "\n");
        exit(1);
    }
}

$began = time();

// The last two numbers of a limit are times in seconds, which count down: they may be lower by the number of seconds
// begun since the program started.
function check_limit($got, array $expected, string $what): void {
    global $began;
    $passed = time() - $began;
    foreach ($expected as $i => $value) {
        $missing = $value - ($got[$i] ?? PHP_INT_MIN);
        if ($missing >= 0 && $missing <= ($i >= 3 && $value > 0 ? $passed : 0)) {
            $got[$i] = $value;
        }
    }
    check($got, $expected, $what);
}

$port = (int)$argv[1];
$redis = new Redis();
$redis->connect('127.0.0.1', $port);

for ($i = 0; $i < 5; $i++) {
    $reply = $redis->rawCommand('CL.THROTTLE', 'php:k', 4, 1, 1000);
    check_limit($reply, [0, 5, 4 - $i, -1, 1000 * ($i + 1)], "call $i");
}
check_limit($redis->rawCommand('CL.THROTTLE', 'php:k', 4, 1, 1000), [1, 5, 0, 1000, 5000], 'denied call');

foreach ([Redis::PIPELINE, Redis::MULTI] as $mode) {
    $redis->multi($mode);
    for ($i = 0; $i < 1000; $i++) {
        $redis->rawCommand('CL.THROTTLE', "php:pipe:$mode", 1999, 1, 1000);
    }
    $replies = $redis->exec();
    check(array_column($replies, 2), range(1999, 1000), "pipeline, mode $mode");
}

// A persistent connection is checked with ECHO when it is reused.
$persistent = new Redis();
check($persistent->pconnect('127.0.0.1', $port, 5.0, 'again'), true, 'pconnect');
unset($persistent);
$persistent = new Redis();
check($persistent->pconnect('127.0.0.1', $port, 5.0, 'again'), true, 'second pconnect');
check($persistent->echo('hi'), 'hi', 'echo');

$before = $redis->rawCommand('CLIENT', 'ID');
$killer = new Redis();
$killer->connect('127.0.0.1', $port);
check($killer->rawCommand('CLIENT', 'KILL', 'ID', (string)$before), 1, 'CLIENT KILL');
// The library reconnects automatically before it sends.
check_limit($redis->rawCommand('CL.THROTTLE', 'php:k', 4, 1, 1000), [1, 5, 0, 1000, 5000], 'after CLIENT KILL');
if ($redis->rawCommand('CLIENT', 'ID') === $before) {
    fwrite(STDERR, "the same connection after CLIENT KILL\n");
    exit(1);
}

check($redis->rawCommand('CL.THROTTLE', 'php:k', 4, 0, 1000), false, 'count 0');
check($redis->getLastError(), 'ERR zero rates are not supported', 'error');
echo "ok\n";
