# ruby-redis against the server: CL.THROTTLE until denied, a pipeline of 1000, reconnect after CLIENT KILL.
# Prints "ok", or the error and exits 1. Usage: ruby redis_client.rb PORT. Its keys begin with "ruby:".

require "redis"

def check(got, expected, what)
  abort "#{what}: got #{got.inspect}, expected #{expected.inspect}" unless got == expected
end

BEGAN = Time.now.to_i

# The last two numbers of a limit are times in seconds, which count down: they may be lower by the number of seconds
# begun since the program started.
def check_limit(got, expected, what)
  passed = Time.now.to_i - BEGAN
  shown = got.zip(expected).each_with_index.map do |(value, wanted), i|
    (wanted - value).between?(0, i >= 3 && wanted > 0 ? passed : 0) ? wanted : value
  end
  check shown, expected, what
end

port = Integer(ARGV.fetch(0))
redis = Redis.new(host: "127.0.0.1", port: port)

5.times do |i|
  check_limit redis.call("CL.THROTTLE", "ruby:k", 4, 1, 1000), [0, 5, 4 - i, -1, 1000 * (i + 1)], "call #{i}"
end
check_limit redis.call("CL.THROTTLE", "ruby:k", 4, 1, 1000), [1, 5, 0, 1000, 5000], "denied call"

replies = redis.pipelined { |p| 1000.times { p.call("CL.THROTTLE", "ruby:pipe", 1999, 1, 1000) } }
check replies.map { |r| r[2] }, (1000..1999).to_a.reverse, "pipeline"

# `multi` is the library's transaction.
check redis.multi { |m| 2.times { m.call("CL.THROTTLE", "ruby:multi", 4, 1, 1000) } }.map { |r| r[2] }, [4, 3], "multi"

before = redis.call("CLIENT", "ID")
killer = Redis.new(host: "127.0.0.1", port: port)
check killer.call("CLIENT", "KILL", "ID", before), 1, "CLIENT KILL"
# The library reconnects automatically, once, without reporting it.
check_limit redis.call("CL.THROTTLE", "ruby:k", 4, 1, 1000), [1, 5, 0, 1000, 5000], "after CLIENT KILL"
abort "the same connection after CLIENT KILL" if redis.call("CLIENT", "ID") == before

begin
  redis.call("CL.THROTTLE", "ruby:k", 4, 0, 1000)
  abort "no error for count 0"
rescue Redis::CommandError => e
  check e.message, "ERR zero rates are not supported", "error"
end
puts "ok"
