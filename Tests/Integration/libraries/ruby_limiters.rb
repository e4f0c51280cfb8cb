# rack-attack, set up as in its README: `ruby_limiters.rb NAME`. Speaks the protocol of python_limiters.py.

require "json"
require "rack"
require "rack/attack"
require "redis"

THREADS = 8

# A request that the application calls bad, followed by a good one, which is allowed unless the client is banned.
def attack(who, rule)
  $browser.get("/#{rule}?q=/etc/passwd", "REMOTE_ADDR" => who)
  $browser.get("/#{rule}", "REMOTE_ADDR" => who)
end

def set_up(name, request)
  Rack::Attack.cache.store =
    if request["sentinels"]
      Redis.new(url: "redis://mymaster", role: :master,
                sentinels: request["sentinels"].map { |port| { host: "127.0.0.1", port: port } })
    else
      Redis.new(host: "127.0.0.1", port: request["port"])
    end
  request["rules"].each do |rule, (count, seconds)|
    if name == "rack-attack throttle"
      Rack::Attack.throttle(rule, limit: count, period: seconds) { |r| r.ip if r.path == "/#{rule}" }
    else
      Rack::Attack.blocklist(rule) do |r|
        # Bans the client of one bad request more than the rule allows.
        r.path == "/#{rule}" &&
          Rack::Attack::Fail2Ban.filter("#{rule}-#{r.ip}", maxretry: count + 1, findtime: seconds, bantime: seconds) do
            r.query_string.include?("/etc/passwd")
          end
      end
    end
  end
  application = Rack::Builder.new do
    use Rack::Attack
    run ->(_) { [200, {}, ["ok"]] }
  end
  $browser = Rack::MockRequest.new(application.to_app)
  { versions: { "rack-attack" => Gem.loaded_specs["rack-attack"]&.version.to_s, "redis (Ruby)" => Redis::VERSION } }
end

def hit(name, rule, who)
  # rack-attack reports addresses, so each client needs one.
  address = "10.#{who.sum % 250}.#{who.length}.1"
  response = name == "rack-attack throttle" ? $browser.get("/#{rule}", "REMOTE_ADDR" => address) : attack(address, rule)
  seconds = response["Retry-After"] ? { retry: response["Retry-After"].to_f } : {}
  [response.status == 200, { status: response.status }, seconds]
rescue StandardError => problem
  "#{problem.class}: #{problem.message}"
end

name = ARGV[0]
STDIN.each_line do |line|
  request = JSON.parse(line)
  answer =
    case request["do"]
    when "open"
      begin
        set_up(name, request)
      rescue StandardError => problem
        { error: "#{problem.class}: #{problem.message}" }
      end
    when "hits"
      { hits: Array.new(request["count"]) { hit(name, request["rule"], request["who"]) } }
    when "together"
      workers = Array.new(THREADS) do
        Thread.new { Array.new(request["count"] / THREADS) { hit(name, request["rule"], request["who"]) } }
      end
      { hits: workers.flat_map(&:value) }
    end
  puts JSON.generate(answer)
  STDOUT.flush
end
