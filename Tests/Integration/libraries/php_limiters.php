<?php
// Laravel's and Symfony's rate limiters from Debian's packages, with the frameworks' default configuration:
// `php_limiters.php NAME`. Speaks the protocol of python_limiters.py.

use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Redis\RedisManager;
use Symfony\Component\Cache\Adapter\RedisAdapter;
use Symfony\Component\RateLimiter\RateLimiterFactory;
use Symfony\Component\RateLimiter\Storage\CacheStorage;

const PROCESSES = 8;

// Carbon 2 on PHP 8.2 triggers deprecation notices.
error_reporting(E_ALL & ~E_DEPRECATED);
ini_set('display_errors', 'stderr');

interface Limiter
{
    public function hit(string $rule, string $who): array;

    // One call among many at once.
    public function count(string $rule, string $who): array;

    public function versions(): array;
}

final class Laravel implements Limiter
{
    private RateLimiter $limiter;

    public function __construct(private string $client, private array $request)
    {
        foreach (['Cache', 'Redis'] as $package) {
            require_once "Illuminate/$package/autoload.php";
        }
        if ($client === 'predis') {
            require_once 'Predis/autoload.php';
        }
        // From config/database.php and config/cache.php of a new application: the cache is in database 1.
        $connection = ['host' => '127.0.0.1', 'port' => $request['port'], 'database' => $request['database']];
        $options = ['cluster' => 'redis', 'prefix' => 'laravel_database_'];
        if (isset($request['sentinels'])) {
            $connection = array_map(fn ($port) => "tcp://127.0.0.1:$port", $request['sentinels']);
            $connection['options'] = [
                'replication' => 'sentinel', 'service' => 'mymaster', 'parameters' => ['database' => $request['database']]];
        }
        $manager = new RedisManager(null, $client, ['default' => $connection, 'options' => $options]);
        $this->limiter = new RateLimiter(new Repository(new RedisStore($manager, 'laravel_cache', 'default')));
    }

    public function versions(): array
    {
        $client = $this->client === 'predis'
            ? ['predis' => Predis\Client::VERSION] : ['phpredis' => phpversion('redis')];
        return ['illuminate/cache' => package_version('php-illuminate-cache')] + $client;
    }

    public function hit(string $rule, string $who): array
    {
        [$limit, $seconds] = $this->request['rules'][$rule];
        $key = "$rule:$who";
        $allowed = $this->limiter->attempt($key, $limit, fn () => true, $seconds);
        $seen = ['attempts' => $this->limiter->attempts($key), 'left' => $this->limiter->retriesLeft($key, $limit)];
        return [$allowed, $seen, ['available' => $this->limiter->availableIn($key)]];
    }

    // `attempt` asks first and counts later, so among many at once more than the limit pass it with any server. The
    // number that `hit` returns is exact.
    public function count(string $rule, string $who): array
    {
        [$limit, $seconds] = $this->request['rules'][$rule];
        return [$this->limiter->hit("$rule:$who", $seconds) <= $limit, [], []];
    }
}

final class Symfony implements Limiter
{
    private CacheStorage $storage;

    public function __construct(private array $request)
    {
        foreach (['Cache', 'RateLimiter'] as $component) {
            require_once "Symfony/Component/$component/autoload.php";
        }
        $redis = RedisAdapter::createConnection("redis://127.0.0.1:{$request['port']}");
        $this->storage = new CacheStorage(new RedisAdapter($redis));
    }

    public function versions(): array
    {
        return ['symfony/rate-limiter' => package_version('php-symfony-rate-limiter'), 'phpredis' => phpversion('redis')];
    }

    public function hit(string $rule, string $who): array
    {
        [$limit, $seconds] = $this->request['rules'][$rule];
        $factory = new RateLimiterFactory(
            ['id' => $rule, 'policy' => 'fixed_window', 'limit' => $limit, 'interval' => "$seconds seconds"],
            $this->storage);
        $result = $factory->create($who)->consume();
        return [$result->isAccepted(), ['remaining' => $result->getRemainingTokens()], []];
    }

    public function count(string $rule, string $who): array
    {
        return $this->hit($rule, $who);
    }
}

function package_version(string $package): string
{
    $version = shell_exec('dpkg-query -W -f=\'${Version}\' ' . escapeshellarg($package));
    return preg_replace('/[+-].*/', '', (string) $version);
}

function make(string $name, array $request): Limiter
{
    return match ($name) {
        'Laravel RateLimiter, phpredis' => new Laravel('phpredis', $request),
        'Laravel RateLimiter, predis' => new Laravel('predis', $request),
        'Symfony RateLimiter' => new Symfony($request),
    };
}

function attempt(Limiter $limiter, string $method, array $request): array|string
{
    try {
        return $limiter->$method($request['rule'], $request['who']);
    } catch (Throwable $problem) {
        return get_class($problem) . ': ' . $problem->getMessage();
    }
}

// PHP has no threads: as many processes, each with its own connection.
function together(string $name, array $opened, array $request): array
{
    $pipes = [];
    for ($number = 0; $number < PROCESSES; $number++) {
        $pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        if (pcntl_fork() === 0) {
            $limiter = make($name, $opened);
            $found = [];
            for ($call = 0; $call < intdiv($request['count'], PROCESSES); $call++) {
                $found[] = attempt($limiter, 'count', $request);
            }
            fwrite($pair[1], json_encode($found));
            // Without destructors, which would close the parent's connection.
            posix_kill(posix_getpid(), SIGKILL);
        }
        fclose($pair[1]);
        $pipes[] = $pair[0];
    }
    $hits = array_merge(...array_map(fn ($pipe) => json_decode(stream_get_contents($pipe), true), $pipes));
    while (pcntl_wait($status) > 0);
    return $hits;
}

$name = $argv[1];
while (($line = fgets(STDIN)) !== false) {
    $request = json_decode($line, true);
    switch ($request['do']) {
        case 'open':
            $opened = $request;
            try {
                $limiter = make($name, $request);
                $answer = ['versions' => $limiter->versions()];
            } catch (Throwable $problem) {
                $answer = ['error' => get_class($problem) . ': ' . $problem->getMessage()];
            }
            break;
        case 'hits':
            $answer = ['hits' => []];
            for ($call = 0; $call < $request['count']; $call++) {
                $answer['hits'][] = attempt($limiter, 'hit', $request);
            }
            break;
        case 'together':
            // The first call of a window alone: of two first calls Laravel may count only one, with any server.
            $first = attempt($limiter, 'count', $request);
            $answer = ['hits' => [$first, ...together($name, $opened, $request)]];
            break;
    }
    echo json_encode($answer), "\n";
}
